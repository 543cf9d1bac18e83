"""How far labels that were solved for on a finer grid may still be from the solution of the equation.

Two things are measured of a label u, each by solving again for the same inputs, and the larger one counts:

- half the distance of the solutions between which that of the equation is expected (`Problem.bracket`), on the same
  finer grid. Of Darcy flow those are finite differences with arithmetic and with harmonic means;
- the distance to the solution at half the spacing.

The second halves at least with every refinement, so that it bounds the error of a scheme of first order or better.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from data_gen.grid import Grid
from data_gen.problem import Problem
from data_gen.recipe import Recipe, splits
from data_gen.samples import brought_down, draw_all, solve_all

SAMPLES = 32
"""How many labels are measured, the first of the test split."""


def measured(recipe: Recipe) -> list[int]:
    """The samples whose labels are measured: none where labels are solved for on the grid that is stored."""
    if recipe.label_refinement == 1:
        return []
    parts = splits(recipe.samples, recipe.split)
    return [int(i) for i in parts.get("test", np.arange(recipe.samples))[:SAMPLES]]


def label_uncertainty(recipe: Recipe, i: int) -> float:
    """The larger of the two distances of the label of sample `i`, relative to its norm over the stored grid.

    Raises
    ------
    ValueError, NotConverged
        Naming the sample, if it cannot be solved for again.
    """
    finer = recipe.grid.refined(2 * recipe.label_refinement)
    a = draw_all(recipe, recipe.solved_on, [i])
    schemes: Sequence[Problem] = (recipe.problem, *recipe.problem.bracket())
    u, *between = [_solution(replace(recipe, problem=each), recipe.solved_on, i, a) for each in schemes]
    halved = replace(recipe, label_refinement=2 * recipe.label_refinement)
    step = u - _solution(halved, finer, i, draw_all(halved, finer, [i]))
    apart = np.linalg.norm(between[0] - between[1]) / 2 if between else 0.0
    return float(max(apart, np.linalg.norm(step)) / np.linalg.norm(u))


def _solution(
    recipe: Recipe, grid: Grid, i: int, a: Float[np.ndarray, "1 inputs *shape"]
) -> Float[np.ndarray, "times outputs *coarse"]:
    (found,) = solve_all(recipe, grid, [i], a)
    return brought_down(recipe, found.u, "output")
