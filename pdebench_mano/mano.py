"""MANO, the Multipole Attention Neural Operator (Colagrande et al. 2025, arXiv 2507.02748).

    lift → dropout → depth × [x += attention(x); x += mlp(x)] → LayerNorm → projection

with multipole attention (`pdebench_mano.multipole`), mlp = LayerNorm, linear, GELU, linear, and
projection = linear, tanh, linear, all on channels-last fields. Nothing depends on the grid.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import gelu

from pdebench_mano.kernels import fused_mlp
from pdebench_mano.multipole import Field, MultipoleAttention
from pdebench_mano.operator import Fields, Operator


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

    def forward(self, x: Field) -> Field:
        return self.mlp(self.attention(x, residual=True), residual=True)


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
    """

    paper = "Colagrande et al. 2025, arXiv 2507.02748"
    receptive_field = "global, through the coarsest level"

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
    ) -> None:
        super().__init__()
        self.coordinates = coordinates
        self.lift = nn.Linear(in_channels + 2 * coordinates, width)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            Block(
                MultipoleAttention(width, heads, head_dim, window, stride, rate, levels, sampling),
                MLP(width, mlp_width),
            )
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)
        self.projection = Projection(width, out_channels)

    def forward(self, a: Fields) -> Fields:
        if self.coordinates:
            a = self.with_coordinates(a)
        x = self.dropout(self.lift(a.permute(0, 2, 3, 1)))
        for block in self.blocks:
            x = block(x)
        fc1, fc2 = self.projection.fc1, self.projection.fc2
        u = fused_mlp(self.norm, fc1, fc2, x, activation="tanh")
        return (self.projection(self.norm(x)) if u is None else u).permute(0, 3, 1, 2)
