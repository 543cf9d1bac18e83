"""Window attention of stride 1: cells are points, and neighbours are shifts of whole fields.

A neighbour's log-sum-exp is its one score q(p) · k(p + δ). Fields are planes, space last, so that
every operation runs along contiguous memory.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from pdebench_mano.kernels.neighbours import merge, merge_backward, shifts
from pdebench_mano.kernels.windows import Attended, Projections

Planes = Float[Tensor, "batch d rows columns"]
Weights = Float[Tensor, "neighbours batch rows columns"]


def _dot(x: Planes, y: Planes, m: int) -> Weights:
    """x(p) · y(p + δ) for every neighbour δ."""
    batch, _, *shape = x.shape
    result = x.new_zeros((2 * m - 1) ** 2, batch, *shape)
    x, y = x.flatten(2), y.flatten(2)
    for (here, there), target in zip(shifts(m, *shape), result.flatten(2), strict=True):
        target[:, here] = (x[..., here] * y[..., there]).sum(1)
    return result


def _gather(result: Planes, w: Weights, y: Planes, m: int) -> None:
    """Add Σ_δ w_δ(p) y(p + δ) to `result`."""
    target, source = result.flatten(2), y.flatten(2)
    for (here, there), weight in zip(shifts(m, *y.shape[2:]), w.flatten(2).unsqueeze(2), strict=True):
        target[..., here].addcmul_(weight[..., here], source[..., there])


def _scatter(result: Planes, w: Weights, x: Planes, m: int) -> None:
    """Add Σ_δ w_δ(p - δ) x(p - δ) to `result`: the adjoint of `_gather`."""
    target, source = result.flatten(2), x.flatten(2)
    for (here, there), weight in zip(shifts(m, *x.shape[2:]), w.flatten(2).unsqueeze(2), strict=True):
        target[..., there].addcmul_(weight[..., here], source[..., here])


class _ShiftedAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, qkv: Tensor, m: int) -> Tensor:
        q, k, v = qkv
        weights, inside = merge(_dot(q, k, m).mul_(q.shape[1] ** -0.5), m)
        ctx.save_for_backward(qkv, weights, inside)
        ctx.m = m
        result = v.new_zeros(v.shape)
        _gather(result, weights, v, m)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        (q, k, v), weights, inside = ctx.saved_tensors
        g = g.contiguous()
        d_scores = merge_backward(_dot(g, v, ctx.m), inside, ctx.m).mul_(q.shape[1] ** -0.5)
        gradient = g.new_zeros(3, *g.shape)
        dq, dk, dv = gradient
        _gather(dq, d_scores, k, ctx.m)
        _scatter(dk, d_scores, q, ctx.m)
        _scatter(dv, weights, g, ctx.m)
        return gradient, None


def shifted_attention(qkv: Projections, heads: int, window: int, stride: int = 1) -> Attended:
    """Window attention of stride 1; neither side of the grid is shorter than the window."""
    b, h, w, channels = qkv.shape
    if stride != 1 or min(h, w) < window:
        raise ValueError(f"shifts need stride 1 and a window of at most {min(h, w)}, got {stride} and {window}")
    d = channels // (3 * heads)
    planes = qkv.reshape(b, h, w, 3, heads, d).permute(3, 0, 4, 5, 1, 2).reshape(3, b * heads, d, h, w).contiguous()
    y = _ShiftedAttention.apply(planes.to(torch.promote_types(qkv.dtype, torch.float32)), window)
    return y.to(qkv.dtype).reshape(b, heads * d, h, w).permute(0, 2, 3, 1)
