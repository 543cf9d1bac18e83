"""Multipole attention anchored in physical units: the same operator on every grid.

The attention of Colagrande et al. (2025) counts grid points: on a finer grid its windows and levels cover another part
of the domain. Here it lives on a lattice of fixed spacing. Moments of the field are gathered onto the lattice, and
local expansions bring the result back (`pdebench_mano.mano.expansions`), so a finer grid refines the same operator. Two
things are added there to A of `pdebench_mano.mano.multipole`, on every level alike:

    y_l = attention(R q_l, R k_l, v_l) + K n_l,

rotary positions R (Su et al. 2021, arXiv 2104.09864; a half of every head for each axis, in units of the level's
spacing), so that a window knows where its points lie, and a 3×3 convolution K of the normalised field n_l, zero beyond
the edges, or going round a periodic grid. All of this is our own addition; `PARTS` of it can be left out, to see what
each is good for.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear, pad

from data_gen.grid import Kind
from pdebench_mano.fields.convolution import Convolution
from pdebench_mano.fields.lattice import check_spacing, lattice_points, remembered
from pdebench_mano.mano.expansions import ORDERS, expand, gather_beside
from pdebench_mano.mano.fusion import fused_linear
from pdebench_mano.mano.kernels import window_attention
from pdebench_mano.mano.kernels.wrapping import fold, wrap
from pdebench_mano.mano.multipole import Field, MultipoleAttention

PARTS = ("lattice", "moments", "rotary", "convolution")


@remembered
def turns(
    shapes: tuple[tuple[int, int], ...], frequencies: int, device: torch.device, dtype: torch.dtype
) -> Float[Tensor, "2 points 1 {2*frequencies}"]:
    """Cosines and sines of the angles by which the points of all levels are turned.

    They are i · π/2ᵏ for the first axis, then j · π/2ᵏ for the second, k = 1, 2, …
    """
    frequency = math.pi / 2 ** torch.arange(1, frequencies + 1, device=device, dtype=torch.float64)
    parts = []
    for height, width in shapes:
        i, j = (torch.arange(n, device=device)[:, None] * frequency for n in (height, width))
        parts.append(torch.cat([i.repeat_interleave(width, 0), j.repeat(height, 1)], 1))
    angle = torch.cat(parts)[:, None]
    return torch.stack([angle.cos(), angle.sin()]).to(dtype)


def rotate(
    x: Float[Tensor, "batch points heads d"], turn: Float[Tensor, "2 points 1 half_d"]
) -> Float[Tensor, "batch points heads d"]:
    """Turn the pairs (x_k, x_{k+d/2}) by the angles of their point."""
    cos, sin = turn
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


def neighbours(weight: Float[Tensor, "qkv channels"], heads: int) -> Float[Tensor, "qkv channels"]:
    """Weights of queries, keys and values, those of queries and keys in an order that has their pairs side by side.

    Scores are the same in any order.
    """
    q_and_k, v = weight.unflatten(0, (3 * heads, -1)).split([2 * heads, heads])
    return torch.cat([q_and_k.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2), v]).flatten(0, 1)


def rotate_neighbours(x: Float[Tensor, "batch points heads d"], turn: Float[Tensor, "2 points 1 half_d"]) -> None:
    """`rotate` of pairs that lie side by side, in place: one product of complex numbers."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    torch.view_as_complex(wide.unflatten(-1, (-1, 2))).mul_(torch.complex(*turn.to(wide.dtype)))
    if wide is not x:
        x.copy_(wide)


def predicts(layer: nn.Module) -> bool:
    """Whether a layer is a plain one of which neither gradients nor its output are asked for."""
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        return False
    return type(layer) is nn.Linear and not layer._forward_hooks and not layer._forward_pre_hooks


def applied(layer: nn.Module, x: Float[Tensor, "*batch channels"]) -> Float[Tensor, "*batch out"]:
    """layer(x); on a GPU, a plain one's gradients take few kernels."""
    fused = fused_linear(layer, x)
    return layer(x) if fused is None else fused


class LocalAttention(MultipoleAttention):
    """Multipole attention with rotary positions and a 3×3 convolution on every level.

    Parameters
    ----------
    channels, heads, head_dim, window, stride, rate, levels, sampling
        See `MultipoleAttention`; `head_dim` is a multiple of 4.
    without : sequence of {"rotary", "convolution"}
        What is left out.

    Raises
    ------
    ValueError
        For a `head_dim` that two axes cannot share, and what `MultipoleAttention` refuses.
    """

    def __init__(self, channels: int, heads: int, head_dim: int, *geometry: Any, without: Sequence[str] = ()) -> None:
        super().__init__(channels, heads, head_dim, *geometry)
        if head_dim % 4:
            raise ValueError(f"head_dim must be a multiple of 4, got {head_dim}")
        self.rotary = "rotary" not in without
        self.local = None if "convolution" in without else Convolution(channels, channels, 3, padding=1)

    def turning(self, shapes: tuple[tuple[int, int], ...], device: torch.device, dtype: torch.dtype) -> Tensor | None:
        frequencies = self.out.in_features // self.heads // 4
        return turns(shapes, frequencies, device, dtype) if self.rotary else None

    def attend_all(self, levels: Sequence[Float[Tensor, "batch _ _ channels"]]) -> list[Tensor]:
        shapes = tuple((x.shape[1], x.shape[2]) for x in levels)
        sizes = [h * w for h, w in shapes]
        n = self.normalised(torch.cat([x.flatten(1, 2) for x in levels], 1))
        if side_by_side := self.rotary and n.device.type == "cpu" and predicts(self.qkv):
            qkv = linear(n, neighbours(self.qkv.weight, self.heads))
        else:
            qkv = self.qkv(n)
        together = self.out(self.attended(qkv, shapes, side_by_side)).split(sizes, 1)
        ys = [y.unflatten(1, shape) for y, shape in zip(together, shapes, strict=True)]
        if self.local is None:
            return ys
        convolved = (
            self.local(part.unflatten(1, shape).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
            for part, shape in zip(n.split(sizes, 1), shapes, strict=True)
        )
        return [y + k for y, k in zip(ys, convolved, strict=True)]

    def attended(
        self, qkv: Float[Tensor, "batch points qkv"], shapes: tuple[tuple[int, int], ...], side_by_side: bool = False
    ) -> Float[Tensor, "batch points inner"]:
        """Attention between turned queries and keys inside the windows of levels of these shapes, one after another.

        The points that a periodic grid repeats are turned on, so that angles count from each to the next.
        """
        grids, windows = shapes, (self.window, self.stride)
        if self.grid == "periodic":
            levels = zip(qkv.split([h * w for h, w in shapes], 1), shapes, strict=True)
            longer = [wrap(part.unflatten(1, shape), *windows) for part, shape in levels]
            grids = tuple((each.shape[1], each.shape[2]) for each in longer)
            qkv = torch.cat([each.flatten(1, 2) for each in longer], 1)
        if (turn := self.turning(grids, qkv.device, qkv.dtype)) is not None:
            d = qkv.shape[-1] // (3 * self.heads)
            q_and_k, v = qkv.split([2 * self.heads * d, self.heads * d], -1)
            pairs = q_and_k.unflatten(-1, (-1, d))
            if side_by_side:
                rotate_neighbours(pairs, turn)
            else:
                qkv = torch.cat([rotate(pairs, turn).flatten(2), v], -1)
        parts = qkv.split([h * w for h, w in grids], 1)
        attended = [
            window_attention(part.unflatten(1, grid), self.heads, *windows)
            for part, grid in zip(parts, grids, strict=True)
        ]
        if self.grid == "periodic":
            attended = [fold(each, shape, *windows) for each, shape in zip(attended, shapes, strict=True)]
        return torch.cat([each.flatten(1, 2) for each in attended], 1)


class AnchoredAttention(nn.Module):
    """field ↦ field on any grid, by `LocalAttention` on a lattice.

    Parameters
    ----------
    channels : int
    spacing : float
        Distance of the lattice points, as a length in the unit square.
    heads, head_dim, window, stride, rate, levels, sampling
        See `LocalAttention`.
    without : sequence of {"moments", "rotary", "convolution"}
        What is left out; without moments, lattice points gather means and expand constants times hats.

    Raises
    ------
    ValueError
        For a spacing outside (0, 1/2], and what `LocalAttention` refuses.
    """

    def __init__(self, channels: int, spacing: float, *geometry: Any, without: Sequence[str] = ()) -> None:
        super().__init__()
        check_spacing(spacing)
        self.spacing = spacing
        self.orders = 1 if "moments" in without else ORDERS
        self.down = nn.Linear(self.orders * channels, channels)
        self.attention = LocalAttention(channels, *geometry, without=without)
        self.up = nn.Linear(channels, self.orders * channels)

    def forward(self, x: Field, grid: Kind, residual: bool = False) -> Field:
        """The field that the attention makes of x, plus x if `residual`."""
        points = lattice_points(self.spacing, grid)
        moments, x = gather_beside(x, (points, points), grid)
        if self.orders < ORDERS:
            moments = moments[..., : x.shape[-1]]
        coefficients = applied(self.up, self.attention(applied(self.down, moments)))
        if self.orders < ORDERS:
            coefficients = pad(coefficients, (0, (ORDERS - self.orders) * x.shape[-1]))
        return expand(coefficients, (x.shape[1], x.shape[2]), grid, x if residual else None)
