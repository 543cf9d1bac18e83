"""MANO, the Multipole Attention Neural Operator (Colagrande et al. 2025, arXiv 2507.02748).

    lift → dropout → depth × [x += attention(x); x += mlp(x)] → LayerNorm → projection

with multipole attention (`pdebench_mano.multipole`), mlp = LayerNorm, linear, GELU, linear, and
projection = linear, tanh, linear, all on channels-last fields.

As published, windows and levels count grid points: on a finer grid they cover another part of the
domain, and the operator is another one. With a `spacing`, a length, the attention lives on a lattice
of that spacing instead: features come down by full weighting and go up linearly
(`pdebench_mano.lattice`), while everything pointwise stays on the data's own grid, so that a finer
grid refines the same operator. That is our own addition.
"""

from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import gelu

from pdebench_mano.kernels import fused_mlp
from pdebench_mano.lattice import lattice_shape, resample
from pdebench_mano.multipole import Field, MultipoleAttention
from pdebench_mano.operator import Fields, Grid, Operator


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

    def __init__(self, attention: MultipoleAttention, mlp: MLP) -> None:
        super().__init__()
        self.attention, self.mlp = attention, mlp

    def forward(self, x: Field, lattice: tuple[int, int], grid: Grid) -> Field:
        shape = (x.shape[1], x.shape[2])
        if lattice == shape:
            x = self.attention(x, residual=True)
        else:
            x = x + _resampled(self.attention(_resampled(x, lattice, grid)), shape, grid)
        return self.mlp(x, residual=True)


def _resampled(x: Field, shape: tuple[int, int], grid: Grid) -> Float[Tensor, "batch rows columns channels"]:
    return resample(x.permute(0, 3, 1, 2), shape, grid).permute(0, 2, 3, 1)


class Projection(nn.Module):
    """Linear, tanh, linear, at every point."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(channels, channels), nn.Linear(channels, out_channels)

    def forward(self, x: Field) -> Float[Tensor, "batch height width out"]:
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
    spacing : float, optional
        Distance of the attention's lattice points, as a length in the unit square; by default attention
        lives on the data's own grid, as published. A grid coarser than that is its own lattice.

    Raises
    ------
    ValueError
        For arguments that `MultipoleAttention` refuses, or a spacing outside (0, 1/2].
    """

    paper = "Colagrande et al. 2025, arXiv 2507.02748"
    receptive_field = "global, through the coarsest level"
    attention: ClassVar[type[MultipoleAttention]] = MultipoleAttention

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        width: int = 32,
        depth: int = 4,
        heads: int = 4,
        head_dim: int = 8,
        mlp_width: int = 64,
        window: int = 2,
        stride: int = 1,
        rate: int = 2,
        levels: int | None = None,
        sampling: Literal["conv", "avg_pool"] = "conv",
        dropout: float = 0.0,
        coordinates: bool = True,
        spacing: float | None = None,
    ) -> None:
        super().__init__()
        lattice_shape((2, 2), spacing, self.grid)
        self.coordinates, self.spacing = coordinates, spacing
        self.lift = nn.Linear(in_channels + 2 * coordinates, width)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            Block(
                self.attention(width, heads, head_dim, window, stride, rate, levels, sampling),
                MLP(width, mlp_width),
            )
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)
        self.projection = Projection(width, out_channels)

    def forward(self, a: Fields) -> Fields:
        if self.coordinates:
            a = self.with_coordinates(a)
        x = self.dropout(self.lift(a.permute(0, 2, 3, 1).contiguous()))
        lattice = lattice_shape((a.shape[-2], a.shape[-1]), self.spacing, self.grid)
        for block in self.blocks:
            x = block(x, lattice, self.grid)
        fc1, fc2 = self.projection.fc1, self.projection.fc2
        u = fused_mlp(self.norm, fc1, fc2, x, activation="tanh")
        return (self.projection(self.norm(x)) if u is None else u).permute(0, 3, 1, 2)
