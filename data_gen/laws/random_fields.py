"""Gaussian random fields on [0, 1]² by their Karhunen–Loève expansion.

A centred field with covariance operator

    C = σ² (-Δ + τ² I)^(-α),      homogeneous Neumann conditions, mean zero,

has the cosines cos(πkx) cos(πly) as eigenfunctions (Lord, Powell & Shardlow 2014, §7.4):

    g(x, y) = Σ_{(k,l) ≠ (0,0)} σ (π²(k² + l²) + τ²)^(-α/2) ξ_kl c_k c_l cos(πkx) cos(πly),

with ξ_kl independent standard normal, c_0 = 1 and c_k = √2 for k > 0. The sum runs over a fixed
number of modes, so that one seed is one function, whichever grid it is sampled on.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float
from scipy import fft

Field = Float[np.ndarray, "n m"]


@dataclass(frozen=True)
class GaussianRandomField:
    """Centred Gaussian field with covariance σ² (-Δ + τ² I)^(-α), Neumann, mean zero.

    Parameters
    ----------
    alpha : float
        Smoothness α > 1; sample paths have almost α - 1 derivatives in L².
    tau : float
        Inverse length scale τ ≥ 0.
    sigma : float
        Scale σ > 0 of the covariance operator. The standard deviation at a point is another
        number: see `deviation`.
    modes : int
        Cosines in each direction. Structure finer than 1/modes is left out.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    Examples
    --------
    >>> field = GaussianRandomField(alpha=2.0, tau=3.0)
    >>> coarse, fine = (field.sample((n, n), np.random.default_rng(0)) for n in (33, 65))
    >>> bool(np.allclose(coarse, fine[::2, ::2]))
    True
    """

    alpha: float | int = 2.0
    tau: float | int = 3.0
    sigma: float | int = 1.0
    modes: int = 256

    def __post_init__(self) -> None:
        if not self.alpha > 1:
            raise ValueError(f"alpha must exceed 1, else the field has infinite variance, got {self.alpha}")
        if not self.tau >= 0:
            raise ValueError(f"tau must be non-negative, got {self.tau}")
        if not self.sigma > 0:
            raise ValueError(f"sigma must be positive, got {self.sigma}")
        if self.modes < 2:
            raise ValueError(f"modes must be at least 2, got {self.modes}")

    @cached_property
    def spectrum(self) -> Float[np.ndarray, "modes modes"]:
        """Square roots σ (π²(k² + l²) + τ²)^(-α/2) of the eigenvalues of C; 0 for the constant mode."""
        k = np.arange(self.modes)
        symbol = np.pi**2 * (k[:, None] ** 2 + k**2) + self.tau**2
        symbol[0, 0] = np.inf
        return self.sigma * symbol ** (-self.alpha / 2)

    @property
    def deviation(self) -> float:
        """Root mean square of the field over the domain and over samples, (trace C)^½."""
        return float(np.linalg.norm(self.spectrum))

    def sample(self, shape: tuple[int, int], rng: np.random.Generator) -> Field:
        """Draw one field and evaluate it at the vertices (i/(n-1), j/(m-1)).

        Parameters
        ----------
        shape : (n, m)
            Vertices along x and y, at least 2 each.
        rng : numpy.random.Generator
            The same state of the generator gives the same function on every grid.

        Returns
        -------
        (n, m) float64 array

        Raises
        ------
        ValueError
            If a side has fewer than 2 vertices.
        """
        if min(shape) < 2:
            raise ValueError(f"shape needs at least 2 vertices a side, got {shape}")
        modes = self.spectrum * rng.standard_normal((self.modes, self.modes))
        modes[1:] *= np.sqrt(2)
        modes[:, 1:] *= np.sqrt(2)
        return cosine_series(modes, shape)


def cosine_series(modes: Float[np.ndarray, "k l"], shape: tuple[int, int]) -> Field:
    """Evaluate Σ modes[k, l] cos(πkx) cos(πly) at the vertices of an (n, m) grid by DCT-I.

    Modes beyond what the grid resolves are not dropped but folded, as cos(πki/(n-1)) has period
    2(n-1) in k: the result is the series itself, at the vertices.
    """
    for axis, n in enumerate(shape):
        modes = np.moveaxis(_fold(np.moveaxis(modes, axis, 0), n), 0, axis)
    return fft.dctn(modes, type=1)


def _fold(modes: np.ndarray, n: int) -> np.ndarray:
    """Alias the modes along the first axis onto 0 … n-1, and weight them as DCT-I wants them."""
    period = 2 * (n - 1)
    folded = np.zeros((period, *modes.shape[1:]))
    for start in range(0, len(modes), period):
        part = modes[start : start + period]
        folded[: len(part)] += part
    if len(modes) > n:
        folded[1 : n - 1] += folded[: n - 1 : -1]
    folded[1 : n - 1] /= 2
    return folded[:n]
