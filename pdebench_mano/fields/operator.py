"""What every neural operator of the suite is: a ↦ u on [0, 1]², for any grid.

An operator is a module called as ``Class(in_channels=…, out_channels=…, **arguments)``
that maps fields (batch, channels, height, width) to fields on the same grid. No
constructor takes a grid size.
"""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from data_gen.grid import KINDS, Kind

Fields = Float[Tensor, "batch _ height width"]
"""Any number of channels: within one call, batch and grid agree and channels may differ."""


def coordinates(
    height: int,
    width: int,
    grid: Kind = "vertices",
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Float[Tensor, "2 height width"]:
    """Coordinates (x, y) of the grid points of [0, 1]², x along the first axis.

    Parameters
    ----------
    height, width : int
        Number of points along x and y, at least 2 each on vertices.
    grid : {"vertices", "left", "periodic"}
        ``vertices``: both ends belong to the grid, xᵢ = i/(height-1).
        ``left`` and ``periodic``: every cell is represented by its left end, xᵢ = i/height.

    Returns
    -------
    (2, height, width) tensor

    Raises
    ------
    ValueError
        For another kind of grid, or one with too few points.
    """
    if grid not in KINDS:
        raise ValueError(f"grid must be one of {', '.join(KINDS)}, got {grid!r}")
    ends = 1 if grid == "vertices" else 0
    if min(height, width) < 1 + ends:
        raise ValueError(f"a grid of {grid} needs at least {1 + ends} points a side, got {height}×{width}")
    x = torch.arange(height, device=device, dtype=dtype or torch.get_default_dtype()) / (height - ends)
    y = torch.arange(width, device=device, dtype=x.dtype) / (width - ends)
    return torch.stack(torch.meshgrid(x, y, indexing="ij"))


def at_least(least: int, **sizes: int) -> None:
    """Refuse an argument below `least`: ``at_least(1, width=width, depth=depth)``.

    Raises
    ------
    ValueError
        Names the first of `sizes` that is.
    """
    for name, value in sizes.items():
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")


class OnGrid(nn.Module):
    """A part of an operator that depends on where grid points lie.

    Attributes
    ----------
    grid : {"vertices", "left", "periodic"}
        The kind of grid that fields live on; set when the operator is wrapped for a dataset, see `live_on`.
    """

    grid: Kind = "vertices"


class Operator(OnGrid):
    """Base class of the suite's own operators; a user's operator needs none.

    Attributes
    ----------
    paper : str
        Where the operator was published.
    receptive_field : str
        Which inputs one output value may depend on.
    """

    paper: ClassVar[str] = ""
    receptive_field: ClassVar[str] = ""

    def with_coordinates(self, a: Fields) -> Fields:
        """Append the two coordinate channels of the operator's grid to `a`.

        They are x and y; on a periodic grid, where these jump, sin 2πx and sin 2πy.
        """
        x = coordinates(a.shape[-2], a.shape[-1], self.grid, device=a.device, dtype=a.dtype)
        x = (2 * torch.pi * x).sin() if self.grid == "periodic" else x
        return torch.cat([a, x.expand(a.shape[0], -1, -1, -1)], dim=1)


def live_on(operator: nn.Module, grid: Kind) -> None:
    """Tell every part of an operator that asks for it the kind of grid that fields live on."""
    for module in operator.modules():
        if isinstance(module, OnGrid):
            module.grid = grid
