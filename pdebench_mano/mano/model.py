"""MANO, the Multipole Attention Neural Operator (Colagrande et al. 2025, arXiv 2507.02748).

    lift → dropout → depth × [x += attention(x); x += mlp(x)] → LayerNorm → projection

with multipole attention (`pdebench_mano.mano.multipole`), mlp = LayerNorm, linear, GELU, linear, and
projection = linear, tanh, linear, all on channels-last fields.

As published, windows and levels count grid points: on a finer grid they cover another part of the
domain, and the operator is another one. With a `spacing`, a length, the attention lives on a lattice
of that spacing instead (`pdebench_mano.mano.anchored`), while everything pointwise stays on the data's own
grid, so that a finer grid refines the same operator. That is our own addition, and the default.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import gelu

from data_gen.grid import Kind
from pdebench_mano.fields.lattice import lattice_points
from pdebench_mano.fields.operator import Fields, Operator, at_least
from pdebench_mano.fields.smoothing import smoothed
from pdebench_mano.mano import in_place
from pdebench_mano.mano.anchored import PARTS, AnchoredAttention, LocalAttention
from pdebench_mano.mano.fusion import fused_mlp, fused_norms
from pdebench_mano.mano.multipole import Field, MultipoleAttention

Points = Float[Tensor, "*points channels"]


class MLP(nn.Module):
    """LayerNorm, linear, GELU (by erf), linear, at every point."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.fc1, self.fc2 = nn.Linear(channels, width), nn.Linear(width, channels)

    def forward(self, x: Field, residual: bool = False) -> Field:
        fused = fused_mlp(self.norm, self.fc1, self.fc2, x, residual=residual)
        if fused is not None:
            return fused
        y = self.fc2(gelu(self.fc1(self.norm(x))))
        return x + y if residual else y


class Block(nn.Module):
    """x += attention(x), then x += mlp(x)."""

    def __init__(self, attention: MultipoleAttention | AnchoredAttention, mlp: MLP) -> None:
        super().__init__()
        self.attention, self.mlp = attention, mlp

    def forward(self, x: Field, grid: Kind) -> Field:
        if isinstance(self.attention, AnchoredAttention):
            x = self.attention(x, grid, residual=True)
        else:
            x = self.attention(x, residual=True)
        return self.mlp(x, residual=True)


class Projection(nn.Module):
    """Linear, tanh, linear, at every point."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(channels, channels), nn.Linear(channels, out_channels)

    def forward(self, x: Points) -> Float[Tensor, "*points out"]:
        return self.fc2(torch.tanh(self.fc1(x)))


class MANO(Operator):
    """Multipole attention neural operator.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and output fields.
    width, depth : int
        Channels of the latent field, and number of blocks.
    heads, head_dim, mlp_width : int
        Attention heads and their width; hidden width of the mlp.
    window, stride, rate, levels, sampling
        The attention's geometry; see `MultipoleAttention`.
    dropout : float
        Of the lifted field.
    coordinates : bool
        Append the coordinates of the grid points to the input.
    spacing : float or None
        Distance of the attention's lattice points, as a length in the unit square: twice that of the training grid's
        or more, or else what is learned there does not hold on finer grids (see the results of darcy43 in the
        documentation). None for attention on the data's own grid, as published.
    input_spacing : float, optional
        On grids that are finer than this, as a length in the unit square, inputs are smoothed to what a grid of this
        spacing shows on average, see `pdebench_mano.fields.smoothing`; predictions stay on the grid. That of the
        training grid changes nothing there.
    without : sequence of {"lattice", "moments", "rotary", "convolution"}
        What is left out of all that is not published, one by one; see `pdebench_mano.mano.anchored`. Without the
        lattice, rotary positions and convolution act on the data's own grid.

    Raises
    ------
    ValueError
        For a size below one, arguments that `MultipoleAttention` refuses, a spacing outside (0, 1/2], or parts to leave
        out that there are not.

    Notes
    -----
    The authors' program is ``MANO(…, coordinates=False, spacing=None)``. It was built for one grid, so that its
    ``size`` has no counterpart here.
    """

    paper = "Colagrande et al. 2025, arXiv 2507.02748"
    receptive_field = "global, through the coarsest level"
    attention: ClassVar[type[MultipoleAttention]] = MultipoleAttention

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        width: int = 32,
        depth: int = 4,
        heads: int = 4,
        head_dim: int = 8,
        mlp_width: int = 64,
        window: int = 8,
        stride: int = 4,
        rate: int = 2,
        levels: int | None = None,
        sampling: Literal["conv", "avg_pool"] = "conv",
        dropout: float = 0.0,
        coordinates: bool = True,
        spacing: float | None = 1 / 28,
        input_spacing: float | None = None,
        without: Sequence[str] = (),
    ) -> None:
        super().__init__()
        if input_spacing is not None and not 0 < input_spacing <= 0.5:
            raise ValueError(f"input_spacing must be above 0 and at most 1/2, got {input_spacing}")
        if unknown := sorted(set(without) - set(PARTS)):
            raise ValueError(f"without must be of {', '.join(PARTS)}, got {', '.join(unknown)}")
        if without and spacing is None:
            raise ValueError("without leaves out parts that spacing=None, the published form, does not have")
        at_least(1, width=width, depth=depth, mlp_width=mlp_width)
        self.coordinates, self.spacing = coordinates, None if "lattice" in without else spacing
        self.input_spacing = input_spacing
        self.lift = nn.Linear(in_channels + 2 * coordinates, width)
        self.dropout = nn.Dropout(dropout)
        geometry = (heads, head_dim, window, stride, rate, levels, sampling)

        def attention() -> MultipoleAttention | AnchoredAttention:
            if spacing is None:
                return self.attention(width, *geometry)
            if self.spacing is None:
                return LocalAttention(width, *geometry, without=without)
            return AnchoredAttention(width, self.spacing, *geometry, without=without)

        self.blocks = nn.ModuleList(Block(attention(), MLP(width, mlp_width)) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.projection = Projection(width, out_channels)

    def lattice(self, height: int, width: int) -> tuple[int, int]:
        """Where the attention lives, for fields on a grid of this height and width."""
        if self.spacing is None:
            return height, width
        points = lattice_points(self.spacing, self.grid)
        return points, points

    def forward(self, a: Fields) -> Fields:
        if self.input_spacing is not None:
            a = smoothed(a, self.input_spacing, self.grid)
        if self.coordinates:
            a = self.with_coordinates(a)
        # on a lattice, the residual stream and the result keep their digits where products are in bfloat16
        ends = nullcontext() if self.spacing is None else torch.autocast(a.device.type, enabled=False)
        with ends:
            x = self.dropout(self.lift(a.permute(0, 2, 3, 1).contiguous()))
        if in_place.serves(self, x):
            in_place.advance(self.blocks, x, self.grid)
            with ends:
                return in_place.projected(self.norm, self.projection, x).permute(0, 3, 1, 2)
        for block in self.blocks:
            x = block(x, self.grid)
        fc1, fc2 = self.projection.fc1, self.projection.fc2
        with ends:
            u = fused_mlp(self.norm, fc1, fc2, x, activation="tanh")
            if u is None:
                n = fused_norms(x, self.norm)
                u = self.projection(self.norm(x) if n is None else n)
            return u.permute(0, 3, 1, 2)


class PublishedMANO(MANO):
    """MANO as published: windows and levels count grid points, so each grid has an operator of its own.

    Parameters
    ----------
    in_channels, out_channels, window, stride
        See `MANO`.
    **arguments
        The other arguments of `MANO`, but for `spacing`, which is None.

    Raises
    ------
    ValueError
        For another spacing, and as `MANO`.
    """

    def __init__(
        self, in_channels: int = 1, out_channels: int = 1, window: int = 2, stride: int = 1, **arguments: Any
    ) -> None:
        if arguments.pop("spacing", None) is not None:
            raise ValueError("spacing must be None, which it is in the published form")
        super().__init__(in_channels, out_channels, window=window, stride=stride, spacing=None, **arguments)
