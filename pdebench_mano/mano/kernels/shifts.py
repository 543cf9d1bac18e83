"""Window attention of stride 1: cells are points, and neighbours are shifts of whole fields.

A neighbour's log-sum-exp is its one score q(p) · k(p + δ). Fields are planes, flat in space and
padded so that every shift is a view.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from pdebench_mano.mano.kernels.neighbours import merge, merge_backward
from pdebench_mano.mano.kernels.windows import Attended, Projections

Planes = Float[Tensor, "batch d points"]
Padded = Float[Tensor, "batch d padded"]
Weights = Float[Tensor, "side side batch points"]


class _Grid(NamedTuple):
    m: int
    rows: int
    columns: int

    @property
    def side(self) -> int:
        return 2 * self.m - 1

    @property
    def points(self) -> int:
        return self.rows * self.columns

    @property
    def margin(self) -> int:
        """How far the farthest neighbour is along the flat axis."""
        return (self.m - 1) * (self.columns + 1)

    def pad(self, x: Tensor) -> Tensor:
        return pad(x.contiguous(), (self.margin, self.margin))

    def crop(self, x: Padded) -> Planes:
        return x[..., self.margin : self.margin + self.points]

    def neighbours(self, x: Padded) -> Float[Tensor, "side side batch d points"]:
        """[δ](p) = x(p + δ)."""
        batch, d, length = x.shape
        shape = (self.side, self.side, batch, d, self.points)
        return x.as_strided(shape, (self.columns, 1, d * length, length, 1), x.storage_offset())

    def mirror(self, w: Weights) -> Weights:
        """[δ](p) = w[-δ](p + δ)."""
        w = self.pad(w.flip(0, 1))
        length = w.shape[-1]
        plane = w.shape[2] * length
        strides = (self.side * plane + self.columns, plane + 1, length, 1)
        return w.as_strided((self.side, self.side, w.shape[2], self.points), strides)


def _dot(x: Planes, y: Padded, grid: _Grid) -> Weights:
    """[δ](p) = x(p) · y(p + δ)."""
    result = x.new_empty(grid.side, grid.side, x.shape[0], x.shape[2])
    for row, targets in zip(grid.neighbours(y), result, strict=True):
        for neighbour, target in zip(row, targets, strict=True):
            torch.sum(x * neighbour, 1, out=target)
    return result


def _sum(w: Weights, y: Padded, grid: _Grid) -> Planes:
    """Σ_δ w[δ](p) y(p + δ)."""
    result = y.new_zeros(*y.shape[:2], grid.points)
    for row, weights in zip(grid.neighbours(y), w.unsqueeze(3), strict=True):
        for neighbour, weight in zip(row, weights, strict=True):
            result.addcmul_(weight, neighbour)
    return result


class _ShiftedAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, qkv: Tensor, grid: _Grid) -> Tensor:
        q, k, v = grid.pad(qkv)
        scores = _dot(grid.crop(q), k, grid).mul_(q.shape[1] ** -0.5)
        weights, inside = merge(scores.flatten(0, 1).unflatten(-1, (grid.rows, grid.columns)), grid.m)
        weights = weights.view_as(scores)
        ctx.save_for_backward(q, k, v, weights, inside)
        ctx.grid = grid
        return _sum(weights, v, grid)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        (q, k, v, weights, inside), grid = ctx.saved_tensors, ctx.grid
        d_weights = _dot(g, v, grid).flatten(0, 1).unflatten(-1, (grid.rows, grid.columns))
        d_scores = merge_backward(d_weights, inside, grid.m).view_as(weights).mul_(q.shape[1] ** -0.5)
        dq = _sum(d_scores, k, grid)
        dk = _sum(grid.mirror(d_scores), q, grid)
        dv = _sum(grid.mirror(weights), grid.pad(g), grid)
        return torch.stack([dq, dk, dv]), None


def shifted_attention(qkv: Projections, heads: int, window: int, stride: int = 1) -> Attended:
    """Window attention of stride 1; neither side of the grid is shorter than the window."""
    b, h, w, channels = qkv.shape
    if stride != 1 or min(h, w) < window:
        raise ValueError(f"shifts need stride 1 and a window of at most {min(h, w)}, got {stride} and {window}")
    d = channels // (3 * heads)
    planes = qkv.reshape(b, h, w, 3, heads, d).permute(3, 0, 4, 5, 1, 2).reshape(3, b * heads, d, h * w)
    y = _ShiftedAttention.apply(planes.to(torch.promote_types(qkv.dtype, torch.float32)), _Grid(window, h, w))
    return y.to(qkv.dtype).reshape(b, heads * d, h, w).permute(0, 2, 3, 1)
