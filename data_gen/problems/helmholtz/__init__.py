"""The Helmholtz equation: a wave u of one frequency that a source in the middle sends through a medium, and out of it.

-Δu - ω² m u = f   in (0, 1)²,      ∂ₙu = iω √m u   on the sides,

where m = 1/c² is the squared slowness of a medium of wave speed c, and f a Gaussian of width 1/ω about the centre (time
factor exp(-iωt)). The sides absorb to first order, so that there is no resonance, near which a label would be as
uncertain as it is large.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Num

from data_gen.grid import Grid
from data_gen.problem import Field, Inputs, Problem, Solution, Symmetry, Trajectory
from data_gen.problems.helmholtz import solver
from data_gen.problems.helmholtz.scheme import (
    SCHEMES,
    SMALLEST,
    Scheme,
    Wave,
    check_slowness,
    load,
    magnitude,
    power,
    relative_residual,
)
from data_gen.problems.helmholtz.speeds import SLOWEST, SPEEDS

POINTS_PER_WAVE = 10
"""That a label needs, of the shortest wave."""

WIDTHS_TO_SIDES = 6
"""Of the source, which ends at the sides: beyond, it is less than 1e-7 of its largest value."""

ROUNDING = 2.0**-24
IMBALANCE = 0.05
"""Of power, in units of (ωh)²: twice what is seen of the three laws, from two points a wave on."""

ORDERS = {"smooth": 4.0, "rough": 2.0, "piecewise": 1.0}
"""Of the fourth-order scheme; a piecewise speed has another interface on another grid."""


@dataclass(frozen=True)
class Helmholtz(Problem):
    """The Helmholtz equation with absorbing sides and a random wave speed, by finite differences.

    Parameters
    ----------
    omega : float
        Angular frequency ω, at least 12; the shortest wave has length 2π/ω.
    law : {"smooth", "piecewise", "rough"}
        Of the wave speed, see `data_gen.problems.helmholtz.speeds`.
    scheme : {"fourth-order", "five-point"}
        See `data_gen.problems.helmholtz.scheme`.

    Raises
    ------
    ValueError
        If a value is out of range, or names what there is not.
    """

    name = "helmholtz"
    equation = "-Δu - ω² m u = f, ∂ₙu = iω √m u"
    inputs = (Field("squared slowness", "m", positive=True),)
    outputs = (Field("real part", "Re u"), Field("imaginary part", "Im u"))
    rtol = 1e-11
    restriction = "volume mean"

    omega: float | int = 20.0
    law: str = "smooth"
    scheme: Scheme = "fourth-order"

    def __post_init__(self) -> None:
        least = 2 * WIDTHS_TO_SIDES
        if not isinstance(self.omega, int | float) or not least <= self.omega < np.inf:
            raise ValueError(
                f"omega must be a number of at least {least}, where the source, of width 1/omega, ends before the "
                f"sides, got {self.omega!r}"
            )
        if self.law not in SPEEDS:
            raise ValueError(f"law must be one of {', '.join(SPEEDS)}, got {self.law!r}")
        if self.scheme not in SCHEMES:
            raise ValueError(f"scheme must be one of {', '.join(SCHEMES)}, got {self.scheme!r}")
        object.__setattr__(self, "omega", float(self.omega))
        object.__setattr__(self, "order", min(ORDERS[self.law], 2.0 if self.scheme == "five-point" else 4.0))

    def fits(self, grid: Grid, samples: int) -> None:
        """Refuse a grid for labels on which the shortest wave has fewer than ten points; its width resolves the source.

        Solvers that stand beside operators may be coarser.

        Raises
        ------
        ValueError
            If it is so.
        """
        least = max(SMALLEST, 1 + int(np.ceil(self.omega * POINTS_PER_WAVE / (2 * np.pi * SLOWEST))))
        if min(grid.shape) < least:
            raise ValueError(
                f"resolution must be at least {least} for omega = {self.omega:g}, {POINTS_PER_WAVE} points a wave "
                f"where c = {SLOWEST:g}, got {grid}"
            )

    def draw(self, grid: Grid, rng: np.random.Generator, index: int) -> Inputs:
        """Draw the squared slowness of sample `index`."""
        n, m = grid.shape
        return SPEEDS[self.law]((n, m), rng)[None] ** -2

    def solve(self, a: Num[np.ndarray, "1 n m"], grid: Grid, *, rtol: float | None = None) -> Solution:
        """Solve for one squared slowness, on the CPU.

        Raises
        ------
        ValueError
            If it is not real, positive and finite, or not on the grid; if `rtol` is not between 0 and 1.
        NotConverged
            If the tolerance is missed.
        """
        check_slowness(a[0], grid.shape)
        found = solver.solve(a[0].astype(np.float64), self.omega, self.scheme, self._tolerance(rtol))
        return Solution(fields(found.u), found.residual, found.accepted_by, "lu")

    def solve_batch(
        self, a: Num[np.ndarray, "batch 1 n m"], grid: Grid, *, rtol: float | None = None, device: str = "cpu"
    ) -> list[Solution | None]:
        """Solve for several, on another device in batches of one size, the last one filled up with ones.

        Matrix products of other sizes may be summed in another order, and a sample must not depend on its company.

        Raises
        ------
        ValueError
            As `solve`, or if torch knows no such device.
        """
        if device == "cpu":
            return super().solve_batch(a, grid, rtol=rtol)
        from data_gen.problems.helmholtz import gpu

        gpu.check_device(device)
        for each in a:
            check_slowness(each[0], grid.shape)
        solutions: list[Solution | None] = [None] * len(a)
        size = gpu.samples_per_batch(grid)
        for start in range(0, len(a), size):
            batch = np.ones((size, *grid.shape))
            count = len(a[start : start + size])
            batch[:count] = a[start : start + size, 0]
            with gpu.alone(device):
                found = gpu.attempt(batch, self.omega, self.scheme, self._tolerance(rtol), device)
                u = found.u[:count].cpu().numpy()
            for k in range(count):
                if found.accepted_by[k]:
                    solutions[start + k] = Solution(
                        fields(u[k]), float(found.residual[k]), found.accepted_by[k], "block-thomas"
                    )
        return solutions

    def on_device(self, grid: Grid, *, rtol: float | None = None, device: str = "cpu") -> Callable[[Any], Any] | None:
        """What solves for squared slownesses that lie on a device: on another than the CPU in batches that fit there.

        Raises
        ------
        ValueError
            If torch knows no such device, or `rtol` is not between 0 and 1.
        """
        if device == "cpu":
            return super().on_device(grid, rtol=rtol)
        import torch

        from data_gen.problems.helmholtz import gpu

        gpu.check_device(device)
        tolerance, size = self._tolerance(rtol), gpu.samples_per_batch(grid)

        def solve(a: Any) -> Any:
            waves = []
            for m in a[:, 0].double().split(size):
                found = gpu.attempt(m, self.omega, self.scheme, tolerance, device)
                u = torch.stack([found.u.real, found.u.imag], 1)
                u[[k for k, way in enumerate(found.accepted_by) if not way]] = torch.nan
                waves.append(u)
            return torch.cat(waves)

        return solve

    def _tolerance(self, rtol: float | None) -> float:
        rtol = self.rtol if rtol is None else rtol
        if not 0 < rtol < 1:
            raise ValueError(f"rtol must lie between 0 and 1, got {rtol}")
        return rtol

    def restrict(self, field: Float[np.ndarray, "*any"], grid: Grid, coarse: Grid, what: str) -> np.ndarray:
        """Squared slowness by its mean over the control volumes of the coarser grid, waves by every s-th point.

        A sampled interface is off by as much as a spacing of the coarser grid, and a wave behind it with it.
        """
        if what == "output":
            return super().restrict(field, grid, coarse, what)
        grid.coarsened(coarse.shape[0])
        x, y = (volume_means(n, k) for n, k in zip(grid.shape, coarse.shape, strict=True))
        return x @ field @ y.T

    def rivals(self) -> tuple[Problem, ...]:
        """Both schemes."""
        return tuple(replace(self, scheme=scheme) for scheme in SCHEMES)

    def residual(self, a: Inputs, u: Trajectory, grid: Grid) -> float:
        """‖F - A u‖ / ‖F‖ of the scheme on this grid."""
        return relative_residual(a[0], wave(u), self.omega, self.scheme)

    def check(self, a: Inputs, u: Trajectory, grid: Grid, evidence: float, rtol: float) -> Iterator[str]:
        """The residual, which rounding the wave to float32 changes by up to 2⁻²⁴ |A||u|, and the balance of power.

        What leaves through the sides is what the source gives: to rounding with five points, and to a part of (ωh)²
        at fourth order, see `data_gen.problems.helmholtz.scheme.power`.
        """
        m, v, rtol = a[0], wave(u), float(np.fmax(rtol, evidence))
        norm = np.linalg.norm(load(m.shape, self.omega, self.scheme))
        r = self.residual(a, u, grid)
        allowed = ROUNDING * np.linalg.norm(magnitude(m, v, self.omega, self.scheme)) / norm
        if not r <= rtol + allowed:
            yield f"the residual is {r:.1e}, and rounding explains {allowed:.1e} of it"
        leaving, given = power(m, v, self.omega)
        apart = 1e-6 if self.scheme == "five-point" else IMBALANCE * (self.omega * max(grid.spacing)) ** 2
        if not abs(leaving - given) <= apart * given:
            yield f"power is out of balance: {leaving:.9g} leaves through the sides, the source gives {given:.9g}"

    def symmetries(self, grid: Grid) -> Sequence[Symmetry]:
        """All eight of the square, the source being at its centre; the flips on grids of other shapes."""
        turned = (False, True) if grid.shape[0] == grid.shape[1] else (False,)
        return [
            Symmetry((1, 0) if turn else (0, 1), (first, second))
            for second in (False, True)
            for first in (False, True)
            for turn in turned
        ]

    def drawn_by(self) -> dict[str, Any]:
        """The law of the speed; neither the frequency nor how it is solved."""
        return {"law": self.law}

    def attributes(self) -> dict[str, Any]:
        """The source, the sides, the law and the scheme."""
        return {
            "source": "Gaussian of width 1/omega about the centre, integral 1",
            "boundary_condition": "du/dn = i omega sqrt(m) u",
            "law": self.law,
            "scheme": self.scheme,
        }


def fields(u: Wave) -> Float[np.ndarray, "1 2 n m"]:
    """Real and imaginary part, as a problem has its solutions."""
    return np.stack([u.real, u.imag])[None]


def wave(u: Trajectory) -> Wave:
    """The wave of those two."""
    return u[-1, 0] + 1j * u[-1, 1]


def volume_means(n: int, coarse: int) -> Float[np.ndarray, "{coarse} {n}"]:
    """Means over the control volumes of `coarse` vertices, of values on those of n.

    A control volume reaches half a spacing to either side of its vertex, and not over the ends.

    Examples
    --------
    >>> volume_means(5, 3) * 8
    array([[4., 4., 0., 0., 0.],
           [0., 2., 4., 2., 0.],
           [0., 0., 0., 4., 4.]])
    """
    (low, high), (Low, High) = (
        (np.clip((np.arange(k) - 0.5) / (k - 1), 0, 1), np.clip((np.arange(k) + 0.5) / (k - 1), 0, 1))
        for k in (n, coarse)
    )
    shared = np.clip(np.minimum(high, High[:, None]) - np.maximum(low, Low[:, None]), 0, None)
    return shared / shared.sum(1, keepdims=True)
