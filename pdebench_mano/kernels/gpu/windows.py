"""Triton kernels of window attention of any stride: a tile of points and one head a program.

Forward, every window that meets the tile is attended by the tile's queries, and those that lie in it
keep the result. Backward, the same by queries, which leaves each window's log-sum-exp and mean slope
of a query in `stats`; then by keys, which meet the queries of their windows. No atomics, and nothing
a window holds is ever copied to memory.
"""

from typing import no_type_check

import triton
import triton.language as tl

from pdebench_mano.kernels.gpu.tiles import LOG2E, count, dot, entry, exp2, load, reciprocal, store


@triton.jit
@no_type_check
def _range(first, points, SIDE: tl.constexpr, WINDOW: tl.constexpr, STRIDE: tl.constexpr):
    """First and past-the-last window, along one axis, that meet the tile starting at `first`."""
    start, _ = count(first, points, WINDOW, STRIDE)
    last, number = count(tl.minimum(first + SIDE, points) - 1, points, WINDOW, STRIDE)
    return start, last + number


@triton.jit
@no_type_check
def _points(tiles, HIGH: tl.constexpr, WIDE: tl.constexpr, HEADS: tl.constexpr):
    base, height, width, top, left = entry(tiles, HEADS)
    point = tl.arange(0, HIGH * WIDE)
    i, j = top + point // WIDE, left + point % WIDE
    return i, j, height, width, base, base + i * width + j, top, left


@triton.jit
@no_type_check
def _inside(i, j, top, left, WINDOW: tl.constexpr):
    return (i >= top) & (i < top + WINDOW) & (j >= left) & (j < left + WINDOW)


@triton.jit
@no_type_check
def forward(
    qkv, out, tiles, scale,
    INNER: tl.constexpr, D: tl.constexpr, BLOCK_D: tl.constexpr,
    WINDOW: tl.constexpr, STRIDE: tl.constexpr, MEMBERS: tl.constexpr, HIGH: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    HEADS: tl.constexpr = INNER // D
    i, j, height, width, base, row, tile_top, tile_left = _points(tiles, HIGH, WIDE, HEADS)
    here = (i < height) & (j < width)
    head = qkv + (tl.program_id(0) % HEADS) * D
    q = load(head, row, here, 3 * INNER, D, BLOCK_D)
    _, row_count = count(i, height, WINDOW, STRIDE)
    _, column_count = count(j, width, WINDOW, STRIDE)
    share = 1.0 / (row_count * column_count).to(tl.float32)
    member = tl.arange(0, MEMBERS)
    exists = member < WINDOW * WINDOW
    first_row, last_row = _range(tile_top, height, HIGH, WINDOW, STRIDE)
    first_column, last_column = _range(tile_left, width, WIDE, WINDOW, STRIDE)
    y = tl.zeros((HIGH * WIDE, BLOCK_D), tl.float32)
    columns = last_column - first_column
    for window in range((last_row - first_row) * columns):
        window_row, window_column = first_row + window // columns, first_column + window % columns
        top = tl.minimum(window_row * STRIDE, height - WINDOW)
        left = tl.minimum(window_column * STRIDE, width - WINDOW)
        other = base + (top + member // WINDOW) * width + left + member % WINDOW
        k = load(head + INNER, other, exists, 3 * INNER, D, BLOCK_D)
        v = load(head + 2 * INNER, other, exists, 3 * INNER, D, BLOCK_D)
        s = tl.where(exists[None, :], dot(q, tl.trans(k)) * (scale * LOG2E), float("-inf"))
        p = exp2(s - tl.max(s, 1)[:, None])
        weight = tl.where(_inside(i, j, top, left, WINDOW), share * reciprocal(tl.sum(p, 1)), 0.0)
        y += dot(p.to(v.dtype), v) * weight[:, None]
    store(out + (tl.program_id(0) % HEADS) * D, row, here, INNER, y, D, BLOCK_D)


@triton.jit
@no_type_check
def backward_queries(
    qkv, g, dqkv, out, stats, tiles, rows, scale,
    INNER: tl.constexpr, D: tl.constexpr, BLOCK_D: tl.constexpr,
    WINDOW: tl.constexpr, STRIDE: tl.constexpr, MEMBERS: tl.constexpr, HIGH: tl.constexpr, WIDE: tl.constexpr,
    SLOTS: tl.constexpr,
):  # fmt: skip
    HEADS: tl.constexpr = INNER // D
    i, j, height, width, base, row, tile_top, tile_left = _points(tiles, HIGH, WIDE, HEADS)
    here = (i < height) & (j < width)
    head = qkv + (tl.program_id(0) % HEADS) * D
    q = load(head, row, here, 3 * INNER, D, BLOCK_D)
    dy = load(g + (tl.program_id(0) % HEADS) * D, row, here, INNER, D, BLOCK_D)
    own_row, row_count = count(i, height, WINDOW, STRIDE)
    own_column, column_count = count(j, width, WINDOW, STRIDE)
    share = 1.0 / (row_count * column_count).to(tl.float32)
    member = tl.arange(0, MEMBERS)
    exists = member < WINDOW * WINDOW
    first_row, last_row = _range(tile_top, height, HIGH, WINDOW, STRIDE)
    first_column, last_column = _range(tile_left, width, WIDE, WINDOW, STRIDE)
    y = tl.zeros((HIGH * WIDE, BLOCK_D), tl.float32)
    dq = tl.zeros((HIGH * WIDE, BLOCK_D), tl.float32)
    columns = last_column - first_column
    for window in range((last_row - first_row) * columns):
        window_row, window_column = first_row + window // columns, first_column + window % columns
        top = tl.minimum(window_row * STRIDE, height - WINDOW)
        left = tl.minimum(window_column * STRIDE, width - WINDOW)
        other = base + (top + member // WINDOW) * width + left + member % WINDOW
        k = load(head + INNER, other, exists, 3 * INNER, D, BLOCK_D)
        v = load(head + 2 * INNER, other, exists, 3 * INNER, D, BLOCK_D)
        s = tl.where(exists[None, :], dot(q, tl.trans(k)) * (scale * LOG2E), float("-inf"))
        highest = tl.max(s, 1)
        p = exp2(s - highest[:, None])
        total = tl.sum(p, 1)
        inside = here & _inside(i, j, top, left, WINDOW)
        inverse = reciprocal(total)
        weight = tl.where(inside, share * inverse, 0.0)
        slope = dot(dy, tl.trans(v))
        mean = tl.sum(p * slope, 1) * inverse
        y += dot(p.to(v.dtype), v) * weight[:, None]
        dq += dot((p * (slope - mean[:, None])).to(k.dtype), k) * weight[:, None]
        slot = (window_row - own_row) * SLOTS + window_column - own_column
        stat = stats + (slot * 2 * HEADS + (tl.program_id(0) % HEADS)).to(tl.int64) * rows + row
        tl.store(stat, highest + tl.log2(total / share), mask=inside)
        tl.store(stat + HEADS * rows, mean, mask=inside)
    store(dqkv + (tl.program_id(0) % HEADS) * D, row, here, 3 * INNER, dq * scale, D, BLOCK_D)
    store(out + (tl.program_id(0) % HEADS) * D, row, here, INNER, y, D, BLOCK_D)


@triton.jit
@no_type_check
def backward_keys(
    qkv, g, dqkv, stats, tiles, rows, scale,
    INNER: tl.constexpr, D: tl.constexpr, BLOCK_D: tl.constexpr,
    WINDOW: tl.constexpr, STRIDE: tl.constexpr, MEMBERS: tl.constexpr, HIGH: tl.constexpr, WIDE: tl.constexpr,
    SLOTS: tl.constexpr,
):  # fmt: skip
    HEADS: tl.constexpr = INNER // D
    i, j, height, width, base, row, tile_top, tile_left = _points(tiles, HIGH, WIDE, HEADS)
    here = (i < height) & (j < width)
    head = qkv + (tl.program_id(0) % HEADS) * D
    k = load(head + INNER, row, here, 3 * INNER, D, BLOCK_D)
    v = load(head + 2 * INNER, row, here, 3 * INNER, D, BLOCK_D)
    member = tl.arange(0, MEMBERS)
    exists = member < WINDOW * WINDOW
    first_row, last_row = _range(tile_top, height, HIGH, WINDOW, STRIDE)
    first_column, last_column = _range(tile_left, width, WIDE, WINDOW, STRIDE)
    dk = tl.zeros((HIGH * WIDE, BLOCK_D), tl.float32)
    dv = tl.zeros((HIGH * WIDE, BLOCK_D), tl.float32)
    columns = last_column - first_column
    for window in range((last_row - first_row) * columns):
        window_row, window_column = first_row + window // columns, first_column + window % columns
        top = tl.minimum(window_row * STRIDE, height - WINDOW)
        query_row, _ = count(top + member // WINDOW, height, WINDOW, STRIDE)
        left = tl.minimum(window_column * STRIDE, width - WINDOW)
        query_column, _ = count(left + member % WINDOW, width, WINDOW, STRIDE)
        query = base + (top + member // WINDOW) * width + left + member % WINDOW
        q = load(head, query, exists, 3 * INNER, D, BLOCK_D)
        dy = load(g + (tl.program_id(0) % HEADS) * D, query, exists, INNER, D, BLOCK_D)
        slot = (window_row - query_row) * SLOTS + window_column - query_column
        stat = stats + (slot * 2 * HEADS + (tl.program_id(0) % HEADS)).to(tl.int64) * rows + query
        lse = tl.load(stat, mask=exists, other=float("inf"))
        mean = tl.load(stat + HEADS * rows, mask=exists, other=0.0)
        p = exp2(dot(k, tl.trans(q)) * (scale * LOG2E) - lse[None, :])
        p = tl.where(_inside(i, j, top, left, WINDOW)[:, None], p, 0.0)
        dv += dot(p.to(dy.dtype), dy)
        dk += dot((p * (dot(v, tl.trans(dy)) - mean[None, :])).to(q.dtype), q)
    store(dqkv + INNER + (tl.program_id(0) % HEADS) * D, row, here, 3 * INNER, dk * scale, D, BLOCK_D)
    store(dqkv + 2 * INNER + (tl.program_id(0) % HEADS) * D, row, here, 3 * INNER, dv, D, BLOCK_D)
