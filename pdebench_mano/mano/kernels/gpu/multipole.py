"""Multipole attention as an autograd function over the Triton kernels.

What is kept for the backward pass is what enters it and the coarse levels, a third of that; queries, keys, values and
attention are computed again. Matrices are rounded once to the type of the computation; every sum is in float32.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv2d

from pdebench_mano.fields.lattice import hold
from pdebench_mano.mano.kernels.gpu import layers
from pdebench_mano.mano.kernels.gpu.attention import Geometry, Level, Rows, attend, attend_backward, points, stack
from pdebench_mano.mano.kernels.gpu.circles import Circle, circle_of, go_round
from pdebench_mano.mano.kernels.gpu.pointwise import (
    SPLITS,
    Norms,
    blocks,
    normalise,
    normalise_backward,
    products,
    rows_at_once,
    summed,
)
from pdebench_mano.mano.kernels.wrapping import longer

Levels = tuple[Level, ...]
Circles = tuple[Circle, ...] | None


class Local(NamedTuple):
    """What a `LocalAttention` has besides: cosines and sines of the angles of queries and keys, and a convolution."""

    turns: Float[Tensor, "2 points half_d"] | None
    weight: Tensor | None
    bias: Tensor | None


def _turn(qkv: Rows, turns: Tensor | None, geometry: Geometry, back: bool = False) -> Rows:
    """Rotary positions of queries and keys, in place."""
    if turns is not None:
        inner, (_, number, half) = qkv.shape[1] // 3, turns.shape
        layers.turn[(blocks(len(qkv), 16),)](
            qkv, turns, hold(points(geometry.levels, qkv.device)), len(qkv), -1.0 if back else 1.0,
            INNER=inner, HALF=half, POINTS=number, ROWS=16, num_warps=4,
        )  # fmt: skip
    return qkv


def _copied(x: Tensor, dtype: torch.dtype) -> Tensor:
    """x in row order and in that type, by one kernel."""
    return x.new_empty(x.shape, dtype=dtype).copy_(x)


def _image(rows: Rows, level: Level) -> Float[Tensor, "batch channels height width"]:
    """A level's rows as what a convolution reads, channels last."""
    return rows.view(level.batch, level.height, level.width, -1).permute(0, 3, 1, 2)


def _rows(image: Float[Tensor, "batch channels height width"]) -> Rows:
    return image.permute(0, 2, 3, 1).reshape(-1, image.shape[1])


def _grids(fine: Level, coarse: Level) -> tuple[int, ...]:
    return coarse.rows, coarse.height, coarse.width, fine.height, fine.width


def _restrict(
    x: Rows, weight: Tensor, out: Rows, fine: Level, coarse: Level, rate: int, scale: float = 1.0, adjoint: bool = False
) -> None:
    size = rows_at_once(x.shape[1])
    layers.restrict[(blocks(coarse.rows, size),)](
        x, weight, out, *_grids(fine, coarse), scale,
        C=x.shape[1], RATE=rate, ROWS=size, ADJOINT=adjoint, num_warps=4, num_stages=2,
    )  # fmt: skip


def _restrict_backward(g: Rows, weight: Tensor, out: Rows, fine: Level, coarse: Level, rate: int) -> None:
    """Adds to `out` the gradient by what was restricted."""
    edges, size = fine.height % rate > 0 or fine.width % rate > 0, rows_at_once(out.shape[1])
    layers.restrict_backward[(rate**2 * blocks(coarse.rows, size),)](
        g, weight, out, *_grids(fine, coarse),
        C=out.shape[1], RATE=rate, ROWS=size, EDGES=edges, num_warps=8, num_stages=2,
    )  # fmt: skip


@lru_cache(maxsize=64)
def _patch_table(levels: tuple[Level, ...], rate: int, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The table of `layers.patch_products` for the finest pair of levels, and for all others; `size` rows at once."""
    tables: tuple[list, list] = ([], [])
    for number, (fine, coarse) in enumerate(pairwise(levels)):
        first = fine.first - levels[1].first if number else 0
        programs = min(max(1, SPLITS // rate**2), blocks(coarse.rows, size))
        for program in range(programs):
            place = (program, programs, len(levels) - 1 - number)
            tables[number > 0].append((coarse.first - levels[1].first, first, *_grids(fine, coarse), *place))
    finest, others = (torch.tensor(table, dtype=torch.int32, device=device).reshape(-1, 10) for table in tables)
    return finest, others


def _patch_products(
    finest: Rows, coarse: Rows, other: Rows, levels: tuple[Level, ...], rate: int, adjoint: bool
) -> Tensor:
    """Gradient of the (places, in, out) matrices of D, or of U if `adjoint`: `coarse` are the coarser ends of the
    pairs of levels, `finest` and `other` the finer ends."""
    c = coarse.shape[1]
    size = rows_at_once(c)
    tables = _patch_table(levels, rate, size, coarse.device)
    partial = coarse.new_empty(sum(map(len, tables)), rate**2, c, c, dtype=torch.float32)
    for fine, table, part in zip((finest, other), tables, partial.split([len(t) for t in tables]), strict=True):
        if len(table):
            layers.patch_products[rate**2, len(table)](
                coarse, fine, part, table, C=c, RATE=rate, ROWS=size, ADJOINT=adjoint, num_warps=8, num_stages=3
            )
    return summed(partial)


def _prolong(
    y: Rows, weight: Tensor, bias: Tensor, z: Rows, up: Tensor, onto: Rows | None, out: Rows,
    fine: Level, coarse: Level | None, rate: int, scale: float,
) -> None:  # fmt: skip
    rate = rate if coarse else 1
    grids, size = _grids(fine, coarse or fine), rows_at_once(out.shape[1])
    layers.prolong[(rate**2 * blocks(grids[0], size),)](
        y, weight, bias, z, up, onto, out, *grids, scale,
        C=out.shape[1], INNER=y.shape[1], RATE=rate, ROWS=size, COARSE=coarse is not None, ONTO=onto is not None,
        num_warps=8, num_stages=2,
    )  # fmt: skip


def _convolved(normal: Rows, kernel: Tensor, levels: Levels, circles: Circles) -> list[Rows]:
    """The 3 × 3 convolution of every level."""
    outer = _outer(levels, circles)
    parts = go_round(normal, circles, "padded", levels, outer).split([level.rows for level in outer])
    padding = 1 if circles is None else 0
    images = (_image(part, level) for part, level in zip(parts, outer, strict=True))
    return [_rows(conv2d(image, kernel, padding=padding)) for image in images]


def _convolution_backward(
    gs: Sequence[Rows], normal: Rows, kernel: Tensor, levels: Levels, circles: Circles
) -> tuple[list[Rows], Tensor]:
    """The gradients by the rows of every level, and by the weight."""
    outer = _outer(levels, circles)
    parts = go_round(normal, circles, "padded", levels, outer).split([level.rows for level in outer])
    padding = [1, 1] if circles is None else [0, 0]
    d_rows, d_kernels = [], []
    for g, level, part, there in zip(gs, levels, parts, outer, strict=True):
        d_image, d_kernel, _ = torch.ops.aten.convolution_backward(
            _image(g, level), _image(part, there), kernel, None, [1, 1], padding, [1, 1], False, [0, 0], 1,
            [True, True, False],
        )  # fmt: skip
        d_rows.append(_rows(d_image))
        d_kernels.append(d_kernel)
    total = _copied(d_kernels[0], torch.float32)
    for d_kernel in d_kernels[1:]:
        total += d_kernel
    if circles is not None:
        together = go_round(torch.cat(d_rows), circles, "unpadded", outer, levels)
        d_rows = list(together.split([level.rows for level in levels]))
    return d_rows, total


def _outer(levels: Levels, circles: Circles) -> Levels:
    """The grids that a convolution sees: on periodic ones, with a point more on all sides."""
    if circles is None:
        return levels
    return stack(levels[0].batch, [(level.height + 2, level.width + 2) for level in levels])


class _MultipoleAttention(torch.autograd.Function):
    """x + z₀ if `residual`, else z₀."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, norm_weight: Tensor, norm_bias: Tensor, norm2_weight: Tensor, norm2_bias: Tensor,
        qkv_weight: Tensor, out_weight: Tensor, out_bias: Tensor, down_weight: Tensor, up_weight: Tensor,
        turns: Tensor | None, local_weight: Tensor | None, local_bias: Tensor | None,
        levels: Levels, geometry: Geometry, circles: Circles, rate: int, residual: bool,
    ) -> Tensor:  # fmt: skip
        norms = Norms(norm_weight, norm_bias, norm2_weight, norm2_bias)
        qkv_matrix, out_matrix = qkv_weight.to(x.dtype), out_weight.to(x.dtype)
        down, up = (
            _copied(weight.permute(2, 3, *order), x.dtype)
            for weight, order in ((down_weight, (1, 0)), (up_weight, (0, 1)))
        )
        n, sizes = len(x), [level.rows for level in levels]
        for each in _patch_table(levels, rate, rows_at_once(x.shape[1]), x.device):
            hold(each)
        coarse_x = x.new_empty(sum(sizes) - n, x.shape[1])
        coarse_z, out = torch.empty_like(coarse_x), torch.empty_like(x)
        xs, zs = (x, *coarse_x.split(sizes[1:])), (out, *coarse_z.split(sizes[1:]))
        for number, (fine, coarse) in enumerate(pairwise(levels)):
            _restrict(xs[number], down, xs[number + 1], fine, coarse, rate)
        normal = normalise(x, coarse_x, norms, x.dtype)
        qkv = go_round(normal @ qkv_matrix.t(), circles, "wrapped", levels, geometry.levels)
        y = attend(_turn(qkv, turns, geometry), geometry)
        ys = go_round(y, circles, "folded", geometry.levels, levels).split(sizes)
        onto: list[Tensor | None] = [x if residual else None] + [None] * (len(levels) - 1)
        kernel, bias = None, out_bias
        if local_weight is not None and local_bias is not None:
            kernel, bias = local_weight.to(x.dtype, memory_format=torch.channels_last), out_bias + local_bias
            convolved = _convolved(normal, kernel, levels, circles)
            onto = [convolved[0].add_(x) if residual else convolved[0], *convolved[1:]]
        for i, fine in reversed(list(enumerate(levels))):
            last = i == len(levels) - 1
            coarse_level, scale = (None, 0.0) if last else (levels[i + 1], 1 / (len(levels) - 1 - i))
            _prolong(
                ys[i], out_matrix, bias, zs[i if last else i + 1], up, onto[i], zs[i], fine, coarse_level, rate, scale
            )
        ctx.save_for_backward(x, coarse_x, coarse_z, *norms, qkv_matrix, out_matrix, down, up, turns, kernel)
        ctx.levels, ctx.geometry, ctx.circles, ctx.rate, ctx.residual = levels, geometry, circles, rate, residual
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, coarse_x, coarse_z, *rest = ctx.saved_tensors
        norms, (qkv_matrix, out_matrix, down, up, turns, kernel) = Norms(*rest[:4]), rest[4:]
        levels, geometry, circles, rate = ctx.levels, ctx.geometry, ctx.circles, ctx.rate
        g, n, c, deepest = g.contiguous(), len(x), x.shape[1], len(levels) - 1
        sizes = [level.rows for level in levels]
        pairs = list(pairwise(levels))

        coarse_g = torch.empty_like(coarse_x)
        gs = (g, *coarse_g.split(sizes[1:]))
        for number, (fine, coarse) in enumerate(pairs):
            _restrict(gs[number], up, gs[number + 1], fine, coarse, rate, 1 / (deepest - number), adjoint=True)
        d_up = _patch_products(g, coarse_z, coarse_g, levels, rate, adjoint=True)

        normal = normalise(x, coarse_x, norms, x.dtype)
        qkv = go_round(normal @ qkv_matrix.t(), circles, "wrapped", levels, geometry.levels)
        dy = x.new_empty(len(normal), out_matrix.shape[1])
        torch.mm(g, out_matrix, out=dy[:n])
        torch.mm(coarse_g, out_matrix, out=dy[n:])
        dy = go_round(dy, circles, "unfolded", levels, geometry.levels)
        d_qkv, y = attend_backward(_turn(qkv, turns, geometry), dy, geometry)
        d_qkv = go_round(_turn(d_qkv, turns, geometry, back=True), circles, "unwrapped", geometry.levels, levels)
        y = go_round(y, circles, "folded", geometry.levels, levels)
        del qkv, dy
        d_out, d_out_bias = products([(g, y[:n]), (coarse_g, y[n:])])
        d_qkv_weight = d_qkv.t() @ normal
        d_kernel = None
        if kernel is None:
            d_normal = torch.mm(d_qkv, qkv_matrix, out=normal)
        else:
            d_local, d_kernel = _convolution_backward(gs, normal, kernel, levels, circles)
            d_normal = torch.empty_like(normal)
            for part, d_part, target in zip(d_local, d_qkv.split(sizes), d_normal.split(sizes), strict=True):
                torch.addmm(part, d_part, qkv_matrix, out=target)
        del y, d_qkv

        dx, coarse_dx, d_norms = normalise_backward(d_normal, x, coarse_x, norms, g if ctx.residual else None)
        dxs = (dx, *coarse_dx.split(sizes[1:]))
        for number in reversed(range(deepest)):
            _restrict_backward(dxs[number + 1], down, dxs[number], *pairs[number], rate)
        d_down = _patch_products(x, coarse_dx, coarse_x, levels, rate, adjoint=False)
        d_down, d_up = (d.reshape(rate, rate, c, c) for d in (d_down, d_up))
        return (
            dx, *d_norms, d_qkv_weight.float(), d_out, d_out_bias,
            d_down.permute(3, 2, 0, 1), d_up.permute(2, 3, 0, 1),
            None, d_kernel, None if d_kernel is None else d_out_bias, None, None, None, None, None,
        )  # fmt: skip


def multipole_attention(
    x: Float[Tensor, "batch height width channels"],
    norms: Norms,
    qkv: Tensor,
    out: Tensor,
    out_bias: Tensor,
    down: Tensor,
    up: Tensor,
    local: Local,
    *,
    shapes: Sequence[tuple[int, int]],
    heads: int,
    window: int,
    stride: int,
    rate: int,
    periodic: bool,
    residual: bool,
) -> Float[Tensor, "batch height width channels"]:
    """Multipole attention of x, plus x if `residual`, on levels of these shapes; the parameters are those of
    `MultipoleAttention`, or of `LocalAttention`."""
    levels = stack(len(x), shapes)
    seen, circles = levels, None
    if periodic:
        seen = stack(len(x), [(longer(h, window, stride), longer(w, window, stride)) for h, w in shapes])
        circles = tuple(circle_of(*shape, window, stride, x.device) for shape in shapes)
        for table in (table for circle in circles for sums in circle for table in sums):
            hold(table)
    geometry = Geometry(seen, heads, window, stride)
    rows = x.reshape(-1, x.shape[-1]).contiguous()
    with torch.cuda.device_of(x):
        z = _MultipoleAttention.apply(
            rows, *norms, qkv, out, out_bias, down, up, *local, levels, geometry, circles, rate, residual
        )
    return z.reshape(x.shape)
