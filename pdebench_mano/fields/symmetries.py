"""The eight symmetries of the square, as augmentation: a solution turns with its coefficient.

On vertices each of them maps the grid onto itself. On a left grid reflections shift every point by
a cell, and only the transposition is exact.
"""

from jaxtyping import Int
from torch import Tensor, where

from pdebench_mano.fields.operator import Fields, Grid

COUNT: dict[Grid, int] = {"vertices": 8, "left": 2}
"""How many symmetries, counted as `transform` does, a grid has."""


def transform(fields: Fields, symmetry: Int[Tensor, " batch"]) -> Fields:
    """Apply one of the eight symmetries of the square to each sample.

    Bit 0 of `symmetry` transposes, then bits 1 and 2 reverse the first and second axis.
    """
    result = fields
    for bit, change in enumerate((lambda x: x.mT, lambda x: x.flip(-2), lambda x: x.flip(-1))):
        chosen = (symmetry >> bit & 1).bool()
        if chosen.any():
            result = where(chosen[:, None, None, None].to(fields.device), change(result), result)
    return result
