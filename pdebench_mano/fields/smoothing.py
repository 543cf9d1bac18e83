"""Fields as a coarser grid shows them on average: what an operator that learned on that grid can read on a finer one.

Values on a grid of spacing h stand for their piecewise linear interpolant. The mean of the interpolants over all places
of the grid is the convolution of the field with the hat of width h,

    E[I_h f](x) = ∫ f(x - hs) max(0, 1 - |s|) ds,

so that what a finer grid adds, the training grid has never shown. On a finer grid of spacing h/s, s an integer, hats of
width h are made of its own hats with the weights max(0, 1 - |j|/s) (the refinement of linear B-splines), of second
moment (s² - 1)/6. In between there are none; the weights of the two integers about s are mixed such that theirs is it.
"""

from collections.abc import Callable

import torch
from torch.nn.functional import pad

from data_gen.grid import Kind
from pdebench_mano.fields.operator import Fields


def smoothed(field: Fields, spacing: float, grid: Kind) -> Fields:
    """Means of a field with the hat of width `spacing`, which lies in the unit interval; as it is on coarser grids.

    Constants stay what they are. Beyond its sides a field goes on as its mirror image, or around a periodic grid.

    Parameters
    ----------
    field : (batch, channels, height, width) tensor
    spacing : float
        That of the grid to be imitated, in sides of the box.
    grid : {"vertices", "left", "periodic"}

    Returns
    -------
    (batch, channels, height, width) tensor

    Raises
    ------
    ValueError
        If the spacing is not between 0 and 1/2.
    """
    if not 0 < spacing <= 0.5:
        raise ValueError(f"the spacing to smooth by must be above 0 and at most 1/2, got {spacing}")
    return averaged(field, spacing, grid, hat)


def averaged(field: Fields, spacing: float, grid: Kind, kernel: Callable[[float], list[float]]) -> Fields:
    """Means of a field with the weights, along each axis, that `kernel` gives for `spacing` over that of the grid.

    Parameters
    ----------
    field, spacing, grid
        Those of `smoothed`: (batch, channels, height, width) tensor, float, kind of grid.
    kernel : callable
        Ratio ↦ an odd number of weights, of sum 1.

    Returns
    -------
    (batch, channels, height, width) tensor
    """
    around = "circular" if grid == "periodic" else "reflect"
    for axis in (-2, -1):
        points = field.shape[axis]
        weights = kernel(spacing * (points - (grid == "vertices")))
        reach = len(weights) // 2
        if reach < 1:
            continue
        wide = pad(field, (0, 0, reach, reach) if axis == -2 else (reach, reach, 0, 0), mode=around)
        terms = (wide.narrow(axis, j, points) * weight for j, weight in enumerate(weights))
        field = sum(terms, torch.zeros_like(field))
    return field


def hat(ratio: float) -> list[float]:
    """Weights that make a hat `ratio` times as wide out of a grid's own; the one weight 1 where it is no wider.

    Examples
    --------
    >>> hat(2.0), [round(weight, 3) for weight in hat(1.5)]
    ([0.25, 0.5, 0.25], [0.104, 0.792, 0.104])
    """
    below = max(1, int(ratio + 1e-6))
    share = (ratio**2 - below**2) / (2 * below + 1)
    mixed = [(below, 1.0)] if share < 1e-6 else [(below, 1 - share), (below + 1, share)]
    reach = mixed[-1][0] - 1
    return [sum(part * max(0, 1 - abs(j) / s) / s for s, part in mixed) for j in range(-reach, reach + 1)]
