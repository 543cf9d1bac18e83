"""Window attention whose stride divides the window: cells are blocks of stride × stride points.

All points of a block lie in the same windows, so every score is computed once, however many
windows share it.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from pdebench_mano.mano.kernels.neighbours import merge, merge_backward, shifts
from pdebench_mano.mano.kernels.windows import Attended, Projections, starts


class _BlockAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, qkv: Tensor, m: int) -> Tensor:
        _, rows, columns, batch, _, d = qkv.shape
        q, k, v = qkv.flatten(1, 3)
        q = q * d**-0.5
        ctx.m, tiles = m, []
        lse = q.new_zeros((2 * m - 1) ** 2, *q.shape[:-1])
        for (here, there), target in zip(shifts(m, rows, columns, batch), lse, strict=True):
            tile = torch.bmm(q[here], k[there].transpose(1, 2))
            top = tile.amax(-1, keepdim=True)
            total = tile.sub_(top).exp_().sum(-1, keepdim=True)
            tiles.append(tile.div_(total))
            target[here] = total.log_().add_(top).squeeze(-1)
        weights, inside = merge(lse.unflatten(1, (rows, columns, batch)).movedim((1, 2), (-2, -1)), m)
        weights = weights.movedim((-2, -1), (1, 2)).flatten(1, 3)
        result = v.new_zeros(v.shape)
        for (here, there), weight, tile in zip(shifts(m, rows, columns, batch), weights, tiles, strict=True):
            result[here].baddbmm_(tile * weight[here].unsqueeze(-1), v[there])
        ctx.save_for_backward(qkv, weights, inside, *tiles)
        return result.reshape(qkv.shape[1:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        with torch.autocast(g.device.type, enabled=False):
            return _gradient(g, *ctx.saved_tensors, m=ctx.m), None


def _gradient(g: Tensor, qkv: Tensor, weights: Tensor, inside: Tensor, *tiles: Tensor, m: int) -> Tensor:
    _, rows, columns, batch, _, d = qkv.shape
    q, k, v = qkv.flatten(1, 3)
    g = g.contiguous().flatten(0, 2)
    d_weights, d_tiles = weights.new_zeros(weights.shape), []
    gradient = qkv.new_zeros(qkv.shape)
    dq, dk, dv = gradient.flatten(1, 3)
    for i, (here, there) in enumerate(shifts(m, rows, columns, batch)):
        d_tile = torch.bmm(g[here], v[there].transpose(1, 2)).mul_(tiles[i])
        torch.sum(d_tile, -1, out=d_weights[i][here])
        d_tiles.append(d_tile)
        dv[there].baddbmm_(tiles[i].transpose(1, 2), weights[i][here].unsqueeze(-1) * g[here])
    d_lse = merge_backward(d_weights.unflatten(1, (rows, columns, batch)).movedim((1, 2), (-2, -1)), inside, m)
    d_lse = d_lse.movedim((-2, -1), (1, 2)).flatten(1, 3)
    constants = d_lse.addcmul_(weights, d_weights, value=-1)
    for i, (here, there) in enumerate(shifts(m, rows, columns, batch)):
        d_score = d_tiles[i].mul_(weights[i][here].unsqueeze(-1))
        d_score.addcmul_(tiles[i], constants[i][here].unsqueeze(-1)).mul_(d**-0.5)
        dq[here].baddbmm_(d_score, k[there])
        dk[there].baddbmm_(d_score.transpose(1, 2), q[here])
    return gradient


def _aligned(qkv: Projections, heads: int, window: int, stride: int) -> Attended:
    """Window attention where the regular windows reach the far edges."""
    b, h, w, channels = qkv.shape
    d, rows, columns = channels // (3 * heads), h // stride, w // stride
    blocks = qkv.reshape(b, rows, stride, columns, stride, 3, heads, d).permute(5, 1, 3, 0, 6, 2, 4, 7)
    blocks = blocks.reshape(3, rows, columns, b * heads, stride**2, d)
    y = _BlockAttention.apply(blocks.to(torch.promote_types(qkv.dtype, torch.float32)), window // stride).to(qkv.dtype)
    return y.reshape(rows, columns, b, heads, stride, stride, d).permute(2, 0, 4, 1, 5, 3, 6).reshape(b, h, w, -1)


def _families(points: int, window: int, stride: int, like: Tensor) -> list[tuple[slice, Tensor]]:
    """The regular windows of an axis, and the flush one: what they cover, and how many hold each point."""
    last = points - window
    parts = [slice(0, last - last % stride + window)] + ([slice(last, points)] if last % stride else [])
    families = []
    for part in parts:
        count = like.new_zeros(part.stop - part.start)
        for first in starts(count.numel(), window, stride):
            count[first : first + window] += 1
        families.append((part, count))
    return families


def block_attention(qkv: Projections, heads: int, window: int, stride: int) -> Attended:
    """Window attention of a stride that divides the window; neither side of the grid is shorter than it."""
    h, w = qkv.shape[1:3]
    if window % stride or min(h, w) < window:
        raise ValueError(f"blocks need a stride that divides a window of at most {min(h, w)}, got {stride}, {window}")
    if (h - window) % stride == (w - window) % stride == 0:
        return _aligned(qkv, heads, window, stride)
    total: Tensor | float = 0.0
    count = qkv.new_zeros(h, w, 1)
    for rows, row_count in _families(h, window, stride, qkv):
        for columns, column_count in _families(w, window, stride, qkv):
            here = (row_count[:, None] * column_count)[..., None]
            part = _aligned(qkv[:, rows, columns], heads, window, stride) * here
            around = (0, 0, columns.start, w - columns.stop, rows.start, h - rows.stop)
            total = total + pad(part, around)
            count[rows, columns] += here
    return total / count
