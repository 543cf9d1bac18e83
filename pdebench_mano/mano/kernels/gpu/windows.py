"""Triton kernels of window attention of any stride: a tile of points and one head a program.

Forward, every window that meets the tile is attended by the tile's queries, and those that lie in it
keep the result. Backward, the same by queries, which leaves the log-sum-exp and the mean slope of every
query of every window in `stats`; then by keys, which meet the queries of their windows. No atomics, and
nothing a window holds is ever copied to memory.
"""

from typing import no_type_check

import triton
import triton.language as tl

from pdebench_mano.mano.kernels.gpu.tiles import LOG2E, count, dot, entry, exp2, load, log2, reciprocal, store


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
    base, height, width, top, left, window = entry(tiles, HEADS)
    point = tl.arange(0, HIGH * WIDE)
    i, j = top + point // WIDE, left + point % WIDE
    return i, j, height, width, base, base + i * width + j, top, left, window


@triton.jit
@no_type_check
def _windows(
    tile_top,
    tile_left,
    height,
    width,
    HIGH: tl.constexpr,
    WIDE: tl.constexpr,
    WINDOW: tl.constexpr,
    STRIDE: tl.constexpr,
):
    """Of the windows that meet the tile: row and column of the first, how many a row has, and how many there are."""
    first_row, last_row = _range(tile_top, height, HIGH, WINDOW, STRIDE)
    first_column, last_column = _range(tile_left, width, WIDE, WINDOW, STRIDE)
    columns = last_column - first_column
    return first_row, first_column, columns, (last_row - first_row) * columns


@triton.jit
@no_type_check
def _place(row, column, height, width, WINDOW: tl.constexpr, STRIDE: tl.constexpr):
    """First point of a window, and its number among the image's."""
    top = tl.minimum(row * STRIDE, height - WINDOW)
    left = tl.minimum(column * STRIDE, width - WINDOW)
    return top, left, row * (tl.cdiv(width - WINDOW, STRIDE) + 1) + column


@triton.jit
@no_type_check
def _members(source, width, stride, WINDOW: tl.constexpr, MEMBERS: tl.constexpr, BLOCK_D: tl.constexpr):
    """Where the heads of a window's members are, if its first point's is at `source`."""
    member = tl.arange(0, MEMBERS)
    row = (member // WINDOW) * width + member % WINDOW
    return source + row[:, None] * stride + tl.arange(0, BLOCK_D)[None, :]


@triton.jit
@no_type_check
def _load(place, WINDOW: tl.constexpr, MEMBERS: tl.constexpr, D: tl.constexpr, BLOCK_D: tl.constexpr):
    if (MEMBERS == WINDOW * WINDOW) & (D == BLOCK_D):
        return tl.load(place)
    exists = (tl.arange(0, MEMBERS) < WINDOW * WINDOW)[:, None] & (tl.arange(0, BLOCK_D) < D)[None, :]
    return tl.load(place, mask=exists, other=0.0)


@triton.jit
@no_type_check
def _scores(q, k, WINDOW: tl.constexpr, MEMBERS: tl.constexpr):
    s = dot(q, tl.trans(k))
    if MEMBERS > WINDOW * WINDOW:
        s = tl.where((tl.arange(0, MEMBERS) < WINDOW * WINDOW)[None, :], s, float("-inf"))
    return s


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
    i, j, height, width, base, row, tile_top, tile_left, _first_window = _points(tiles, HIGH, WIDE, HEADS)
    here = (i < height) & (j < width)
    head = qkv + (tl.program_id(0) % HEADS) * D
    q = load(head, row, here, 3 * INNER, D, BLOCK_D)
    _, row_count = count(i, height, WINDOW, STRIDE)
    _, column_count = count(j, width, WINDOW, STRIDE)
    share = 1.0 / (row_count * column_count).to(tl.float32)
    keys = _members(head + INNER + base * (3 * INNER), width, 3 * INNER, WINDOW, MEMBERS, BLOCK_D)
    first_row, first_column, columns, windows = _windows(tile_top, tile_left, height, width, HIGH, WIDE, WINDOW, STRIDE)
    y = tl.zeros((HIGH * WIDE, BLOCK_D), tl.float32)
    for window in range(windows):
        top, left, _index = _place(
            first_row + window // columns, first_column + window % columns, height, width, WINDOW, STRIDE
        )
        place = keys + (top * width + left).to(tl.int64) * (3 * INNER)
        k = _load(place, WINDOW, MEMBERS, D, BLOCK_D)
        v = _load(place + INNER, WINDOW, MEMBERS, D, BLOCK_D)
        s = _scores(q, k, WINDOW, MEMBERS)
        p = exp2(s * (scale * LOG2E) - (tl.max(s, 1) * (scale * LOG2E))[:, None])
        weight = tl.where(_inside(i, j, top, left, WINDOW), share * reciprocal(tl.sum(p, 1)), 0.0)
        y += dot(p.to(v.dtype), v) * weight[:, None]
    store(out + (tl.program_id(0) % HEADS) * D, row, here, INNER, y, D, BLOCK_D)


@triton.jit
@no_type_check
def backward_queries(
    qkv, g, dqkv, out, stats, tiles, scale,
    INNER: tl.constexpr, D: tl.constexpr, BLOCK_D: tl.constexpr,
    WINDOW: tl.constexpr, STRIDE: tl.constexpr, MEMBERS: tl.constexpr, HIGH: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    HEADS: tl.constexpr = INNER // D
    i, j, height, width, base, row, tile_top, tile_left, first_window = _points(tiles, HIGH, WIDE, HEADS)
    here = (i < height) & (j < width)
    head = qkv + (tl.program_id(0) % HEADS) * D
    q = load(head, row, here, 3 * INNER, D, BLOCK_D)
    dy = load(g + (tl.program_id(0) % HEADS) * D, row, here, INNER, D, BLOCK_D)
    _, row_count = count(i, height, WINDOW, STRIDE)
    _, column_count = count(j, width, WINDOW, STRIDE)
    number = (row_count * column_count).to(tl.float32)
    share = 1.0 / number
    keys = _members(head + INNER + base * (3 * INNER), width, 3 * INNER, WINDOW, MEMBERS, BLOCK_D)
    stat = stats + (first_window * HEADS + tl.program_id(0) % HEADS) * (2 * MEMBERS) + i * WINDOW + j
    first_row, first_column, columns, windows = _windows(tile_top, tile_left, height, width, HIGH, WIDE, WINDOW, STRIDE)
    y = tl.zeros((HIGH * WIDE, BLOCK_D), tl.float32)
    dq = tl.zeros((HIGH * WIDE, BLOCK_D), tl.float32)
    for window in range(windows):
        top, left, index = _place(
            first_row + window // columns, first_column + window % columns, height, width, WINDOW, STRIDE
        )
        place = keys + (top * width + left).to(tl.int64) * (3 * INNER)
        k = _load(place, WINDOW, MEMBERS, D, BLOCK_D)
        v = _load(place + INNER, WINDOW, MEMBERS, D, BLOCK_D)
        s = _scores(q, k, WINDOW, MEMBERS)
        highest = tl.max(s, 1) * (scale * LOG2E)
        p = exp2(s * (scale * LOG2E) - highest[:, None])
        total = tl.sum(p, 1)
        inside = here & _inside(i, j, top, left, WINDOW)
        inverse = reciprocal(total)
        weight = tl.where(inside, share * inverse, 0.0)
        attended = dot(p.to(v.dtype), v)
        y += attended * weight[:, None]
        mean = tl.sum(attended * dy.to(tl.float32), 1) * inverse
        slope = dot(dy, tl.trans(v), tl.zeros((HIGH * WIDE, MEMBERS), tl.float32) - mean[:, None])
        dq += dot((p * slope).to(k.dtype), k) * weight[:, None]
        target = stat + (index.to(tl.int64) * (2 * HEADS * MEMBERS) - (top * WINDOW + left))
        tl.store(target, highest + log2(total * number), mask=inside)
        tl.store(target + MEMBERS, mean, mask=inside)
    store(dqkv + (tl.program_id(0) % HEADS) * D, row, here, 3 * INNER, dq * scale, D, BLOCK_D)
    store(out + (tl.program_id(0) % HEADS) * D, row, here, INNER, y, D, BLOCK_D)


@triton.jit
@no_type_check
def backward_keys(
    qkv, g, dqkv, stats, tiles, scale,
    INNER: tl.constexpr, D: tl.constexpr, BLOCK_D: tl.constexpr,
    WINDOW: tl.constexpr, STRIDE: tl.constexpr, MEMBERS: tl.constexpr, HIGH: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    HEADS: tl.constexpr = INNER // D
    i, j, height, width, base, row, tile_top, tile_left, first_window = _points(tiles, HIGH, WIDE, HEADS)
    here = (i < height) & (j < width)
    head = qkv + (tl.program_id(0) % HEADS) * D
    k = load(head + INNER, row, here, 3 * INNER, D, BLOCK_D)
    v = load(head + 2 * INNER, row, here, 3 * INNER, D, BLOCK_D)
    queries = _members(head + base * (3 * INNER), width, 3 * INNER, WINDOW, MEMBERS, BLOCK_D)
    gradients = g + (tl.program_id(0) % HEADS) * D + base * INNER
    gradients = _members(gradients, width, INNER, WINDOW, MEMBERS, BLOCK_D)
    member = tl.arange(0, MEMBERS)
    exists = member < WINDOW * WINDOW
    stat = stats + (first_window * HEADS + tl.program_id(0) % HEADS) * (2 * MEMBERS) + member
    first_row, first_column, columns, windows = _windows(tile_top, tile_left, height, width, HIGH, WIDE, WINDOW, STRIDE)
    dk = tl.zeros((HIGH * WIDE, BLOCK_D), tl.float32)
    dv = tl.zeros((HIGH * WIDE, BLOCK_D), tl.float32)
    for window in range(windows):
        top, left, index = _place(
            first_row + window // columns, first_column + window % columns, height, width, WINDOW, STRIDE
        )
        first = (top * width + left).to(tl.int64)
        q = _load(queries + first * (3 * INNER), WINDOW, MEMBERS, D, BLOCK_D)
        dy = _load(gradients + first * INNER, WINDOW, MEMBERS, D, BLOCK_D)
        source = stat + index.to(tl.int64) * (2 * HEADS * MEMBERS)
        lse = tl.load(source, mask=exists, other=float("inf"))
        mean = tl.load(source + MEMBERS, mask=exists, other=0.0)
        p = exp2(dot(k, tl.trans(q)) * (scale * LOG2E) - lse[None, :])
        p = tl.where(_inside(i, j, top, left, WINDOW)[:, None], p, 0.0)
        dv += dot(p.to(dy.dtype), dy)
        dk += dot((p * (dot(v, tl.trans(dy)) - mean[None, :])).to(q.dtype), q)
    store(dqkv + INNER + (tl.program_id(0) % HEADS) * D, row, here, 3 * INNER, dk * scale, D, BLOCK_D)
    store(dqkv + 2 * INNER + (tl.program_id(0) % HEADS) * D, row, here, 3 * INNER, dv, D, BLOCK_D)
