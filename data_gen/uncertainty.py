"""How far labels that were solved for on a finer grid may still be from the solution of the equation.

Two things are measured of a label u, each by solving again for the same inputs, and the larger one counts:

- half the distance of the solutions between which that of the equation is expected (`Problem.bracket`), on the same
  finer grid. Of Darcy flow those are finite differences with arithmetic and with harmonic means;
- the distance to the solution at half the spacing.

Where the error is of order p in the spacing, the label is 1 / (1 - 2⁻ᵖ) times the second from the solution: four thirds
of it at second order, twice it at first order, where a coefficient jumps.

Labels are not extrapolated themselves. Combined with the solution at twice the spacing, for a quarter more work, one of
Darcy flow at 211² errs 9 % less with a piecewise coefficient, 17 % in channels and 4 % across barriers, and 23 % more
around inclusions, where a grid of a quarter more points has 11 % less of a first-order error. With a smooth coefficient
it errs thirteen times less at 421², 6e-6 instead of 9e-5, of which no operator comes within a factor of thirty
(``benchmarks/extrapolation.py`` measures it).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from data_gen.recipe import Recipe, splits
from data_gen.samples import brought_down, draw_all, solve_all

SAMPLES = 32
"""How many labels are measured, the first of the test split."""

RTOL = 1e-5
"""Tolerance of the solves that measure: far below the distances, and reached where a label's own costs much more."""


def measured(recipe: Recipe) -> list[int]:
    """The samples whose labels are measured: test samples, or all where there is no split.

    None where labels are solved for on the grid that is stored, or none is tested on: errors are read beside it.
    """
    if recipe.label_refinement == 1:
        return []
    parts = splits(recipe.samples, recipe.split) or {"test": np.arange(recipe.samples)}
    return parts.get("test", np.arange(0))[:SAMPLES].tolist()


def label_uncertainties(recipe: Recipe, numbers: Sequence[int]) -> list[float]:
    """The larger of the two distances of each label of some samples, relative to its norm over the stored grid.

    Raises
    ------
    ValueError, NotConverged
        Naming a sample that cannot be solved for again.
    """
    recipe = replace(recipe, rtol=max(RTOL, recipe.rtol or 0.0))
    halved = replace(recipe, label_refinement=2 * recipe.label_refinement)
    a = draw_all(recipe, recipe.solved_on, numbers)
    u = _solutions(recipe, numbers, a)
    between = [
        u if each == recipe.problem else _solutions(replace(recipe, problem=each), numbers, a)
        for each in recipe.problem.bracket()
    ]
    distances = [norms(u - _solutions(halved, numbers, draw_all(halved, halved.solved_on, numbers)))]
    if between:
        distances.append(norms(between[0] - between[1]) / 2)
    return [float(value) for value in np.max(distances, axis=0) / norms(u)]


def norms(fields: Float[np.ndarray, "batch *any"]) -> Float[np.ndarray, " batch"]:
    """Euclidean norm of each field of a batch."""
    return np.linalg.norm(fields.reshape(len(fields), -1), axis=1)


def _solutions(
    recipe: Recipe, numbers: Sequence[int], a: Float[np.ndarray, "batch inputs *shape"]
) -> Float[np.ndarray, "batch times outputs *coarse"]:
    found = solve_all(recipe, recipe.solved_on, numbers, a)
    return np.stack([brought_down(recipe, each.u, "output") for each in found])
