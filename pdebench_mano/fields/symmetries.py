"""Symmetries of a problem, as augmentation: a solution turns with its inputs."""

from collections.abc import Sequence

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
    result = fields.clone()
    for number in drawn.unique().tolist():
        samples = (drawn == number).nonzero().flatten().to(fields.device)
        result[samples] = applied(fields[samples], maps[number], what)
    return result


def applied(fields: Turned, symmetry: Symmetry, what: str) -> Float[Tensor, "batch *times channels _ _"]:
    """One symmetry of all samples."""
    first = fields.ndim - 2
    fields = fields.permute(*range(first), *(first + axis for axis in symmetry.axes))
    fields = fields.flip([first + axis for axis, flip in enumerate(symmetry.flips) if flip])
    for axis, shift in enumerate(symmetry.shifts):
        fields = fields.roll(round(shift * fields.shape[first + axis]), first + axis)
    signs = symmetry.inputs if what == "inputs" else symmetry.outputs
    return fields * torch.tensor(signs, device=fields.device)[:, None, None] if signs else fields
