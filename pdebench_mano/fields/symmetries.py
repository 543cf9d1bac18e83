"""Symmetries of a problem, as augmentation: a solution turns with its inputs."""

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from data_gen.problem import Symmetry
from pdebench_mano.fields.operator import Fields

SQUARE = [
    Symmetry((1, 0) if turn else (0, 1), (first, second))
    for second in (False, True)
    for first in (False, True)
    for turn in (False, True)
]
"""The eight symmetries of the square, for data that say nothing of themselves."""


def transform(fields: Fields, drawn: Int[Tensor, " batch"], maps: Sequence[Symmetry], what: str) -> Fields:
    """Apply to each sample the symmetry that was drawn for it.

    Parameters
    ----------
    fields : (batch, channels, height, width) tensor
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


def applied(fields: Fields, symmetry: Symmetry, what: str) -> Fields:
    """One symmetry of all samples."""
    fields = fields.permute(0, 1, *(2 + axis for axis in symmetry.axes))
    fields = fields.flip([2 + axis for axis, flip in enumerate(symmetry.flips) if flip])
    for axis, shift in enumerate(symmetry.shifts):
        fields = fields.roll(round(shift * fields.shape[2 + axis]), 2 + axis)
    signs = symmetry.inputs if what == "inputs" else symmetry.outputs
    return fields * torch.tensor(signs, device=fields.device)[:, None, None] if signs else fields
