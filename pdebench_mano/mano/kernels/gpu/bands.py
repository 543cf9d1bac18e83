# ruff: noqa: RUF005 — this is Triton's language, a subset of Python
"""Triton kernels of attention in 2 × 2 windows at every point.

A program holds 16 columns of a row of the grid, and one head. The scores of these queries with the row
above, their own and the row below are three 16 × 16 matrix products, of which the three middle
diagonals count; the outermost columns only serve their neighbours. Windows combine these nine
scores of a point on chip (see `pdebench_mano.mano.kernels.neighbours`). Backward there is a kernel by
queries, which leaves the nine weights and score gradients in `pairs`, and one by keys, which collects
them: no atomics. All loads of a program stand before its first product, so that it waits once for memory.
What is needed transposed is loaded transposed too: transposing on chip would wait between the loads.
"""

from typing import no_type_check

import triton
import triton.language as tl

from pdebench_mano.mano.kernels.gpu.tiles import LOG2E, count, dot, entry, exp2, load, reciprocal, store

COLUMNS = tl.constexpr(16)


@triton.jit
@no_type_check
def _points(tiles, HEADS: tl.constexpr):
    base, height, width, top, left, _ = entry(tiles, HEADS)
    j = left - 1 + tl.arange(0, COLUMNS)
    i = top + tl.zeros_like(j)
    return i, j, height, width, base + i * width + j


@triton.jit
@no_type_check
def _on_grid(i, j, height, width):
    return (i >= 0) & (i < height) & (j >= 0) & (j < width)


@triton.jit
@no_type_check
def _inner(i, j, height, width):
    column = tl.arange(0, COLUMNS)
    return _on_grid(i, j, height, width) & (column > 0) & (column < COLUMNS - 1)


@triton.jit
@no_type_check
def _band(b: tl.constexpr):
    """Where a key's column is b to the right of a query's."""
    query, key = tl.arange(0, COLUMNS)[:, None], tl.arange(0, COLUMNS)[None, :]
    return key == query + b


@triton.jit
@no_type_check
def _diagonals(matrix):
    """The three middle diagonals, by queries."""
    return (
        tl.sum(tl.where(_band(-1), matrix, 0.0), 1),
        tl.sum(tl.where(_band(0), matrix, 0.0), 1),
        tl.sum(tl.where(_band(1), matrix, 0.0), 1),
    )


@triton.jit
@no_type_check
def _matrix(left, middle, right, TRANSPOSE: tl.constexpr):
    """The matrix of these diagonals, queries by keys or, TRANSPOSE, keys by queries."""
    if TRANSPOSE:
        m = tl.where(_band(1), left[None, :], 0.0)
        m = tl.where(_band(0), middle[None, :], m)
        m = tl.where(_band(-1), right[None, :], m)
    else:
        m = tl.where(_band(-1), left[:, None], 0.0)
        m = tl.where(_band(0), middle[:, None], m)
        m = tl.where(_band(1), right[:, None], m)
    return m


@triton.jit
@no_type_check
def _softmaxes(scores, i, j, height, width):
    """Of the four windows that may hold a point: the exponentials of their scores, 1/sum, and share in the mean.

    Scores are in units of log 2. Every window has its own maximum, so none underflows.
    """
    _, row_count = count(i, height, 2, 1)
    _, column_count = count(j, width, 2, 1)
    share = 1.0 / (row_count * column_count).to(tl.float32)
    exponentials = ()
    inverses = ()
    shares = ()
    for u in tl.static_range(2):
        for v in tl.static_range(2):
            first = scores[3 * (1 - u) + 1 - v]
            second = scores[3 * (1 - u) + 2 - v]
            third = scores[3 * (2 - u) + 1 - v]
            fourth = scores[3 * (2 - u) + 2 - v]
            top = tl.maximum(tl.maximum(first, second), tl.maximum(third, fourth))
            first = exp2(first - top)
            second = exp2(second - top)
            third = exp2(third - top)
            fourth = exp2(fourth - top)
            exponentials = exponentials + (first, second, third, fourth)
            inverses = inverses + (reciprocal(first + second + third + fourth),)
            exists = (i >= u) & (i - u <= height - 2) & (j >= v) & (j - v <= width - 2)
            shares = shares + (tl.where(exists, share, 0.0),)
    return exponentials, inverses, shares


@triton.jit
@no_type_check
def _average(exponentials, factors, a: tl.constexpr, b: tl.constexpr):
    """Σ over the windows of factor · exponential of the neighbour at (a, b)."""
    total = tl.zeros_like(factors[0])
    for u in tl.static_range(2):
        for v in tl.static_range(2):
            if a + u >= 0 and a + u < 2 and b + v >= 0 and b + v < 2:
                total += factors[2 * u + v] * exponentials[4 * (2 * u + v) + 2 * (a + u) + b + v]
    return total


@triton.jit
@no_type_check
def _neighbours(source, i, j, height, width, row, stride: tl.constexpr, D: tl.constexpr, BLOCK_D: tl.constexpr):
    """The rows above, here and below."""
    rows = ()
    for a in tl.static_range(-1, 2):
        rows = rows + (load(source, row + a * width, _on_grid(i + a, j, height, width), stride, D, BLOCK_D),)
    return rows


@triton.jit
@no_type_check
def _columns(source, i, j, height, width, row, stride: tl.constexpr, D: tl.constexpr, BLOCK_D: tl.constexpr):
    """The rows above, here and below, as columns."""
    channel = tl.arange(0, BLOCK_D)[:, None]
    columns = ()
    for a in tl.static_range(-1, 2):
        place = source + (row + a * width)[None, :] * stride + channel
        exists = _on_grid(i + a, j, height, width)[None, :] & (channel < D)
        columns = columns + (tl.load(place, mask=exists, other=0.0),)
    return columns


@triton.jit
@no_type_check
def forward(
    qkv, out, tiles, scale, INNER: tl.constexpr, D: tl.constexpr, BLOCK_D: tl.constexpr
):  # fmt: skip
    HEADS: tl.constexpr = INNER // D
    i, j, height, width, row = _points(tiles, HEADS)
    head = qkv + (tl.program_id(0) % HEADS) * D
    q = load(head, row, _on_grid(i, j, height, width), 3 * INNER, D, BLOCK_D)
    keys = _columns(head + INNER, i, j, height, width, row, 3 * INNER, D, BLOCK_D)
    values = _neighbours(head + 2 * INNER, i, j, height, width, row, 3 * INNER, D, BLOCK_D)
    scores = ()
    for a in tl.static_range(3):
        left, middle, right = _diagonals(dot(q, keys[a]))
        scores = scores + (left * (scale * LOG2E), middle * (scale * LOG2E), right * (scale * LOG2E))
    exponentials, inverses, shares = _softmaxes(scores, i, j, height, width)
    factors = ()
    for w in tl.static_range(4):
        factors = factors + (shares[w] * inverses[w],)
    y = tl.zeros((COLUMNS, BLOCK_D), tl.float32)
    for a in tl.static_range(3):
        left = _average(exponentials, factors, a - 1, -1)
        middle = _average(exponentials, factors, a - 1, 0)
        right = _average(exponentials, factors, a - 1, 1)
        y += dot(_matrix(left, middle, right, False).to(q.dtype), values[a])
    store(out + (tl.program_id(0) % HEADS) * D, row, _inner(i, j, height, width), INNER, y, D, BLOCK_D)


@triton.jit
@no_type_check
def backward_queries(
    qkv, g, dqkv, out, pairs, rows, tiles, scale,
    INNER: tl.constexpr, D: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    HEADS: tl.constexpr = INNER // D
    i, j, height, width, row = _points(tiles, HEADS)
    here = _on_grid(i, j, height, width)
    head = qkv + (tl.program_id(0) % HEADS) * D
    q = load(head, row, here, 3 * INNER, D, BLOCK_D)
    dy = load(g + (tl.program_id(0) % HEADS) * D, row, here, INNER, D, BLOCK_D)
    key_columns = _columns(head + INNER, i, j, height, width, row, 3 * INNER, D, BLOCK_D)
    value_columns = _columns(head + 2 * INNER, i, j, height, width, row, 3 * INNER, D, BLOCK_D)
    keys = _neighbours(head + INNER, i, j, height, width, row, 3 * INNER, D, BLOCK_D)
    values = _neighbours(head + 2 * INNER, i, j, height, width, row, 3 * INNER, D, BLOCK_D)
    scores = ()
    slopes = ()
    for a in tl.static_range(3):
        left, middle, right = _diagonals(dot(q, key_columns[a]))
        scores = scores + (left * (scale * LOG2E), middle * (scale * LOG2E), right * (scale * LOG2E))
        left, middle, right = _diagonals(dot(dy, value_columns[a]))
        slopes = slopes + (left, middle, right)
    exponentials, inverses, shares = _softmaxes(scores, i, j, height, width)
    factors = ()
    means = ()
    for u in tl.static_range(2):
        for v in tl.static_range(2):
            total = exponentials[4 * (2 * u + v)] * slopes[3 * (1 - u) + 1 - v]
            total += exponentials[4 * (2 * u + v) + 1] * slopes[3 * (1 - u) + 2 - v]
            total += exponentials[4 * (2 * u + v) + 2] * slopes[3 * (2 - u) + 1 - v]
            total += exponentials[4 * (2 * u + v) + 3] * slopes[3 * (2 - u) + 2 - v]
            factors = factors + (shares[2 * u + v] * inverses[2 * u + v],)
            means = means + (shares[2 * u + v] * inverses[2 * u + v] * inverses[2 * u + v] * total,)
    dq = tl.zeros((COLUMNS, BLOCK_D), tl.float32)
    y = tl.zeros((COLUMNS, BLOCK_D), tl.float32)
    inner = _inner(i, j, height, width)
    for a in tl.static_range(-1, 2):
        weights = ()
        d_scores = ()
        for b in tl.static_range(-1, 2):
            weight = _average(exponentials, factors, a, b)
            d_score = (weight * slopes[3 * (a + 1) + b + 1] - _average(exponentials, means, a, b)) * scale
            pair = pairs + (2 * (3 * (a + 1) + b + 1) * HEADS + (tl.program_id(0) % HEADS)).to(tl.int64) * rows + row
            tl.store(pair, weight.to(pairs.dtype.element_ty), mask=inner)
            tl.store(pair + HEADS * rows, d_score.to(pairs.dtype.element_ty), mask=inner)
            weights = weights + (weight,)
            d_scores = d_scores + (d_score,)
        y += dot(_matrix(weights[0], weights[1], weights[2], False).to(q.dtype), values[a + 1])
        dq += dot(_matrix(d_scores[0], d_scores[1], d_scores[2], False).to(q.dtype), keys[a + 1])
    store(dqkv + (tl.program_id(0) % HEADS) * D, row, inner, 3 * INNER, dq, D, BLOCK_D)
    store(out + (tl.program_id(0) % HEADS) * D, row, inner, INNER, y, D, BLOCK_D)


@triton.jit
@no_type_check
def backward_keys(
    qkv, g, dqkv, pairs, rows, tiles, scale,
    INNER: tl.constexpr, D: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    HEADS: tl.constexpr = INNER // D
    i, j, height, width, row = _points(tiles, HEADS)
    inner = _inner(i, j, height, width)
    head = (tl.program_id(0) % HEADS) * D
    queries = _neighbours(qkv + head, i, j, height, width, row, 3 * INNER, D, BLOCK_D)
    gradients = _neighbours(g + head, i, j, height, width, row, INNER, D, BLOCK_D)
    weights = ()
    d_scores = ()
    for a in tl.static_range(-1, 2):
        there = _on_grid(i - a, j, height, width)
        for b in tl.static_range(-1, 2):
            pair = pairs + (2 * (3 * (a + 1) + b + 1) * HEADS + (tl.program_id(0) % HEADS)).to(tl.int64) * rows
            weights = weights + (tl.load(pair + row - a * width, mask=there, other=0.0),)
            d_scores = d_scores + (tl.load(pair + HEADS * rows + row - a * width, mask=there, other=0.0),)
    dk = tl.zeros((COLUMNS, BLOCK_D), tl.float32)
    dv = tl.zeros((COLUMNS, BLOCK_D), tl.float32)
    for a in tl.static_range(3):
        q = queries[2 - a]
        weight = _matrix(weights[3 * a], weights[3 * a + 1], weights[3 * a + 2], True)
        d_score = _matrix(d_scores[3 * a], d_scores[3 * a + 1], d_scores[3 * a + 2], True)
        dv += dot(weight.to(q.dtype), gradients[2 - a])
        dk += dot(d_score.to(q.dtype), q)
    store(dqkv + INNER + (tl.program_id(0) % HEADS) * D, row, inner, 3 * INNER, dk, D, BLOCK_D)
    store(dqkv + 2 * INNER + (tl.program_id(0) % HEADS) * D, row, inner, 3 * INNER, dv, D, BLOCK_D)
