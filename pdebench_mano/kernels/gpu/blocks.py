# ruff: noqa: RUF005 — this is Triton's language, a subset of Python
"""Triton kernels of attention in windows of m × m blocks of stride × stride points, on grids of whole blocks.

A program holds a few blocks of queries and one head. All points of a block lie in the same windows, so a
score is computed once for all windows that share it, and what windows change is one factor per query and
neighbour block (see `pdebench_mano.kernels.neighbours`). Backward there is a kernel by queries, which
leaves that factor and the mean slopes in `stats`, and one by keys: no atomics.
"""

from typing import no_type_check

import triton
import triton.language as tl

from pdebench_mano.kernels.gpu.tiles import LOG2E, dot, dot_t, entry, exp2, load, reciprocal, store


@triton.jit
@no_type_check
def _blocks(tiles, STRIDE: tl.constexpr, HIGH: tl.constexpr, WIDE: tl.constexpr, HEADS: tl.constexpr):
    """This program's blocks (i, j), the grid of blocks, its width in points, and the rows of the points."""
    base, height, width, top, left = entry(tiles, HEADS)
    block = tl.arange(0, HIGH * WIDE)
    point = tl.arange(0, STRIDE * STRIDE)[None, :]
    i, j = top // STRIDE + block // WIDE, left // STRIDE + block % WIDE
    row = base + (i[:, None] * STRIDE + point // STRIDE) * width + j[:, None] * STRIDE + point % STRIDE
    return i, j, height // STRIDE, width // STRIDE, width, row


@triton.jit
@no_type_check
def _on_grid(i, j, rows, columns, STRIDE: tl.constexpr):
    mask = (i >= 0) & (i < rows) & (j >= 0) & (j < columns)
    return mask[:, None] & (tl.arange(0, STRIDE * STRIDE)[None, :] >= 0)


@triton.jit
@no_type_check
def _number(i, blocks, M: tl.constexpr):
    """How many windows hold a block."""
    return tl.maximum(tl.minimum(i, blocks - M) - tl.maximum(i - M + 1, 0) + 1, 1)


@triton.jit
@no_type_check
def _merge(tops, totals, slopes, i, j, rows, columns, M: tl.constexpr):
    """For every neighbour block: its factor F, and the same with each window weighted by its mean slope.

    tops, totals, slopes: of a query's scores in each block, the maximum (in units of log 2), the sum of
    exponentials relative to it, and that sum weighted by the slopes of the values.
    """
    N: tl.constexpr = 2 * M - 1
    share = 1.0 / (_number(i, rows, M) * _number(j, columns, M)).to(tl.float32)
    highest = ()
    shares = ()
    means = ()
    for u in tl.static_range(M):
        for v in tl.static_range(M):
            top = tops[(M - 1) * N + M - 1]
            for x in tl.static_range(M):
                for y in tl.static_range(M):
                    top = tl.maximum(top, tops[(x - u + M - 1) * N + y - v + M - 1])
            total = tl.zeros_like(top)
            slope = tl.zeros_like(top)
            for x in tl.static_range(M):
                for y in tl.static_range(M):
                    e = exp2(tops[(x - u + M - 1) * N + y - v + M - 1] - top)
                    total += e * totals[(x - u + M - 1) * N + y - v + M - 1]
                    slope += e * slopes[(x - u + M - 1) * N + y - v + M - 1]
            exists = (i >= u) & (i - u <= rows - M) & (j >= v) & (j - v <= columns - M)
            inverse = reciprocal(total)
            weight = tl.where(exists, share, 0.0)[:, None] * inverse
            highest = highest + (top,)
            shares = shares + (weight,)
            means = means + (weight * inverse * slope,)
    factors = ()
    offsets = ()
    for a in tl.static_range(1 - M, M):
        for b in tl.static_range(1 - M, M):
            factor = tl.zeros_like(tops[0])
            offset = tl.zeros_like(tops[0])
            for u in tl.static_range(M):
                for v in tl.static_range(M):
                    if a + u >= 0 and a + u < M and b + v >= 0 and b + v < M:
                        e = exp2(tops[(a + M - 1) * N + b + M - 1] - highest[u * M + v])
                        factor += e * shares[u * M + v]
                        offset += e * means[u * M + v]
            factors = factors + (factor,)
            offsets = offsets + (offset,)
    return factors, offsets


@triton.jit
@no_type_check
def forward(
    qkv, out, tiles, scale,
    INNER: tl.constexpr, D: tl.constexpr, BLOCK_D: tl.constexpr,
    STRIDE: tl.constexpr, M: tl.constexpr, HIGH: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    HEADS: tl.constexpr = INNER // D
    N: tl.constexpr = 2 * M - 1
    i, j, rows, columns, width, row = _blocks(tiles, STRIDE, HIGH, WIDE, HEADS)
    here = _on_grid(i, j, rows, columns, STRIDE)
    head = qkv + (tl.program_id(0) % HEADS) * D
    q = load(head, row, here, 3 * INNER, D, BLOCK_D)
    tops = ()
    totals = ()
    exponentials = ()
    for a in tl.static_range(1 - M, M):
        for b in tl.static_range(1 - M, M):
            there = _on_grid(i + a, j + b, rows, columns, STRIDE)
            k = load(head + INNER, row + (a * width + b) * STRIDE, there, 3 * INNER, D, BLOCK_D)
            s = dot_t(q, k) * (scale * LOG2E)
            top = tl.max(s, 2)
            e = exp2(s - top[:, :, None])
            tops = tops + (top,)
            totals = totals + (tl.sum(e, 2),)
            exponentials = exponentials + (e.to(q.dtype),)
    factors, _offsets = _merge(tops, totals, totals, i, j, rows, columns, M)
    y = tl.zeros((HIGH * WIDE, STRIDE * STRIDE, BLOCK_D), tl.float32)
    for a in tl.static_range(1 - M, M):
        for b in tl.static_range(1 - M, M):
            there = _on_grid(i + a, j + b, rows, columns, STRIDE)
            v = load(head + 2 * INNER, row + (a * width + b) * STRIDE, there, 3 * INNER, D, BLOCK_D)
            y += factors[(a + M - 1) * N + b + M - 1][:, :, None] * dot(exponentials[(a + M - 1) * N + b + M - 1], v)
    store(out + (tl.program_id(0) % HEADS) * D, row, here, INNER, y, D, BLOCK_D)


@triton.jit
@no_type_check
def backward_queries(
    qkv, g, dqkv, out, stats, tiles, rows_in_all, scale,
    INNER: tl.constexpr, D: tl.constexpr, BLOCK_D: tl.constexpr,
    STRIDE: tl.constexpr, M: tl.constexpr, HIGH: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    HEADS: tl.constexpr = INNER // D
    N: tl.constexpr = 2 * M - 1
    i, j, rows, columns, width, row = _blocks(tiles, STRIDE, HIGH, WIDE, HEADS)
    here = _on_grid(i, j, rows, columns, STRIDE)
    head = qkv + (tl.program_id(0) % HEADS) * D
    q = load(head, row, here, 3 * INNER, D, BLOCK_D)
    dy = load(g + (tl.program_id(0) % HEADS) * D, row, here, INNER, D, BLOCK_D)
    tops = ()
    totals = ()
    slopes = ()
    exponentials = ()
    for a in tl.static_range(1 - M, M):
        for b in tl.static_range(1 - M, M):
            there = _on_grid(i + a, j + b, rows, columns, STRIDE)
            k = load(head + INNER, row + (a * width + b) * STRIDE, there, 3 * INNER, D, BLOCK_D)
            v = load(head + 2 * INNER, row + (a * width + b) * STRIDE, there, 3 * INNER, D, BLOCK_D)
            s = dot_t(q, k) * (scale * LOG2E)
            top = tl.max(s, 2)
            e = exp2(s - top[:, :, None])
            tops = tops + (top,)
            totals = totals + (tl.sum(e, 2),)
            slopes = slopes + (tl.sum(e * dot_t(dy, v), 2),)
            exponentials = exponentials + (e.to(q.dtype),)
    factors, offsets = _merge(tops, totals, slopes, i, j, rows, columns, M)
    y = tl.zeros((HIGH * WIDE, STRIDE * STRIDE, BLOCK_D), tl.float32)
    dq = tl.zeros((HIGH * WIDE, STRIDE * STRIDE, BLOCK_D), tl.float32)
    for a in tl.static_range(1 - M, M):
        for b in tl.static_range(1 - M, M):
            there = _on_grid(i + a, j + b, rows, columns, STRIDE)
            k = load(head + INNER, row + (a * width + b) * STRIDE, there, 3 * INNER, D, BLOCK_D)
            v = load(head + 2 * INNER, row + (a * width + b) * STRIDE, there, 3 * INNER, D, BLOCK_D)
            factor = factors[(a + M - 1) * N + b + M - 1]
            offset = offsets[(a + M - 1) * N + b + M - 1]
            e = exponentials[(a + M - 1) * N + b + M - 1]
            y += factor[:, :, None] * dot(e, v)
            d_score = e.to(tl.float32) * (factor[:, :, None] * dot_t(dy, v) - offset[:, :, None])
            dq += dot(d_score.to(k.dtype), k)
            plane = 2 * ((a + M - 1) * N + b + M - 1) * HEADS + (tl.program_id(0) % HEADS)
            stat = stats + plane.to(tl.int64) * rows_in_all + row
            tl.store(stat, tops[(a + M - 1) * N + b + M - 1] - tl.log2(factor), mask=here)
            tl.store(stat + HEADS * rows_in_all, tl.where(factor > 0, offset * reciprocal(factor), 0.0), mask=here)
    store(dqkv + (tl.program_id(0) % HEADS) * D, row, here, 3 * INNER, dq * scale, D, BLOCK_D)
    store(out + (tl.program_id(0) % HEADS) * D, row, here, INNER, y, D, BLOCK_D)


@triton.jit
@no_type_check
def backward_keys(
    qkv, g, dqkv, stats, tiles, rows_in_all, scale,
    INNER: tl.constexpr, D: tl.constexpr, BLOCK_D: tl.constexpr,
    STRIDE: tl.constexpr, M: tl.constexpr, HIGH: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    HEADS: tl.constexpr = INNER // D
    N: tl.constexpr = 2 * M - 1
    i, j, rows, columns, width, row = _blocks(tiles, STRIDE, HIGH, WIDE, HEADS)
    here = _on_grid(i, j, rows, columns, STRIDE)
    head = qkv + (tl.program_id(0) % HEADS) * D
    k = load(head + INNER, row, here, 3 * INNER, D, BLOCK_D)
    v = load(head + 2 * INNER, row, here, 3 * INNER, D, BLOCK_D)
    dk = tl.zeros((HIGH * WIDE, STRIDE * STRIDE, BLOCK_D), tl.float32)
    dv = tl.zeros((HIGH * WIDE, STRIDE * STRIDE, BLOCK_D), tl.float32)
    for a in tl.static_range(1 - M, M):
        for b in tl.static_range(1 - M, M):
            query = row - (a * width + b) * STRIDE
            there = _on_grid(i - a, j - b, rows, columns, STRIDE)
            q = load(head, query, there, 3 * INNER, D, BLOCK_D)
            dy = load(g + (tl.program_id(0) % HEADS) * D, query, there, INNER, D, BLOCK_D)
            plane = 2 * ((a + M - 1) * N + b + M - 1) * HEADS + (tl.program_id(0) % HEADS)
            stat = stats + plane.to(tl.int64) * rows_in_all + query
            lse = tl.load(stat, mask=there, other=float("inf"))
            mean = tl.load(stat + HEADS * rows_in_all, mask=there, other=0.0)
            p = exp2(dot_t(k, q) * (scale * LOG2E) - lse[:, None, :])
            dv += dot(p.to(dy.dtype), dy)
            dk += dot((p * (dot_t(v, dy) - mean[:, None, :])).to(q.dtype), q)
    store(dqkv + INNER + (tl.program_id(0) % HEADS) * D, row, here, 3 * INNER, dk * scale, D, BLOCK_D)
    store(dqkv + 2 * INNER + (tl.program_id(0) % HEADS) * D, row, here, 3 * INNER, dv, D, BLOCK_D)
