"""Two-dimensional Navier–Stokes flow in vorticity form, stirred by a fixed force.

w_t + v·∇w = ν Δw + f   on the periodic unit square,      v = (ψ_y, -ψ_x),   -Δψ = w,
f = 0.1 (sin 2π(x + y) + cos 2π(x + y)),                  w = w₀ at t = 0.

That is the flow of Li et al. 2021 (arXiv 2010.08895, §A.3.3), from random w₀ as their program draws them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product
from typing import Any, Literal

import numpy as np
from jaxtyping import Complex, Float, Shaped

from data_gen.grid import Grid
from data_gen.problem import ROUNDING, Field, Inputs, NotConverged, Problem, Solution, Symmetry, Trajectory
from data_gen.problems.navier_stokes import initial
from data_gen.problems.navier_stokes.doubling import Counts, Frames, March, Samples, verified
from data_gen.problems.navier_stokes.fourier import (
    analysed,
    evaluated,
    resampled,
    transferred,
)
from data_gen.problems.navier_stokes.scheme import STEPS, Scheme, Steps, advance, steps_for

VORTICITY = (Field("vorticity", "w"),)

GROSS = 0.03
"""A value that is so far off, relative to the largest, is wrong whatever the number of steps."""

FLOAT32 = 2.0**-24
"""How far rounding to float32 moves a value, and a mean of values, at most, relative to the largest."""

BATCHES = 8
"""As many are solved for together on a GPU, so that the few samples that need more steps wait for one another."""

STABLE = 2.8
"""A Courant number that is safe: on the imaginary axis the method is stable up to √8 (Hairer & Wanner 1996, §IV.2)."""


@dataclass(frozen=True)
class NavierStokes(Problem):
    """Navier–Stokes flow in vorticity form, by a pseudo-spectral scheme.

    Parameters
    ----------
    viscosity : float
        ν > 0.
    times : tuple of float
        When solutions are asked for. At ν = 1e-5 the flow is as Li et al. have it up to t = 20.
    forcing : float
        Amplitude of f.
    refinement : int
        Solve on a grid of so many times as many points a side, and truncate the solution to what the grid resolves.
        The error is all in space: at ν = 1e-5 and t = 20 that on 64² points is 4 %, on 128² 1 %, on 256² .1 %.
    dealiased : bool
        Whether to keep wavenumbers below a third of the points alone (2/3 rule), else all that the grid resolves.
    courant, turn : float
        Bounds on 2π dt max(K|u| + L|v|), K and L the largest wavenumbers that are kept, and on dt max |w|; dt is chosen
        anew at every unit of time. Half as many steps say what the error is; where it exceeds `rtol`, dt is halved.
    precision : {"double", "single"}
        "single" solves once, in float32, whose rounding errs more than the steps: nothing is estimated.

    Raises
    ------
    ValueError
        If a value is out of range.
    """

    name = "navier-stokes"
    equation = "w_t + v·∇w = ν Δw + f, v = (ψ_y, -ψ_x), -Δψ = w, f = F (sin 2π(x + y) + cos 2π(x + y))"
    inputs = VORTICITY
    outputs = VORTICITY
    kind = "periodic"
    rtol = 1e-6
    restriction = "fourier"

    viscosity: float | int = 1e-5
    times: tuple[float | int, ...] = tuple(map(float, range(1, 11)))
    forcing: float | int = 0.1
    refinement: int = 1
    dealiased: bool = True
    courant: float | int = STABLE / 2
    turn: float | int = 1 / 64
    precision: Literal["double", "single"] = "double"

    def __post_init__(self) -> None:
        for name in ("viscosity", "courant", "turn"):
            if not 0 < getattr(self, name) < np.inf:
                raise ValueError(f"{name} must be positive and finite, got {getattr(self, name)}")
        if not np.isfinite(self.forcing):
            raise ValueError(f"forcing must be finite, got {self.forcing}")
        if not isinstance(self.refinement, int) or self.refinement < 1:
            raise ValueError(f"refinement must be an integer and at least 1, got {self.refinement}")
        if self.precision not in ("double", "single"):
            raise ValueError(f"precision must be double or single, got {self.precision!r}")
        if not self.times or not all(0 <= a < b < np.inf for a, b in pairwise((0, *self.times))):
            raise ValueError(f"times must be positive, finite and rise, got {self.times}")
        object.__setattr__(self, "times", tuple(map(float, self.times)))

    @property
    def scheme(self) -> str:  # type: ignore[override]  # what is a constant of other problems
        """Which of its discretisations this is."""
        rule = "2/3 rule" if self.dealiased else "no dealiasing"
        finer = f" on {self.refinement} times the points" if self.refinement > 1 else ""
        return f"{rule}{finer}, Courant number {self.courant:g}, {self.precision}"

    @property
    def arithmetic(self) -> str:  # type: ignore[override]  # what is a constant of other problems
        """What it computes in."""
        return "float32" if self.precision == "single" else "float64"

    def fits(self, grid: Grid, samples: int) -> None:
        """Refuse a grid that does not resolve the force.

        Raises
        ------
        ValueError
            If a side has fewer than 4 points.
        """
        if min(grid.shape) < 4:
            raise ValueError(f"resolution must be at least 4, got {grid}")

    def draw(self, grid: Grid, rng: np.random.Generator, index: int) -> Inputs:
        """Draw w₀, see `data_gen.problems.navier_stokes.initial`."""
        return initial.draw(grid.shape, rng)[None]

    def solve(self, a: Inputs, grid: Grid, *, rtol: float | None = None) -> Solution:
        """Solve for one initial vorticity, on the CPU.

        Raises
        ------
        ValueError
            If the grid, or the vorticity, is not one that this problem can begin with.
        NotConverged
            If the solution does not stay finite, or the error of its steps is not brought below `rtol`.
        """
        rtol = self.rtol if rtol is None else rtol
        scheme, (w,) = self._discretised(grid), self._coefficients(a[None], grid)

        def march(_: Samples, counts: Counts | None) -> tuple[Frames, Counts]:
            parts = list(advance(scheme, w, self.times, self._steps(counts)))
            frames = [self._on_grid(c, grid) for c, _, asked in parts if asked]
            return np.stack(frames)[None], np.array([[count for _, count, _ in parts]])

        (u,), (error,) = self._verified(march, 1, rtol)
        if not np.isfinite(u).all():
            raise NotConverged(f"the solution does not stay finite, or takes more than {STEPS} steps in a unit of time")
        if error > rtol:
            raise NotConverged(f"the error of its steps is estimated as {error:.1e}, more than {rtol:g}")
        return Solution(u[:, None], float(error), "step", "ifrk4")

    def solve_batch(
        self, a: Float[np.ndarray, "batch 1 n m"], grid: Grid, *, rtol: float | None = None, device: str = "cpu"
    ) -> list[Solution | None]:
        """Solve for several samples, with torch on any device but "cpu", in batches of one size; the last is filled up.

        Transforms of another number may be summed in another order, and a sample must not depend on its company. In
        single precision, of which that is not asked, no batch is larger than it must be.

        Raises
        ------
        ValueError
            As `solve`.
        """
        if device == "cpu":
            return super().solve_batch(a, grid, rtol=rtol)
        from data_gen.problems.navier_stokes import gpu

        rtol = self.rtol if rtol is None else rtol
        scheme = self._discretised(grid)
        most = gpu.batch_size(scheme.shape)
        if len(a) > BATCHES * most:
            groups = [a[start : start + BATCHES * most] for start in range(0, len(a), BATCHES * most)]
            return [each for group in groups for each in self.solve_batch(group, grid, rtol=rtol, device=device)]
        w = self._coefficients(a, grid)
        size = most if self.precision == "double" else min(most, len(a))

        def march(samples: Samples, counts: Counts | None) -> tuple[Frames, Counts]:
            parts = []
            for start in range(0, len(samples), size):
                some = samples[start : start + size]
                given = None if counts is None else filled_up(counts[start : start + size], size, 1)
                batch = filled_up(w[some], size, 0)
                found = gpu.march(scheme, batch, self.times, grid.shape, self._steps(given), device)
                parts.append([each[: len(some)] for each in found])
            frames, taken = (np.concatenate(each) for each in zip(*parts, strict=True))
            return frames, taken

        solutions: list[Solution | None] = []
        for u, error in zip(*self._verified(march, len(a), rtol), strict=True):
            converged = np.isfinite(u).all() and not error > rtol
            solutions.append(Solution(u[:, None], float(error), "step", "ifrk4-gpu") if converged else None)
        return solutions

    def trajectories_on_device(
        self, grid: Grid, *, rtol: float | None = None, device: str = "cpu"
    ) -> Callable[[Any], Any] | None:
        """See `Problem`. On its own grid and in single precision nothing passes through the memory of the CPU."""
        if device == "cpu" or self.precision == "double" or self.refinement > 1:
            return super().trajectories_on_device(grid, rtol=rtol, device=device)
        from data_gen.problems.navier_stokes import gpu

        scheme = self._discretised(grid)
        return lambda a: gpu.trajectories(scheme, a[:, 0], self.times, self._steps(None))[:, :, None]

    def restrict(self, field: Float[np.ndarray, "*any"], grid: Grid, coarse: Grid, what: str) -> np.ndarray:
        """Truncate Fourier series to the wavenumbers that the coarser grid resolves.

        Every s-th point would alias the others into them: at ν = 1e-5 and t = 20, fields on 256² points and what 64²
        of them resolve differ by .035.
        """
        return resampled(field, coarse.shape)

    def rivals(self) -> tuple[Problem, ...]:
        """The scheme on the grid itself, as fast as is stable, in float32: with the 2/3 rule, and without dealiasing.

        Without it 64² points carry 31 wavenumbers instead of 21, and err as little as 96² points with the rule.
        """
        fast = replace(self, refinement=1, courant=STABLE, turn=1.0, precision="single")
        return replace(fast, dealiased=True), replace(fast, dealiased=False)

    def check(self, a: Inputs, u: Trajectory, grid: Grid, evidence: float, rtol: float) -> Iterator[str]:
        """The mean, which no term of the equation changes, and that solving again gives the stored fields.

        They are solved for without an estimate of the error, up to the first that is grossly wrong. Where they differ
        by less, the stored ones may have had more steps, and are solved for as they were.
        """
        moved, size = np.abs(u[:, 0].mean((1, 2)) - a[0].mean()).max(), max(np.abs(u).max(), np.abs(a).max())
        if not moved <= FLOAT32 * size:
            yield f"the mean vorticity is not conserved: it changes by {moved / size:.1e} of the largest value"
            return
        scheme, (w,) = self._discretised(grid), self._coefficients(a[None], grid)
        parts = advance(scheme, w, self.times, self._steps(None, halved=False))
        again = (self._on_grid(c, grid) for c, _, asked in parts if asked)
        differences = []
        for t, stored, field in zip(self.times, u[:, 0], again, strict=True):
            differences.append(np.abs(stored - field).max() / (np.abs(field).max() or 1))
            if not differences[-1] <= GROSS:
                apart = f"{differences[-1]:.1e} of its largest value"
                yield f"the vorticity at time {t:g} differs by {apart} from the one that is solved for again"
                return
        if max(differences) > ROUNDING:
            yield from super().check(a, u, grid, evidence, rtol)

    def symmetries(self, grid: Grid) -> Sequence[Symmetry]:
        """The maps that leave the force as it is, or that reverse force and flow: up to sixteen, a group.

        They are (x, y) → (1/4 - x, -y) and, with the sign of w changed, (y + 1/4, x + 1/4) and (3/4 - y, -x), each
        shifted along (1, -1) by quarters of the side, as far as those are multiples of the spacing. (Shorter shifts
        along (1, -1) are symmetries as well.)
        """
        n, m = grid.shape
        straight, crossed = ((0, 1), (1,)), ((1, 0), (-1,))
        in_quarters = [
            (straight, False, 0, 0),
            (straight, True, 1, 0),
            (crossed, False, -1, -1),
            (crossed, True, 0, 3),
        ]
        maps = []
        for ((axes, sign), flipped, x, y), q in product(in_quarters, range(4)):
            i, j = (x + q) % 4, (y - q) % 4
            if i * n % 4 == 0 and j * m % 4 == 0 and (n == m or axes == (0, 1)):
                flip = np.array([1 / n, 1 / m]) if flipped else 0  # of points i/n, one takes x to 1 - 1/n - x
                shifts = tuple((np.array([i, j]) / 4 + flip).tolist())
                maps.append(Symmetry(axes, (flipped, flipped), shifts, sign, sign))
        return maps

    def drawn_by(self) -> dict[str, Any]:
        """Nothing: there is one law."""
        return {}

    def _discretised(self, grid: Grid) -> Scheme:
        """The scheme on the grid to solve on.

        Raises
        ------
        ValueError
            If the grid is not periodic, not of the unit square, or too coarse.
        """
        if grid.kind != self.kind or set(grid.sides) != {1}:
            raise ValueError(f"problem {self.name!r} lives on the periodic unit square, got {grid!r}")
        self.fits(grid, 1)
        shape = grid.refined(self.refinement).shape
        return Scheme(shape, self.viscosity, self.forcing, self.dealiased, self.precision == "single")

    def _coefficients(self, a: Float[np.ndarray, "batch 1 n m"], grid: Grid) -> Complex[np.ndarray, "batch finer half"]:
        """Fourier series of initial vorticities, as the scheme begins with them.

        Raises
        ------
        ValueError
            If they are of another shape, or not finite.
        """
        if a.shape[1:] != (1, *grid.shape):
            raise ValueError(f"the initial vorticity must have shape {(1, *grid.shape)}, got {a.shape[1:]}")
        if not np.isfinite(a).all():
            raise ValueError("the initial vorticity must be finite, got NaN or infinite values")
        scheme = self._discretised(grid)
        return scheme.start(transferred(analysed(a[:, 0]), grid.shape, scheme.shape))

    def _on_grid(self, c: Complex[np.ndarray, "finer half"], grid: Grid) -> Float[np.ndarray, "n m"]:
        """The field that the scheme has computed, in float64, truncated to what a grid resolves."""
        c = transferred(c.astype(complex), grid.refined(self.refinement).shape, grid.shape)
        return evaluated(c, grid.shape)

    def _steps(self, counts: Counts | None, *, halved: bool = True) -> Steps:
        """As many steps as in `counts`; else as many as `courant` and `turn` ask for, or half, to be doubled."""
        if counts is not None:
            return lambda i, rates, length: counts[:, i]
        factor = 2 if halved and self.precision == "double" else 1
        return lambda i, rates, length: steps_for(rates, length, factor * self.courant, factor * self.turn)

    def _verified(self, march: March, samples: int, rtol: float) -> tuple[Frames, Float[np.ndarray, " samples"]]:
        """Solutions, and estimates of their errors; in single precision NaN."""
        if self.precision == "double":
            return verified(march, samples, rtol)
        return march(np.arange(samples), None)[0], np.full(samples, np.nan)


def filled_up(values: Shaped[np.ndarray, "some *any"], size: int, value: int) -> Shaped[np.ndarray, "size *any"]:
    """Rows of `value` after the others, up to so many."""
    return np.pad(values, [(0, size - len(values)), *[(0, 0)] * (values.ndim - 1)], constant_values=value)
