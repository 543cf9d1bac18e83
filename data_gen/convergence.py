"""How good are the labels? Their discretisation error, estimated by solving the same problem on other grids."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from jaxtyping import Float

from data_gen import storage
from data_gen.grid import Grid
from data_gen.recipe import Recipe, recipe_of
from data_gen.samples import brought_down, draw


class ErrorEstimate(NamedTuple):
    """The discretisation error of one label, by Richardson extrapolation.

    Attributes
    ----------
    sample : int
        Number of the sample.
    relative_l2 : float
        Estimate of ‖u_h - u‖ / ‖u‖ over the vertices.
    order : float
        Observed order of convergence, from spacings 2h, h and h/2; NaN where 2h is no grid.
    """

    sample: int
    relative_l2: float
    order: float


class Extrapolation(NamedTuple):
    """One label and what it tends to as the grid is refined.

    Attributes
    ----------
    label, limit : (times, outputs, *shape) arrays
        u_h, and the estimate of the solution u of the differential equation at its points, on the stored grid.
    order : float
        Observed order of convergence, from spacings 2h, h and h/2; NaN where 2h is no grid.
    """

    label: Float[np.ndarray, "times outputs *shape"]
    limit: Float[np.ndarray, "times outputs *shape"]
    order: float


def extrapolate(recipe: Recipe, i: int) -> Extrapolation:
    """Estimate the solution of the differential equation that the label of sample `i` discretises.

    The same inputs, drawn again from the recipe, are solved for at half the spacing; with the error of order p,
    u ≈ u_h + (u_{h/2} - u_h) / (1 - 2⁻ᵖ) (Richardson 1911). p is observed in the norm, between ½ and 2 or the order of
    the scheme, by solving at twice the spacing as well; where there is no such grid, it is taken as 1. Where an input
    jumps, the error has no expansion in h point by point: the size of u - u_h is estimated, not its shape.

    Raises
    ------
    ValueError, NotConverged
        If the inputs cannot be drawn on another grid, or a solve misses its tolerance.
    """
    problem, grid = recipe.problem, recipe.solved_on
    finer = grid.refined()
    middle, fine = (_solution(recipe, i, each) for each in (grid, finer))
    fine = problem.restrict(fine, finer, grid, "output")
    order, coarser = np.nan, _halved(grid)
    if coarser is not None:
        coarse = _solution(recipe, i, coarser)
        on_it = [problem.restrict(each, grid, coarser, "output") for each in (middle, fine)]
        steps = coarse - on_it[0], on_it[0] - on_it[1]
        with np.errstate(divide="ignore", invalid="ignore"):  # where the grid changes nothing
            order = float(np.log2(np.linalg.norm(steps[0]) / np.linalg.norm(steps[1])))
    p = float(np.clip(1.0 if np.isnan(order) else order, 0.5, max(2.0, problem.order or 2.0)))
    limit = middle + (fine - middle) / (1 - 2**-p)
    return Extrapolation(brought_down(recipe, middle, "output"), brought_down(recipe, limit, "output"), order)


def _halved(grid: Grid) -> Grid | None:
    """The grid of twice the spacing, if there is one with three points a side."""
    try:
        coarser, stride = grid.coarsened(grid.shape[0] // 2 + grid.shape[0] % 2)
    except ValueError:
        return None
    return coarser if stride == 2 and min(coarser.shape) >= 3 else None


def richardson(path: str | Path | h5py.File, samples: int = 3, *, trust: bool = False) -> Iterator[ErrorEstimate]:
    """Estimate the error of the first labels against the solution of the differential equation, see `extrapolate`.

    Parameters
    ----------
    path : path or h5py.File
        A dataset file.
    samples : int
        How many.
    trust : bool
        Whether to run a law or a problem that is code of a user's own.

    Raises
    ------
    FileNotFoundError, ValueError
        If the file cannot be read as a dataset, or was not made by a law that can be drawn on a finer grid.
    """
    with storage.open_hdf5(path) as file:
        info = storage.checked(Path(file.filename), file)
        recipe = recipe_of(info, storage.arrays_of(file), trust)
    for i in range(min(samples, info.samples)):
        label, limit, order = extrapolate(recipe, i)
        yield ErrorEstimate(i, float(np.linalg.norm(limit - label) / np.linalg.norm(label)), order)


def _solution(recipe: Recipe, i: int, grid: Grid) -> np.ndarray:
    a = draw(recipe.problem, grid, recipe.seed, i)
    return recipe.problem.solve(a, grid, rtol=recipe.rtol).u
