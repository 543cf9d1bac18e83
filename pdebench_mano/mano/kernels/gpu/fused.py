"""Multipole attention, LayerNorms, mlp and linear layers as autograd functions over the Triton kernels.

What is kept for the backward pass is what enters each function (and the coarse levels, a third of
it); queries, keys, values, attention and hidden activations are computed again. Matrices are
rounded once to the type of the computation; every sum is in float32. The mlp reads and writes the
latent field in the field's own type, which autocast leaves in float32.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import torch
import triton
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv2d

from pdebench_mano.fields.lattice import hold
from pdebench_mano.mano.kernels.gpu import layers
from pdebench_mano.mano.kernels.gpu.attention import (
    Geometry,
    Level,
    Rows,
    attend,
    attend_backward,
    points,
    registers,
    stack,
)
from pdebench_mano.mano.kernels.gpu.circles import Circle, circle_of, go_round
from pdebench_mano.mano.kernels.wrapping import longer

ROWS = 64  # of a program
NORM_ROWS, NORM_WARPS, NORM_STAGES = 16, 4, 3  # of the LayerNorms' gradient
FEW = 1 << 16  # rows of a sum over all of them whose partial sums would take longer than reading the rows twice
SPLITS = 132  # programs among which the rows of a sum over all of them are shared out: one a multiprocessor


Levels = tuple[Level, ...]
Circles = tuple[Circle, ...] | None


class Norms(NamedTuple):
    """Weights and biases of one LayerNorm, or of two in a row."""

    weight: Tensor
    bias: Tensor
    weight2: Tensor | None = None
    bias2: Tensor | None = None

    @property
    def number(self) -> int:
        return 1 if self.weight2 is None else 2


class Local(NamedTuple):
    """What a `LocalAttention` has besides: cosines and sines of the angles of queries and keys, and a convolution."""

    turns: Float[Tensor, "2 points half_d"] | None
    weight: Tensor | None
    bias: Tensor | None


def _total(partial: Float[Tensor, "number ..."]) -> Float[Tensor, "..."]:
    """The sum of partial sums."""
    out, number = partial.new_empty(partial.shape[1:]), len(partial)
    columns, rows = out.numel(), max(16, min(128, triton.next_power_of_2(number)))
    layers.total[(-(-columns // 32),)](partial, out, number, columns, NUMBER=rows, COLUMNS=32, num_warps=rows // 16)
    return out


def _turn(qkv: Rows, turns: Tensor | None, geometry: Geometry, back: bool = False) -> Rows:
    """Rotary positions of queries and keys, in place."""
    if turns is not None:
        inner, (_, number, half) = qkv.shape[1] // 3, turns.shape
        layers.turn[(_blocks(len(qkv), 16),)](
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


def _blocks(rows: int, size: int | None = None) -> int:
    return -(-rows // (size or ROWS))


def _grids(fine: Level, coarse: Level) -> tuple[int, ...]:
    return coarse.rows, coarse.height, coarse.width, fine.height, fine.width


def _normalise(x: Rows, coarse_x: Rows, norms: Norms, dtype: torch.dtype) -> Rows:
    """The LayerNorms of all levels, one after the other."""
    n, rows, c = len(x), len(x) + len(coarse_x), x.shape[1]
    out = x.new_empty(rows, c, dtype=dtype)
    for part, target in ((x, out[:n]), (coarse_x, out[n:])):
        if len(part):
            layers.normalise[(_blocks(len(part), 16),)](
                part, *norms, target, len(part), C=c, ROWS=16, TWO=norms.number == 2, num_warps=4
            )
    return out


def _normalise_backward(
    d_normal: Rows, x: Rows, coarse_x: Rows, norms: Norms, residual: Rows | None
) -> tuple[Rows, Rows, Tensor]:
    """The gradients by x, plus `residual`, by coarse_x and, as rows, by the parameters of the LayerNorms."""
    dx, coarse_dx = torch.empty_like(x), torch.empty_like(coarse_x)
    programs = [min(2 * SPLITS, _blocks(len(part), NORM_ROWS)) for part in (x, coarse_x)]
    partial = x.new_empty(sum(programs), 2 * norms.number, x.shape[1], dtype=torch.float32)
    parts = ((x, dx, residual), (coarse_x, coarse_dx, None))
    for (part, target, rest), g, sums in zip(
        parts, d_normal.split([len(x), len(coarse_x)]), partial.split(programs), strict=True
    ):
        if len(part):
            layers.normalise_backward[(len(sums),)](
                g, part, *norms, rest, target, sums, len(part),
                C=x.shape[1], ROWS=NORM_ROWS, TWO=norms.number == 2, RESIDUAL=rest is not None, STAGES=NORM_STAGES,
                num_warps=NORM_WARPS,
            )  # fmt: skip
    return dx, coarse_dx, _total(partial)


def _restrict(
    x: Rows, weight: Tensor, out: Rows, fine: Level, coarse: Level, rate: int, scale: float = 1.0, adjoint: bool = False
) -> None:
    layers.restrict[(_blocks(coarse.rows),)](
        x, weight, out, *_grids(fine, coarse), scale,
        C=x.shape[1], RATE=rate, ROWS=ROWS, ADJOINT=adjoint, num_warps=4, num_stages=2,
    )  # fmt: skip


def _restrict_backward(g: Rows, weight: Tensor, out: Rows, fine: Level, coarse: Level, rate: int) -> None:
    """Adds to `out` the gradient by what was restricted."""
    edges = fine.height % rate > 0 or fine.width % rate > 0
    layers.restrict_backward[(rate**2 * _blocks(coarse.rows),)](
        g, weight, out, *_grids(fine, coarse),
        C=out.shape[1], RATE=rate, ROWS=ROWS, EDGES=edges, num_warps=8, num_stages=2,
    )  # fmt: skip


def _products(pairs: list[tuple[Rows, Rows]]) -> tuple[Tensor, Tensor]:
    """Σ aᵀ b and Σ a over the rows of all pairs."""
    a, b = pairs[0][0].shape[1], pairs[0][1].shape[1]
    pairs = [(left, right) for left, right in pairs if len(left)]
    few = sum(len(left) for left, _ in pairs) < FEW
    chunk, block, rows = math.gcd(a, 64 if few else 128), math.gcd(b, 128), ROWS if few else 2 * ROWS
    splits = [min(max(1, SPLITS * chunk * block // (a * b)), _blocks(len(left), rows)) for left, _ in pairs]
    partial = pairs[0][0].new_empty(sum(splits), a * b + a, dtype=torch.float32)
    for (left, right), programs, part in zip(pairs, splits, partial.split(splits), strict=True):
        layers.products[a // chunk, programs, b // block](
            left, right, part, len(left),
            A=a, B=b, CHUNK=chunk, BLOCK=block, ROWS=rows, num_warps=4 if few else 8, num_stages=3,
        )  # fmt: skip
    matrix, sums = _total(partial).split([a * b, a])
    return matrix.view(a, b), sums


@lru_cache(maxsize=64)
def _patch_table(levels: tuple[Level, ...], rate: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The table of `layers.patch_products` for the finest pair of levels, and for all others."""
    tables: tuple[list, list] = ([], [])
    for number, (fine, coarse) in enumerate(pairwise(levels)):
        first = fine.first - levels[1].first if number else 0
        programs = min(max(1, SPLITS // rate**2), _blocks(coarse.rows))
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
    tables = _patch_table(levels, rate, coarse.device)
    partial = coarse.new_empty(sum(map(len, tables)), rate**2, c, c, dtype=torch.float32)
    for fine, table, part in zip((finest, other), tables, partial.split([len(t) for t in tables]), strict=True):
        if len(table):
            layers.patch_products[rate**2, len(table)](
                coarse, fine, part, table, C=c, RATE=rate, ROWS=ROWS, ADJOINT=adjoint, num_warps=8, num_stages=3
            )
    return _total(partial)


def _prolong(
    y: Rows, weight: Tensor, bias: Tensor, z: Rows, up: Tensor, onto: Rows | None, out: Rows,
    fine: Level, coarse: Level | None, rate: int, scale: float,
) -> None:  # fmt: skip
    rate = rate if coarse else 1
    grids = _grids(fine, coarse or fine)
    layers.prolong[(rate**2 * _blocks(grids[0]),)](
        y, weight, bias, z, up, onto, out, *grids, scale,
        C=out.shape[1], INNER=y.shape[1], RATE=rate, ROWS=ROWS, COARSE=coarse is not None, ONTO=onto is not None,
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
        for each in _patch_table(levels, rate, x.device):
            hold(each)
        coarse_x = x.new_empty(sum(sizes) - n, x.shape[1])
        coarse_z, out = torch.empty_like(coarse_x), torch.empty_like(x)
        xs, zs = (x, *coarse_x.split(sizes[1:])), (out, *coarse_z.split(sizes[1:]))
        for number, (fine, coarse) in enumerate(pairwise(levels)):
            _restrict(xs[number], down, xs[number + 1], fine, coarse, rate)
        normal = _normalise(x, coarse_x, norms, x.dtype)
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

        normal = _normalise(x, coarse_x, norms, x.dtype)
        qkv = go_round(normal @ qkv_matrix.t(), circles, "wrapped", levels, geometry.levels)
        dy = x.new_empty(len(normal), out_matrix.shape[1])
        torch.mm(g, out_matrix, out=dy[:n])
        torch.mm(coarse_g, out_matrix, out=dy[n:])
        dy = go_round(dy, circles, "unfolded", levels, geometry.levels)
        d_qkv, y = attend_backward(_turn(qkv, turns, geometry), dy, geometry)
        d_qkv = go_round(_turn(d_qkv, turns, geometry, back=True), circles, "unwrapped", geometry.levels, levels)
        y = go_round(y, circles, "folded", geometry.levels, levels)
        del qkv, dy
        d_out, d_out_bias = _products([(g, y[:n]), (coarse_g, y[n:])])
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

        dx, coarse_dx, d_norms = _normalise_backward(d_normal, x, coarse_x, norms, g if ctx.residual else None)
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


class _LayerNorms(torch.autograd.Function):
    """LayerNorm(x), or LayerNorm(LayerNorm(x)), rounded to `dtype`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dtype: torch.dtype, *parameters: Tensor) -> Tensor:
        ctx.save_for_backward(x, *parameters)
        return _normalise(x, x[:0], Norms(*parameters), dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, *parameters = ctx.saved_tensors
        dx, _, d_parameters = _normalise_backward(g.contiguous(), x, x[:0], Norms(*parameters), None)
        return dx, None, *d_parameters


def layer_norms(
    x: Float[Tensor, "*batch channels"], parameters: Sequence[Tensor], dtype: torch.dtype
) -> Float[Tensor, "*batch channels"]:
    """One LayerNorm of x, or two in a row, of these weights and biases, rounded to `dtype`."""
    with torch.cuda.device_of(x):
        n = _LayerNorms.apply(x.reshape(-1, x.shape[-1]).contiguous(), dtype, *parameters)
    return n.reshape(x.shape)


Activation = Literal["gelu", "tanh"]


class _MLP(torch.autograd.Function):
    """linear(activation(linear(LayerNorm(x)))), plus x if `residual`."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, norm_weight: Tensor, norm_bias: Tensor, weight1: Tensor, bias1: Tensor, weight2: Tensor,
        bias2: Tensor, activation: Activation, residual: bool, dtype: torch.dtype,
    ) -> Tensor:  # fmt: skip
        w1, w2, (rows, c), (outputs, hidden) = weight1.to(dtype), weight2.to(dtype), x.shape, weight2.shape
        out = x.new_empty(rows, outputs, dtype=torch.promote_types(x.dtype, dtype) if residual else dtype)
        ctx.save_for_backward(x, norm_weight, norm_bias, w1, bias1, w2)
        ctx.settings = {
            "C": c, "HIDDEN": hidden, "OUT": outputs, "BLOCK_OUT": max(16, triton.next_power_of_2(outputs)),
            "ROWS": ROWS, "CHUNK": math.gcd(hidden, 64), "TANH": activation == "tanh",
        }  # fmt: skip
        ctx.residual = residual
        layers.mlp[(_blocks(rows),)](
            x, norm_weight, norm_bias, w1, bias1, w2, bias2, out, rows,
            **ctx.settings, RESIDUAL=residual, num_warps=4, num_stages=1, **registers(168),
        )  # fmt: skip
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, norm_weight, norm_bias, w1, bias1, w2 = ctx.saved_tensors
        g, (rows, c), hidden, outputs = g.contiguous(), x.shape, ctx.settings["HIDDEN"], ctx.settings["OUT"]
        dx, normed = torch.empty_like(x), torch.empty_like(x, dtype=w1.dtype)
        rounded = g if g.dtype == w1.dtype else torch.empty_like(g, dtype=w1.dtype)
        partial = x.new_empty(_blocks(rows), 2 * c + hidden + outputs, dtype=torch.float32)
        layers.mlp_backward[(_blocks(rows),)](
            g, x, norm_weight, norm_bias, w1, bias1, w2, dx, normed, rounded, partial, rows,
            **ctx.settings, RESIDUAL=ctx.residual, num_warps=4, num_stages=1,
        )  # fmt: skip
        chunk = ctx.settings["CHUNK"]
        splits = min(max(1, SPLITS * chunk // hidden), _blocks(rows))
        d1, d2 = partial.new_empty(splits, hidden, c), partial.new_empty(splits, outputs, hidden)
        layers.mlp_weights[hidden // chunk, splits](
            rounded, normed, w1, bias1, w2, d1, d2, rows,
            **(ctx.settings | {"ROWS": 2 * ROWS}), num_warps=8, num_stages=2,
        )  # fmt: skip
        d_norm_weight, d_norm_bias, d_bias1, d_bias2 = _total(partial).split([c, c, hidden, outputs])
        return dx, d_norm_weight, d_norm_bias, _total(d1), d_bias1, _total(d2), d_bias2, None, None, None


def mlp(
    x: Float[Tensor, "*batch channels"],
    norm: tuple[Tensor, Tensor],
    linear1: tuple[Tensor, Tensor],
    linear2: tuple[Tensor, Tensor],
    *,
    activation: Activation,
    residual: bool,
    dtype: torch.dtype,
) -> Float[Tensor, "*batch out"]:
    """linear2(activation(linear1(LayerNorm(x)))), plus x if `residual`; each layer given by weight and bias.

    Factors of products are rounded to `dtype`, and so is a result without x; LayerNorm and the sum take x as it is.
    """
    rows = x.reshape(-1, x.shape[-1]).contiguous()
    with torch.cuda.device_of(x):
        y = _MLP.apply(rows, *norm, *linear1, *linear2, activation, residual, dtype)
    return y.reshape(*x.shape[:-1], -1)


class _Linear(torch.autograd.Function):
    """x Wᵀ + bias, with W rounded once, and gradients of both in one pass over the rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        matrix = weight.to(x.dtype)
        ctx.save_for_backward(x, matrix)
        return torch.addmm(bias.to(x.dtype), x, matrix.t())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (x, matrix), g = ctx.saved_tensors, g.contiguous()
        return g @ matrix, *_products([(g, x)])


def linear(
    x: Float[Tensor, "*batch channels"], weight: Float[Tensor, "out channels"], bias: Float[Tensor, " out"]
) -> Float[Tensor, "*batch out"]:
    """The linear layer of x, in the type of x; gradients of its parameters are in float32."""
    with torch.cuda.device_of(x):
        y = _Linear.apply(x.reshape(-1, x.shape[-1]).contiguous(), weight, bias)
    return y.reshape(*x.shape[:-1], -1)
