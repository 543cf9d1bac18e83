"""Symmetries of a problem, as augmentation: a solution turns with its inputs."""

from collections.abc import Sequence
from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from data_gen.problem import Symmetry

Turned = Float[Tensor, "batch *times channels height width"]

SQUARE = [
    Symmetry((1, 0) if turn else (0, 1), (first, second))
    for second in (False, True)
    for first in (False, True)
    for turn in (False, True)
]
"""The eight symmetries of the square, for data that say nothing of themselves."""


def transform(fields: Turned, drawn: Int[Tensor, " batch"], maps: Sequence[Symmetry], what: str) -> Turned:
    """Apply to each sample the symmetry that was drawn for it.

    Parameters
    ----------
    fields : (batch, channels, height, width) or (batch, times, channels, height, width) tensor
    drawn : (batch,) tensor of int
        Positions in `maps`, on the CPU.
    maps : sequence of Symmetry
    what : {"inputs", "outputs"}
        What the channels are, which have signs of their own.
    """
    drawn_maps = [maps[number] for number in drawn.tolist()]
    (n, m), between = fields.shape[-2:], (1,) * (fields.ndim - 3)
    taken = torch.stack([_positions(each, (n, m), fields.device) for each in drawn_maps])
    taken = taken.view(len(fields), *between, n * m).expand(*fields.shape[:-2], n * m)
    result = fields.flatten(-2).gather(-1, taken).view_as(fields)
    signs = [each.inputs if what == "inputs" else each.outputs for each in drawn_maps]
    if not any(signs):
        return result
    factors = torch.tensor([each or (1,) * fields.shape[-3] for each in signs], device=fields.device)
    return result * factors.view(len(fields), *between[1:], -1, 1, 1)


@lru_cache(maxsize=256)
def _positions(symmetry: Symmetry, shape: tuple[int, int], device: torch.device) -> Int[Tensor, " points"]:
    """Which of the old points each new one is.

    Raises
    ------
    ValueError
        If the symmetry takes the grid to another one.
    """
    points = torch.arange(shape[0] * shape[1], device=device).view(shape).permute(symmetry.axes)
    if points.shape != shape:
        raise ValueError(f"symmetries: a grid of {shape[0]}×{shape[1]} points is another one when it is turned")
    points = points.flip([axis for axis, flip in enumerate(symmetry.flips) if flip])
    for axis, shift in enumerate(symmetry.shifts):
        points = points.roll(round(shift * shape[axis]), axis)
    return points.flatten()
