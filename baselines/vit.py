"""ViT operator: global attention between patches (Dosovitskiy et al. 2021, arXiv 2010.11929).

What makes it an operator: patches are cut from a lattice of fixed physical spacing; positions enter attention as
rotations by angles that are linear in the coordinates of patch centres (rotary embedding, Su et al. 2021, arXiv
2104.09864, half of each head's channels for x and half for y), so there is no table of positions; and the decoder
interpolates between patch centres, so that patches leave no seams, and adds the detail of each point's own features.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from data_gen.grid import Kind
from pdebench_mano.fields.lattice import axis, check_spacing, interpolation, lattice_shape, remembered, resample
from pdebench_mano.fields.operator import Fields, Operator, at_least

Tokens = Float[Tensor, "batch tokens channels"]


def centres(n: int, patch: int, grid: Kind, device: torch.device) -> Float[Tensor, " patches"]:
    """Coordinates of the patch centres along an axis of `n` lattice points."""
    x = axis(n, grid, device)
    return x[::patch] + (x[1] - x[0]) * (patch - 1) / 2


@remembered
def rotations(
    rows: int, columns: int, patch: int, pairs: int, grid: Kind, device: torch.device
) -> Float[Tensor, "2 tokens {pairs}"]:
    """Cosines and sines of the rotary angles: from half a turn to eight turns over the domain, along x and along y.

    On a periodic grid they are whole turns, of which there is one at least.
    """
    positions = torch.cartesian_prod(centres(rows, patch, grid, device), centres(columns, patch, grid, device))
    frequencies = torch.pi * torch.logspace(0, 4, pairs // 2, base=2, device=device, dtype=torch.float64)
    if grid == "periodic":
        frequencies = 2 * torch.pi * (frequencies / (2 * torch.pi)).round().clamp(min=1)
    angles = (positions[:, :, None] * frequencies).flatten(1)
    return torch.stack([angles.cos(), angles.sin()]).float()


@remembered
def from_patches(
    points: int, n: int, patch: int, grid: Kind, device: torch.device, dtype: torch.dtype
) -> Float[Tensor, "{points} patches"]:
    """Linear interpolation from the patch centres of `n` lattice points to the points of the data's grid."""
    return interpolation(axis(points, grid, device), centres(n, patch, grid, device), grid).to(dtype)


class Block(nn.Module):
    """x += attention(norm(x)); x += mlp(norm(x)); `cos` and `sin`, (tokens, channels / 2), are `rotate`'s."""

    def __init__(self, width: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width)
        hidden = round(mlp_ratio * width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: Tokens, cos: Tensor, sin: Tensor) -> Tokens:
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(rotate(q, cos, sin), rotate(k, cos, sin), v)
        x = x + self.out(y.transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm2(x))


def rotate(x: Float[Tensor, "batch heads tokens channels"], cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the channels in pairs by the angles whose `cos` and `sin`, (tokens, channels / 2), are given."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1).to(x.dtype)


class ViT(Operator):
    """Vision transformer as an operator.

    Parameters
    ----------
    in_channels, out_channels : int
    width, depth, heads : int
        Channels, number of blocks, attention heads; each head has a multiple of four channels.
    mlp_ratio : float
        Hidden channels of a block's MLP over `width`.
    patch : int
        Lattice points per patch side.
    spacing : float or None
        Distance of lattice points, as a length in the unit square; None puts patches on the data's own grid, where
        their physical size changes with the resolution.

    Raises
    ------
    ValueError
        For a size below one, a `width` that is no multiple of 4·heads, or a spacing outside (0, 1/2].
    """

    paper = "Dosovitskiy et al. 2021, arXiv 2010.11929"
    receptive_field = "global, by attention between patches"

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        *,
        width: int = 64,
        depth: int = 4,
        heads: int = 4,
        mlp_ratio: float = 2.0,
        patch: int = 1,
        spacing: float | None = 1 / 16,
    ) -> None:
        super().__init__()
        at_least(1, width=width, depth=depth, heads=heads, patch=patch)
        if width % (4 * heads):
            raise ValueError(f"width must be a multiple of 4·heads = {4 * heads}, got {width}")
        check_spacing(spacing)
        self.heads, self.patch, self.spacing = heads, patch, spacing
        self.lift = nn.Sequential(nn.Conv2d(in_channels + 2, width, 1), nn.GELU(), nn.Conv2d(width, width, 1))
        self.embed = nn.Conv2d(width, width, patch, stride=patch)
        self.blocks = nn.ModuleList(Block(width, heads, mlp_ratio) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.project = nn.Sequential(nn.Conv2d(2 * width, width, 1), nn.GELU(), nn.Conv2d(width, out_channels, 1))

    def forward(self, a: Fields) -> Fields:
        points = self.lift(self.with_coordinates(a))
        lattice = resample(points, lattice_shape((a.shape[-2], a.shape[-1]), self.spacing, self.grid), self.grid)
        rows, columns = lattice.shape[-2:]
        padding = (0, -columns % self.patch, 0, -rows % self.patch)
        beyond = "circular" if self.grid == "periodic" else "replicate"
        tokens = self.embed(F.pad(lattice, padding, mode=beyond) if any(padding) else lattice)
        where = self.grid, a.device
        cos, sin = rotations(rows, columns, self.patch, points.shape[1] // self.heads // 2, *where)
        z = tokens.flatten(2).transpose(1, 2)
        for block in self.blocks:
            z = block(z, cos, sin)
        z = self.norm(z).transpose(1, 2).unflatten(2, tokens.shape[-2:])
        to_x, to_y = (
            from_patches(n, m, self.patch, *where, z.dtype)
            for n, m in zip(a.shape[-2:], lattice.shape[-2:], strict=True)
        )
        return self.project(torch.cat([points, to_x @ z @ to_y.T], dim=1))
