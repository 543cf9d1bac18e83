"""Multipole attention (Colagrande et al. 2025, arXiv 2507.02748): windowed attention on a pyramid of grids.

With window k, rate r and L levels, on x₀ = x,

    x_{l+1} = D x_l                    restriction, shared by the levels
    y_l     = A x_l                    windowed attention, shared by the levels
    z_{L-1} = y_{L-1}
    z_l     = y_l + U z_{l+1}/(L-1-l)  prolongation, shared by the levels

and z₀ is the result. LayerNorms, qkv and the output projection act point by point, so they
commute with windowing: they are applied once per grid point, not once per window as in the
published code. Where that code is undefined, here windows also stand flush with the far edge
(`kernels.windows`), and grids are padded by their edge values to a multiple of r before D, and
cropped after U. On a periodic grid, windows go round (`kernels.wrapping`), and it is padded by
the values of its other side.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pdebench_mano.fields.operator import Operator, at_least
from pdebench_mano.mano.fusion import fused_attention, fused_norms
from pdebench_mano.mano.kernels import window_attention
from pdebench_mano.mano.kernels.wrapping import fold, wrap

Field = Float[Tensor, "batch height width channels"]


class Restriction(nn.Conv2d):
    """Convolution of (batch, channels, height, width) whose kernel is its stride, as the one matrix product it is.

    Exact in float32 on GPUs, too.
    """

    def __init__(self, channels: int, rate: int) -> None:
        super().__init__(channels, channels, rate, stride=rate, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        r = self.stride[0]
        patches = x.permute(0, 2, 3, 1).unflatten(2, (-1, r)).unflatten(1, (-1, r)).transpose(2, 3).flatten(3)
        return (patches @ self.weight.permute(2, 3, 1, 0).flatten(0, 2)).permute(0, 3, 1, 2)


class Prolongation(nn.ConvTranspose2d):
    """Transposed convolution of (batch, channels, height, width) whose kernel is its stride, as one matrix product."""

    def __init__(self, channels: int, rate: int) -> None:
        super().__init__(channels, channels, rate, stride=rate, bias=False)

    def forward(self, z: Tensor, output_size: list[int] | None = None) -> Tensor:
        r = self.stride[0]
        patches = z.permute(0, 2, 3, 1) @ self.weight.permute(0, 2, 3, 1).flatten(1)
        x = patches.unflatten(3, (r, r, -1)).transpose(2, 3).flatten(3, 4).flatten(1, 2)
        return x.permute(0, 3, 1, 2)


class MultipoleAttention(Operator):
    """x ↦ z₀ on (batch, height, width, channels), for any grid.

    Parameters
    ----------
    channels, heads, head_dim : int
        Width of the field; number and width of the attention heads.
    window, stride : int
        Windows are window × window points, every `stride` ≤ `window` points.
    rate : int
        Ratio of the spacings of two levels, at least 2.
    levels : int, optional
        Number of levels, as far as the coarsest grid still holds a window; by default that many.
    sampling : {"conv", "avg_pool"}
        D and U: learned r × r convolutions of stride r without bias, or averages and nearest neighbours.

    Raises
    ------
    ValueError
        For sizes that are not positive, stride > window, rate < 2, or another `sampling`.

    Attributes
    ----------
    local : nn.Module or None
        What is added to the attention on every level, of its normalised field.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        head_dim: int,
        window: int,
        stride: int,
        rate: int,
        levels: int | None = None,
        sampling: Literal["conv", "avg_pool"] = "conv",
    ) -> None:
        super().__init__()
        at_least(1, channels=channels, heads=heads, head_dim=head_dim, window=window, stride=stride)
        at_least(1, levels=1 if levels is None else levels)
        at_least(2, rate=rate)
        if stride > window:
            raise ValueError(
                f"stride must be at most the window, {window}, so that every point is attended; got {stride}"
            )
        if sampling not in ("conv", "avg_pool"):
            raise ValueError(f"sampling must be 'conv' or 'avg_pool', got {sampling!r}")
        self.heads, self.window, self.stride, self.rate, self.levels = heads, window, stride, rate, levels
        self.window_norm, self.norm = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * heads * head_dim, bias=False)
        self.out = nn.Linear(heads * head_dim, channels)
        self.local: nn.Module | None = None
        self.down: nn.Module
        self.up: nn.Module
        if sampling == "conv":
            self.down, self.up = Restriction(channels, rate), Prolongation(channels, rate)
        else:
            self.down, self.up = nn.AvgPool2d(rate), nn.Upsample(scale_factor=rate, mode="nearest")

    def depth(self, height: int, width: int) -> int:
        """Number of levels on a grid: L = max(1, 1 + ⌊log_r(min(height, width)/k)⌋), or fewer if so asked."""
        levels, coarsest = 1, self.window * self.rate
        while coarsest <= min(height, width):
            levels, coarsest = levels + 1, coarsest * self.rate
        return min(levels, self.levels or levels)

    def turning(self, shapes: tuple[tuple[int, int], ...], device: torch.device, dtype: torch.dtype) -> Tensor | None:
        """By which angles queries and keys of levels of these shapes are turned, if they are."""
        return None

    def restrict(self, x: Field) -> Float[Tensor, "batch coarse_height coarse_width channels"]:
        """D: onto the next coarser grid."""
        for axis in (1, 2):
            if missing := -x.shape[axis] % self.rate:
                edge = x.narrow(axis, x.shape[axis] - 1, 1)
                beyond = [x.narrow(axis, 0, missing)] if self.grid == "periodic" else missing * [edge]
                x = torch.cat([x, *beyond], axis)
        return self.down(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)

    def prolong(self, z: Field, shape: tuple[int, int]) -> Float[Tensor, "batch {shape[0]} {shape[1]} channels"]:
        """U: onto the next finer grid, of `shape`."""
        return self.up(z.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)[:, : shape[0], : shape[1]]

    def normalised(self, x: Float[Tensor, "*points channels"]) -> Float[Tensor, "*points channels"]:
        """Both LayerNorms, as one GPU kernel where they are plain."""
        fused = fused_norms(x, self.window_norm, self.norm)
        return self.norm(self.window_norm(x)) if fused is None else fused

    def attend(self, x: Field) -> Field:
        """A: attention inside every window of one level."""
        qkv, windows = self.qkv(self.normalised(x)), (self.window, self.stride)
        if self.grid == "periodic":
            longer = window_attention(wrap(qkv, *windows), self.heads, *windows)
            return self.out(fold(longer, (x.shape[1], x.shape[2]), *windows))
        return self.out(window_attention(qkv, self.heads, *windows))

    def attend_all(self, levels: Sequence[Float[Tensor, "batch _ _ channels"]]) -> list[Tensor]:
        """A of every level."""
        return [self.attend(x) for x in levels]

    def forward(self, x: Field, residual: bool = False) -> Field:
        """z₀, or x + z₀ if `residual`, which GPU kernels compute in one go."""
        fused = fused_attention(self, x, residual)
        if fused is not None:
            return fused
        z = self.multipoles(x)
        return x + z if residual else z

    def multipoles(self, x: Field) -> Field:
        """z₀, module by module."""
        pyramid = [x]
        for _ in range(self.depth(*x.shape[1:3]) - 1):
            pyramid.append(self.restrict(pyramid[-1]))
        z, *finer = reversed(self.attend_all(pyramid))
        for distance, y in enumerate(finer, start=1):
            z = y + self.prolong(z, (y.shape[1], y.shape[2])) / distance
        return z
