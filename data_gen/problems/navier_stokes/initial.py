"""The random vorticity of Li et al. 2021 at t = 0, as their program draws it.

    w₀(x) = Σ_{k ∈ H} A_k (a_k cos 2πk·x - b_k sin 2πk·x),      A_k² = 4 · 7³ (4π²|k|² + 49)^(-5/2),

with a_k, b_k independent standard normal: a centred Gaussian field of covariance 2 · 7³ (-Δ + 49)^(-5/2), whose
standard deviation at a point is .262. (The formula of their paper has 7^{3/2} without the factor 2, a field 6.09 times
smaller.) H is the half-plane kx > 0 or kx = 0 < ky, with |kx|, |ky| ≤ 31: what 64² points resolve; what is beyond has
.7 % of the norm. The order of H is fixed, so that one seed is one function on every grid.
"""

from functools import cache

import numpy as np
from jaxtyping import Float, Int

from data_gen.problems.navier_stokes.fourier import Shape, evaluated, resolved

LARGEST = 31
TAU = 7.0


@cache
def half_plane() -> Int[np.ndarray, "modes 2"]:
    """The wavenumbers of H, ordered by max(|kx|, |ky|), kx, ky."""
    ky = range(-LARGEST, LARGEST + 1)
    modes = [(k, l) for k in range(LARGEST + 1) for l in ky if k > 0 or l > 0]  # noqa: E741
    return np.array(sorted(modes, key=lambda mode: (max(map(abs, mode)), *mode)))


def amplitudes() -> Float[np.ndarray, " modes"]:
    """A_k, the standard deviations of a_k cos and of b_k sin."""
    square = (half_plane() ** 2).sum(1)
    return 2 * TAU**1.5 * (4 * np.pi**2 * square + TAU**2) ** -1.25


def draw(shape: Shape, rng: np.random.Generator) -> Float[np.ndarray, "n m"]:
    """One field, on a grid of this shape, without what the grid does not resolve."""
    k = half_plane()
    a, b = rng.standard_normal(k.shape).T
    c = amplitudes() * (a + 1j * b) / 2
    k, c = np.concatenate([k, -k]), np.concatenate([c, c.conj()])
    kept = (np.abs(k) <= resolved(shape)).all(1) & (k[:, 1] >= 0)
    coefficients = np.zeros((shape[0], shape[1] // 2 + 1), complex)
    coefficients[tuple(k[kept].T)] = c[kept]
    return evaluated(coefficients, shape)
