"""A rival that refines what it sees: the coefficient guessed on a finer grid, and one solve there.

The scheme's error on a coarse grid has two parts: the grid does not show where the coefficient jumps, and the scheme is
coarse. Nothing mends the former; on a third of the spacing the latter is a third, or a ninth where the coefficient is
smooth, for nine times the points.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from data_gen.grid import Grid
from data_gen.problem import Inputs, Problem, Solution, samples_at_once
from data_gen.storage.schema import COEFFICIENT, SOLUTION

FACTOR = 3
"""Intervals for each that is seen. Odd: at an even one a share of one half is common, which is of neither phase."""


@dataclass(frozen=True)
class Refined(Problem):
    """Darcy flow solved for on `FACTOR` times as many intervals as its coefficient has, and brought back.

    Parameters
    ----------
    flow : Darcy
        What solves there.
    """

    name, scheme = "darcy", "refined"
    inputs, outputs = COEFFICIENT, SOLUTION

    flow: Problem

    def solved_on(self, grid: Grid) -> Grid:
        """The finer grid."""
        return grid.refined(FACTOR)

    def solve(self, a: Inputs, grid: Grid, *, rtol: float | None = None) -> Solution:
        """Solve for one coefficient, on the CPU; raises what `flow` does."""
        finer = refine(torch.from_numpy(np.array(a))).numpy()
        found = self.flow.solve(finer, self.solved_on(grid), rtol=rtol)
        return found._replace(u=found.u[..., ::FACTOR, ::FACTOR])

    def on_device(self, grid: Grid, *, rtol: float | None = None, device: str = "cpu") -> Callable[[Any], Any] | None:
        """What solves for coefficients that lie on a device, as many at once as the finer grid allows."""
        finer = self.solved_on(grid)
        solve, size = self.flow.on_device(finer, rtol=rtol, device=device), samples_at_once(finer)
        if solve is None:
            return None
        return lambda a: torch.cat([solve(refine(some))[..., ::FACTOR, ::FACTOR] for some in a.split(size)])


def refine(a: Float[Tensor, "*batch n m"], factor: int = FACTOR) -> Float[Tensor, "*batch finer_n finer_m"]:
    """Coefficients on `factor` times as many intervals, each guessed from its own values alone.

    Of two values, a point has that which is the larger part of the four around it, interpolated bilinearly. Of more,
    logarithms are interpolated by cubic splines.
    """
    low, high = a.amin((-2, -1), keepdim=True), a.amax((-2, -1), keepdim=True)
    two = ((a == low) | (a == high)).all(-1, keepdim=True).all(-2, keepdim=True)
    share = _interpolated((a == high).to(a), factor, "linear")
    phases = torch.where(share > 0.5, high, low)
    if two.all():
        return phases
    return torch.where(two, phases, _interpolated(a.double().log(), factor, "cubic").exp().to(a))


def _interpolated(field: Float[Tensor, "*batch n m"], factor: int, how: str) -> Tensor:
    rows, columns = (_weights(points, factor, how, field.dtype, field.device) for points in field.shape[-2:])
    return rows @ field @ columns.T


@lru_cache(maxsize=16)
def _weights(
    points: int, factor: int, how: str, dtype: torch.dtype, device: torch.device
) -> Float[Tensor, "finer points"]:
    """What each of `points` counts for at each finer point along an axis; splines are not-a-knot."""
    from scipy.interpolate import make_interp_spline  # takes longer to import than the rest of this package

    coarse, fine = (Grid((n,)).axes()[0] for n in (points, (points - 1) * factor + 1))
    degree = 1 if how == "linear" else min(3, points - 1)
    return torch.from_numpy(make_interp_spline(coarse, np.eye(points), k=degree)(fine)).to(device, dtype)
