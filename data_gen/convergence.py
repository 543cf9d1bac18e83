"""How good are the labels? Their discretisation error, estimated by solving the same problem on other grids."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from jaxtyping import Float
from scipy.interpolate import RectBivariateSpline

from data_gen import storage
from data_gen.grid import vertices
from data_gen.problems.darcy.scheme import Source
from data_gen.problems.darcy.solvers import solve
from data_gen.recipe import Recipe
from data_gen.samples import coefficient
from data_gen.storage import DatasetInfo


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
    label, limit : (n, m) arrays
        u_h, and the estimate of the solution u of the differential equation at its vertices.
    order : float
        Observed order of convergence, from spacings 2h, h and h/2; NaN where 2h is no grid.
    """

    label: Float[np.ndarray, "n m"]
    limit: Float[np.ndarray, "n m"]
    order: float


def recipe_of(info: DatasetInfo, source: Source | None) -> Recipe:
    """The recipe by which the samples of a dataset can be drawn again, on any grid.

    Parameters
    ----------
    info : DatasetInfo
        What the file says of itself.
    source : float, (n, m) array or None
        Its source, see `data_gen.storage.read_source`.

    Raises
    ------
    ValueError
        If the file was not made by a law that can be drawn on a finer grid.
    """
    if "recipe" not in info.attributes or source is None or info.attributes["law"].endswith(".npy"):
        raise ValueError(f"{info.path} has no law by which its coefficients could be drawn on a finer grid")
    return Recipe.from_json(info.attributes["recipe"], source)


def extrapolate(recipe: Recipe, i: int) -> Extrapolation:
    """Estimate the solution of the differential equation that the label of sample `i` discretises.

    The same coefficient, drawn again from the recipe, is solved at half the spacing, with a source array
    interpolated by cubic splines; with the error of order p, u ≈ u_h + (u_{h/2} - u_h) / (1 - 2⁻ᵖ)
    (Richardson 1911). p is observed in the norm, between ½ and 2, by solving at twice the spacing as well;
    where there is no such grid, it is taken as 1. Where the coefficient jumps, the error has no expansion in h
    point by point: the size of u - u_h is estimated, not its shape.

    Raises
    ------
    ValueError, NotConverged
        If the law fails on another grid, or a solve misses its tolerance.
    """
    n, m = recipe.shape
    fine, middle = (_solution(recipe, i, shape) for shape in ((2 * n - 1, 2 * m - 1), (n, m)))
    order = np.nan
    if n % 2 and m % 2 and min(n, m) >= 5:
        coarse = _solution(recipe, i, ((n + 1) // 2, (m + 1) // 2))
        steps = coarse - middle[::2, ::2], middle[::2, ::2] - fine[::4, ::4]
        order = float(np.log2(np.linalg.norm(steps[0]) / np.linalg.norm(steps[1])))
    p = float(np.clip(1.0 if np.isnan(order) else order, 0.5, 2))
    return Extrapolation(middle, middle + (fine[::2, ::2] - middle) / (1 - 2**-p), order)


def richardson(path: str | Path | h5py.File, samples: int = 3) -> Iterator[ErrorEstimate]:
    """Estimate the error of the first labels against the solution of the differential equation, see `extrapolate`.

    Raises
    ------
    FileNotFoundError, ValueError
        If the file cannot be read as a dataset, or was not made by a law that can be drawn on a finer grid.
    """
    with storage.open_hdf5(path) as file:
        info, source = storage.checked(Path(file.filename), file), storage.source_of(file)
    recipe = recipe_of(info, source)
    for i in range(min(samples, info.samples)):
        label, limit, order = extrapolate(recipe, i)
        yield ErrorEstimate(i, float(np.linalg.norm(limit - label) / np.linalg.norm(label)), order)


def _solution(recipe: Recipe, i: int, shape: tuple[int, int]) -> np.ndarray:
    source = recipe.source
    if isinstance(source, np.ndarray):
        (x, y), (fine_x, fine_y) = (map(vertices, s) for s in (recipe.shape, shape))
        source = np.asarray(RectBivariateSpline(x, y, source)(fine_x, fine_y))
    recipe = replace(recipe, shape=shape, source=source)
    return solve(coefficient(recipe, i), recipe.source, method=recipe.method, rtol=recipe.rtol, mean=recipe.mean)
