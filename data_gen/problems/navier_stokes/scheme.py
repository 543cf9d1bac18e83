"""Pseudo-spectral scheme for the vorticity equation on the periodic unit square.

    w_t + v·∇w = ν Δw + f,      v = (u, v) = (ψ_y, -ψ_x),      -Δψ = w,      f = F (sin 2π(x + y) + cos 2π(x + y)).

As v has no divergence, v·∇w = ∂xy(v² - u²) + (∂xx - ∂yy)(uv), so that in Fourier space

    w_t = 4π² [(k² - l²) (uv)^ + kl (v² - u²)^] - 4π²(k² + l²) ν w + f,

which takes four transforms: products are formed at the grid points. With the 2/3 rule only wavenumbers below a third of
the points are kept, so that no product is aliased (Orszag 1971), and advection conserves energy and enstrophy; without
it all are kept that the grid resolves.

In time, the classical Runge–Kutta method of order 4 for E(-t) w, E(t) = exp(-4π²(k² + l²) ν t) (Lawson 1967), which
takes the viscous term exactly. What the coefficients are says `data_gen.problems.navier_stokes.fourier`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import ceil

import numpy as np
from jaxtyping import Complex, Float, Int
from scipy import fft

from data_gen.problems.navier_stokes.fourier import Shape, evaluated, resolved, wavenumbers

Vorticity = Complex[np.ndarray, "n half"]
Steps = Callable[[int, np.ndarray, float], np.ndarray]
"""How many each sample shall have in an interval, (batch,): from its number, the rates there (batch, 2), its length."""

STEPS = 10_000
"""The most in one interval: after an instability the velocity, and with it the number of steps, grows for ever."""


@dataclass(frozen=True)
class Scheme:
    """The equation on one grid.

    Parameters
    ----------
    shape : (n, m)
        Points of the grid.
    viscosity : float
        ν, in units of side² per unit of time.
    forcing : float
        Amplitude F.
    dealiased : bool
        Whether by the 2/3 rule.
    single : bool
        Whether in float32.
    """

    shape: Shape
    viscosity: float | int
    forcing: float | int
    dealiased: bool = True
    single: bool = False

    @cached_property
    def largest(self) -> tuple[int, int]:
        """The largest wavenumbers that are kept."""
        n, m = self.shape
        return ((n - 1) // 3, (m - 1) // 3) if self.dealiased else resolved(self.shape)

    @cached_property
    def kept(self) -> Float[np.ndarray, "n half"]:
        """One where a wavenumber is kept, else zero."""
        k, l = wavenumbers(self.shape)  # noqa: E741
        return 1.0 * ((np.abs(k) <= self.largest[0]) & (l <= self.largest[1]))

    @cached_property
    def diffusion(self) -> Float[np.ndarray, "n half"]:
        """4π²(k² + l²) ν, by which a mode decays in a unit of time."""
        k, l = wavenumbers(self.shape)  # noqa: E741
        return self._real(4 * np.pi**2 * self.viscosity * (k**2 + l**2))

    @cached_property
    def to_velocity(self) -> Complex[np.ndarray, "2 n half"]:
        """What takes w to u and to v: 2πil and -2πik, over 4π²(k² + l²); nothing of the mean."""
        k, l = wavenumbers(self.shape)  # noqa: E741
        square = k**2 + l**2
        square[0, 0] = np.inf
        factors = np.stack(np.broadcast_arrays(1j * l, -1j * k)) / (2 * np.pi * square)
        return (factors * self.kept).astype(self.dtype)

    @cached_property
    def to_advection(self) -> Float[np.ndarray, "2 n half"]:
        """What takes uv and v² - u² to -v·∇w: 4π²(k² - l²) and 4π²kl."""
        k, l = wavenumbers(self.shape)  # noqa: E741
        return self._real(4 * np.pi**2 * np.stack([k**2 - l**2, k * l]) * self.kept)

    @property
    def force(self) -> complex:
        """The coefficient of f at k = l = 1; that at k = l = -1 is its conjugate, and there is no other."""
        return self.forcing * (1 - 1j) / 2

    @property
    def dtype(self) -> type[np.complexfloating]:
        """Of coefficients."""
        return np.complex64 if self.single else np.complex128

    def _real(self, values: np.ndarray) -> np.ndarray:
        return values.astype(np.float32 if self.single else np.float64)

    def start(self, c: Complex[np.ndarray, "*any n half"]) -> Complex[np.ndarray, "*any n half"]:
        """Coefficients as the scheme keeps them."""
        return (c * self.kept).astype(self.dtype)

    def velocity(self, w: Vorticity) -> Float[np.ndarray, "2 n m"]:
        """u and v at the grid points."""
        return evaluated(self.to_velocity * w, self.shape)

    def tendency(self, w: Vorticity) -> Vorticity:
        """-v·∇w + f."""
        u, v = fft.irfft2(self.to_velocity * w, s=self.shape, norm="forward")
        stress = fft.rfft2(np.stack([u * v, v * v - u * u]), norm="forward")
        stress *= self.to_advection
        result = stress[0] + stress[1]
        result[1, 1] += self.force
        return result

    def decay(self, h: float) -> Float[np.ndarray, "n half"]:
        """E(h/2)."""
        return np.exp(-self.diffusion * (h / 2)).astype(self.diffusion.dtype)

    def step(self, w: Vorticity, h: float, decay: Float[np.ndarray, "n half"]) -> Vorticity:
        """w at t + h from w at t."""
        half = decay * w
        first = decay * self.tendency(w)
        second = self.tendency(half + (h / 2) * first)
        third = self.tendency(half + (h / 2) * second)
        fourth = self.tendency(decay * (half + h * third))
        return decay * (half + (h / 6) * (first + 2 * (second + third))) + (h / 6) * fourth

    def rates(self, w: Vorticity) -> Float[np.ndarray, "2"]:
        """2π max(K|u| + L|v|), radians of the shortest waves that pass in a unit of time, and max |w|.

        The first bounds steps that are stable, the second steps that are accurate.
        """
        u, v = np.abs(self.velocity(w))
        passing = 2 * np.pi * (self.largest[0] * u + self.largest[1] * v).max()
        return np.array([passing, np.abs(evaluated(w, self.shape)).max()], dtype=np.float64)


def intervals(times: Sequence[float | int]) -> list[tuple[float, bool]]:
    """The parts of [0, T] between units of time and the times that are asked for: lengths, and whether one ends there.

    Examples
    --------
    >>> intervals((0.5, 2.0))
    [(0.5, True), (0.5, False), (1.0, True)]
    """
    marks = sorted({0.0, *map(float, range(ceil(times[-1]))), *map(float, times)})
    return [(end - start, end in times) for start, end in pairwise(marks)]


def steps_for(
    rates: Float[np.ndarray, "batch 2"], length: float, courant: float, turn: float
) -> Int[np.ndarray, " batch"]:
    """Steps in an interval, none longer than `courant` and `turn` over the two rates; 0 where they were too many."""
    needed = np.ceil(np.maximum(length * rates / (courant, turn), 1).max(1))
    return np.where(needed <= STEPS, needed, 0).astype(int)


def advance(
    scheme: Scheme, w: Vorticity, times: Sequence[float | int], steps: Steps
) -> Iterator[tuple[Vorticity, int, bool]]:
    """March through `intervals(times)`; yields w at the end of each, its number of steps, and whether that is a time.

    Where `steps` says 0, all is NaN from there on.
    """
    for i, (length, asked) in enumerate(intervals(times)):
        with np.errstate(over="ignore", invalid="ignore"):  # of a solution that blows up
            (count,) = steps(i, scheme.rates(w)[None], length).tolist()
            w = _stepped(scheme, w, length / count, count) if count else np.full_like(w, np.nan)
        yield w, count, asked


def _stepped(scheme: Scheme, w: Vorticity, h: float, count: int) -> Vorticity:
    decay = scheme.decay(h)
    for _ in range(count):
        w = scheme.step(w, h, decay)
    return w
