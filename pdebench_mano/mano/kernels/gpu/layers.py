"""Triton kernels of the layers around the attention: everything that acts point by point, and D and U.

Rows are grid points. A program holds a few rows in full, so a LayerNorm costs no pass over memory, and
hidden activations never leave the chip: the backward kernels compute them again. Sums over all rows
(gradients of parameters) are left as one partial sum per program, in a fixed order.

A convolution whose kernel is its stride is one matrix product per place (di, dj) of its window; the
kernels walk the coarse points, of which each has `rate`² fine ones.
"""

from typing import no_type_check

import triton
import triton.language as tl

from pdebench_mano.mano.kernels.gpu.tiles import dot, exp2, reciprocal

EPS = tl.constexpr(1e-5)


@triton.jit
@no_type_check
def _load(source, row, mask, COLUMNS: tl.constexpr):
    return tl.load(source + row[:, None] * COLUMNS + tl.arange(0, COLUMNS)[None, :], mask=mask[:, None], other=0.0)


@triton.jit
@no_type_check
def _load_again(source, row, mask, COLUMNS: tl.constexpr):
    """`_load` near the end of what began with it: in the same words, it would hold registers all along."""
    place = source + row[:, None] * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    return tl.load(place, mask=mask[:, None], other=0.0, eviction_policy="evict_first")


@triton.jit
@no_type_check
def _store(target, row, mask, value, COLUMNS: tl.constexpr):
    column = tl.arange(0, COLUMNS)[None, :]
    tl.store(target + row[:, None] * COLUMNS + column, value.to(target.dtype.element_ty), mask=mask[:, None])


@triton.jit
@no_type_check
def _matrix(source, first, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Rows first, first + 1, … of a matrix of COLUMNS columns."""
    return tl.load(source + (first + tl.arange(0, ROWS))[:, None] * COLUMNS + tl.arange(0, COLUMNS)[None, :])


@triton.jit
@no_type_check
def _normalise(x, C: tl.constexpr):
    """(x - mean)/σ and 1/σ of every row."""
    centred = x - (tl.sum(x, 1) * (1.0 / C))[:, None]
    inverse = tl.rsqrt(tl.sum(centred * centred, 1) * (1.0 / C) + EPS)
    return centred * inverse[:, None], inverse


@triton.jit
@no_type_check
def _normalise_backward(g, normal, inverse, C: tl.constexpr):
    mean = tl.sum(g, 1) * (1.0 / C)
    slope = tl.sum(g * normal, 1) * (1.0 / C)
    return (g - mean[:, None] - normal * slope[:, None]) * inverse[:, None]


@triton.jit
@no_type_check
def _affine(x, weight, bias, C: tl.constexpr):
    column = tl.arange(0, C)
    return x * tl.load(weight + column).to(tl.float32)[None, :] + tl.load(bias + column).to(tl.float32)[None, :]


@triton.jit
@no_type_check
def _places(coarse, points, coarse_height, coarse_width, height, width, RATE: tl.constexpr):
    """Coarse points, and the fine row and column each has at this program's place."""
    place = tl.program_id(0) % (RATE * RATE)
    image = coarse // (coarse_height * coarse_width)
    i = (coarse // coarse_width) % coarse_height * RATE + place // RATE
    j = coarse % coarse_width * RATE + place % RATE
    return image, i, j, (coarse < points) & (i < height) & (j < width)


@triton.jit
@no_type_check
def restrict(
    x, weight, out, points, coarse_height, coarse_width, height, width, scale,
    C: tl.constexpr, RATE: tl.constexpr, ROWS: tl.constexpr, ADJOINT: tl.constexpr,
):  # fmt: skip
    """Σ x[place] D[place] over places, x repeating its far edges; or the adjoint of U, scale Σ x[place] U[place]ᵀ."""
    coarse = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    image = coarse // (coarse_height * coarse_width)
    i = (coarse // coarse_width) % coarse_height * RATE
    j = coarse % coarse_width * RATE
    y = tl.zeros((ROWS, C), tl.float32)
    for place in range(RATE * RATE):
        fine_i, fine_j, mask = i + place // RATE, j + place % RATE, coarse < points
        matrix = _matrix(weight, place * C, C, C)
        if ADJOINT:
            mask = mask & (fine_i < height) & (fine_j < width)
            matrix = tl.trans(matrix)
        else:
            fine_i, fine_j = tl.minimum(fine_i, height - 1), tl.minimum(fine_j, width - 1)
        row = (image.to(tl.int64) * height + fine_i) * width + fine_j
        y += dot(_load(x, row, mask, C), matrix)
    _store(out, coarse.to(tl.int64), coarse < points, y * scale, C)


@triton.jit
@no_type_check
def prolong(
    y, weight, bias, coarse_z, up, onto, out, points, coarse_height, coarse_width, height, width, scale,
    C: tl.constexpr, INNER: tl.constexpr, RATE: tl.constexpr, ROWS: tl.constexpr,
    COARSE: tl.constexpr, ONTO: tl.constexpr,
):  # fmt: skip
    """z = y Wᵀ + bias + scale · (coarse z) U, plus `onto` if ONTO, at one place of ROWS coarse points."""
    coarse = (tl.program_id(0) // (RATE * RATE)) * ROWS + tl.arange(0, ROWS)
    image, i, j, mask = _places(coarse, points, coarse_height, coarse_width, height, width, RATE)
    row = (image.to(tl.int64) * height + i) * width + j
    z = dot(_load(y, row, mask, INNER), tl.trans(_matrix(weight, 0, C, INNER)))
    z += tl.load(bias + tl.arange(0, C)).to(tl.float32)[None, :]
    if COARSE:
        above = _load(coarse_z, coarse.to(tl.int64), mask, C)
        z += scale * dot(above, _matrix(up, tl.program_id(0) % (RATE * RATE) * C, C, C))
    if ONTO:
        z += _load(onto, row, mask, C).to(tl.float32)
    _store(out, row, mask, z, C)


@triton.jit
@no_type_check
def normalise(
    x, norm_weight, norm_bias, norm2_weight, norm2_bias, out, rows,
    C: tl.constexpr, ROWS: tl.constexpr, TWO: tl.constexpr,
):  # fmt: skip
    """LayerNorm(x), or if TWO the second LayerNorm of that."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    mask = row < rows
    normal, _ = _normalise(_load(x, row, mask, C).to(tl.float32), C)
    n = _affine(normal, norm_weight, norm_bias, C)
    if TWO:
        normal, _ = _normalise(n, C)
        n = _affine(normal, norm2_weight, norm2_bias, C)
    _store(out, row, mask, n, C)


@triton.jit
@no_type_check
def normalise_backward(
    g, x, norm_weight, norm_bias, norm2_weight, norm2_bias, residual, out, partial, rows,
    C: tl.constexpr, ROWS: tl.constexpr, TWO: tl.constexpr, RESIDUAL: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """∂/∂x of the LayerNorm, or of both if TWO, plus the residual's, for every num_programs-th tile of rows.

    `partial` gets the sums over the program's rows of the gradients of the LayerNorms' parameters. They are kept
    by place in the tile until the end: a sum over rows is a sum over warps, which wait for each other.
    """
    column = tl.arange(0, C)
    weight = tl.load(norm_weight + column).to(tl.float32)[None, :]
    d_weight, d_bias = tl.zeros((ROWS, C), tl.float32), tl.zeros((ROWS, C), tl.float32)
    if TWO:
        weight2 = tl.load(norm2_weight + column).to(tl.float32)[None, :]
        d_weight2, d_bias2 = tl.zeros((ROWS, C), tl.float32), tl.zeros((ROWS, C), tl.float32)
    for tile in tl.range(tl.program_id(0), tl.cdiv(rows, ROWS), tl.num_programs(0), num_stages=STAGES):
        row = (tile * ROWS + tl.arange(0, ROWS)).to(tl.int64)
        mask = row < rows
        dn = _load(g, row, mask, C).to(tl.float32)
        first_normal, first_inverse = _normalise(_load(x, row, mask, C).to(tl.float32), C)
        if TWO:
            normal, inverse = _normalise(_affine(first_normal, norm_weight, norm_bias, C), C)
            d_weight2 += dn * normal
            d_bias2 += dn
            dn = _normalise_backward(dn * weight2, normal, inverse, C)
        d_weight += dn * first_normal
        d_bias += dn
        dx = _normalise_backward(dn * weight, first_normal, first_inverse, C)
        if RESIDUAL:
            dx += _load(residual, row, mask, C).to(tl.float32)
        _store(out, row, mask, dx, C)
    sums = partial + tl.program_id(0) * ((4 if TWO else 2) * C) + column
    tl.store(sums, tl.sum(d_weight, 0))
    tl.store(sums + C, tl.sum(d_bias, 0))
    if TWO:
        tl.store(sums + 2 * C, tl.sum(d_weight2, 0))
        tl.store(sums + 3 * C, tl.sum(d_bias2, 0))


@triton.jit
@no_type_check
def turn(
    qkv, turns, points, rows, back,
    INNER: tl.constexpr, HALF: tl.constexpr, POINTS: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """Turns the pairs (x_k, x_{k+d/2}) of queries and keys by the angles of their point, in place, or `back`.

    `turns` holds cosines, then sines, of the HALF angles of POINTS points, and `points` the point of every row.
    """
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    mask = (row < rows)[:, None]
    pair = tl.arange(0, INNER)[None, :]
    angle = turns + tl.load(points + row, mask=row < rows, other=0)[:, None] * HALF + pair % HALF
    cos = tl.load(angle, mask=mask, other=0.0)
    sin = tl.load(angle + POINTS * HALF, mask=mask, other=0.0) * back
    place = qkv + row[:, None] * (3 * INNER) + pair // HALF * (2 * HALF) + pair % HALF
    a = tl.load(place, mask=mask, other=0.0).to(tl.float32)
    b = tl.load(place + HALF, mask=mask, other=0.0).to(tl.float32)
    tl.store(place, (a * cos - b * sin).to(qkv.dtype.element_ty), mask=mask)
    tl.store(place + HALF, (a * sin + b * cos).to(qkv.dtype.element_ty), mask=mask)


@triton.jit
@no_type_check
def restrict_backward(
    g, weight, out, points, coarse_height, coarse_width, height, width,
    C: tl.constexpr, RATE: tl.constexpr, ROWS: tl.constexpr, EDGES: tl.constexpr,
):  # fmt: skip
    """Adds Σ g D[place]ᵀ to `out` at one place of ROWS coarse points.

    With EDGES, what repeats the far edge beyond it hands its gradient back to the edge.
    """
    coarse, place = (tl.program_id(0) // (RATE * RATE)) * ROWS + tl.arange(0, ROWS), tl.program_id(0) % (RATE * RATE)
    image, i, j, mask = _places(coarse, points, coarse_height, coarse_width, height, width, RATE)
    row = (image.to(tl.int64) * height + i) * width + j
    dx = _load(out, row, mask, C).to(tl.float32)
    above = _load(g, coarse.to(tl.int64), mask, C)
    dx += dot(above, tl.trans(_matrix(weight, place * C, C, C)))
    if EDGES:
        for other in range(place + 1, RATE * RATE):
            edge_i = tl.minimum(i - place // RATE + other // RATE, height - 1)
            edge_j = tl.minimum(j - place % RATE + other % RATE, width - 1)
            above = _load(g, coarse.to(tl.int64), mask & (edge_i == i) & (edge_j == j), C)
            dx += dot(above, tl.trans(_matrix(weight, other * C, C, C)))
    _store(out, row, mask, dx, C)


@triton.jit
@no_type_check
def _hidden(n, weight, bias, first, C: tl.constexpr, CHUNK: tl.constexpr):
    a = dot(n, tl.trans(_matrix(weight, first, CHUNK, C)))
    return a + tl.load(bias + first + tl.arange(0, CHUNK)).to(tl.float32)[None, :]


@triton.jit
@no_type_check
def _activate(a, TANH: tl.constexpr):
    """GELU or tanh, and its derivative. Φ to 1e-7 by Abramowitz & Stegun 7.1.26."""
    if TANH:
        y = 1.0 - 2.0 * reciprocal(exp2(2.8853900817779268 * a) + 1.0)
        slope = 1.0 - y * y
    else:
        t = reciprocal(1.0 + 0.23164189 * tl.abs(a))
        tail = t * (0.127414796 + t * (-0.142248368 + t * (0.7107068705 + t * (-0.7265760135 + t * 0.5307027145))))
        density = exp2(-0.7213475204444817 * a * a)
        below = tl.where(a < 0, tail * density, 1.0 - tail * density)
        y = a * below
        slope = below + 0.3989422804014327 * a * density
    return y, slope


@triton.jit
@no_type_check
def _columns(source, row, mask, COLUMNS: tl.constexpr, BLOCK: tl.constexpr):
    """Rows of a matrix of COLUMNS columns, in BLOCK ≥ COLUMNS of them."""
    column = tl.arange(0, BLOCK)[None, :]
    return tl.load(source + row[:, None] * COLUMNS + column, mask=mask[:, None] & (column < COLUMNS), other=0.0)


@triton.jit
@no_type_check
def _store_columns(target, row, mask, value, COLUMNS: tl.constexpr, BLOCK: tl.constexpr):
    column = tl.arange(0, BLOCK)[None, :]
    place = target + row[:, None] * COLUMNS + column
    tl.store(place, value.to(target.dtype.element_ty), mask=mask[:, None] & (column < COLUMNS))


@triton.jit
@no_type_check
def _second(weight, first, OUT: tl.constexpr, BLOCK_OUT: tl.constexpr, HIDDEN: tl.constexpr, CHUNK: tl.constexpr):
    """Columns first, first + 1, … of the (OUT, HIDDEN) second matrix."""
    row = tl.arange(0, BLOCK_OUT)[:, None]
    return tl.load(weight + row * HIDDEN + first + tl.arange(0, CHUNK)[None, :], mask=row < OUT, other=0.0)


@triton.jit
@no_type_check
def mlp(
    x, norm_weight, norm_bias, weight1, bias1, weight2, bias2, out, rows,
    C: tl.constexpr, HIDDEN: tl.constexpr, OUT: tl.constexpr, BLOCK_OUT: tl.constexpr,
    ROWS: tl.constexpr, CHUNK: tl.constexpr, TANH: tl.constexpr, RESIDUAL: tl.constexpr,
):  # fmt: skip
    """LayerNorm, linear, GELU or tanh, linear, plus x if RESIDUAL."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    mask = row < rows
    normal, _ = _normalise(_load(x, row, mask, C).to(tl.float32), C)
    n = _affine(normal, norm_weight, norm_bias, C).to(weight1.dtype.element_ty)
    column = tl.arange(0, BLOCK_OUT)
    y = tl.zeros((ROWS, BLOCK_OUT), tl.float32)
    for first in range(0, HIDDEN, CHUNK):
        h, _slope = _activate(_hidden(n, weight1, bias1, first, C, CHUNK), TANH)
        y += dot(h.to(weight2.dtype.element_ty), tl.trans(_second(weight2, first, OUT, BLOCK_OUT, HIDDEN, CHUNK)))
    y += tl.load(bias2 + column, mask=column < OUT, other=0.0).to(tl.float32)[None, :]
    if RESIDUAL:
        y += _load_again(x, row, mask, C).to(tl.float32)
    _store_columns(out, row, mask, y, OUT, BLOCK_OUT)


@triton.jit
@no_type_check
def mlp_backward(
    g, x, norm_weight, norm_bias, weight1, bias1, weight2, out, normed, rounded, partial, rows,
    C: tl.constexpr, HIDDEN: tl.constexpr, OUT: tl.constexpr, BLOCK_OUT: tl.constexpr,
    ROWS: tl.constexpr, CHUNK: tl.constexpr, TANH: tl.constexpr, RESIDUAL: tl.constexpr,
):  # fmt: skip
    """∂/∂x; `partial` gets the sums of the gradients of the LayerNorm's parameters and of both biases.

    For `mlp_weights`, `normed` gets LayerNorm(x) in the type of the matrices, and `rounded` g, if it has another.
    """
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    mask = row < rows
    normal, _ = _normalise(_load(x, row, mask, C).to(tl.float32), C)
    n = _affine(normal, norm_weight, norm_bias, C).to(weight1.dtype.element_ty)
    _store(normed, row, mask, n, C)
    dy = _columns(g, row, mask, OUT, BLOCK_OUT)
    column, out_column = tl.arange(0, C), tl.arange(0, BLOCK_OUT)
    sums = partial + tl.program_id(0) * (2 * C + HIDDEN + OUT)
    tl.store(sums + 2 * C + HIDDEN + out_column, tl.sum(dy.to(tl.float32), 0), mask=out_column < OUT)
    if g.dtype.element_ty != rounded.dtype.element_ty:
        dy = dy.to(rounded.dtype.element_ty)
        _store_columns(rounded, row, mask, dy, OUT, BLOCK_OUT)
    dn = tl.zeros((ROWS, C), tl.float32)
    for first in range(0, HIDDEN, CHUNK):
        _h, slope = _activate(_hidden(n, weight1, bias1, first, C, CHUNK), TANH)
        da = dot(dy, _second(weight2, first, OUT, BLOCK_OUT, HIDDEN, CHUNK)) * slope
        tl.store(sums + 2 * C + first + tl.arange(0, CHUNK), tl.sum(da, 0))
        dn += dot(da.to(weight1.dtype.element_ty), _matrix(weight1, first, CHUNK, C))
    normal, inverse = _normalise(_load_again(x, row, mask, C).to(tl.float32), C)
    tl.store(sums + column, tl.sum(dn * normal, 0))
    tl.store(sums + C + column, tl.sum(dn, 0))
    dx = _normalise_backward(dn * tl.load(norm_weight + column).to(tl.float32)[None, :], normal, inverse, C)
    if RESIDUAL:
        dx += _load_again(g, row, mask, C).to(tl.float32)
    _store(out, row, mask, dx, C)


@triton.jit
@no_type_check
def mlp_weights(
    g, normed, weight1, bias1, weight2, partial1, partial2, rows,
    C: tl.constexpr, HIDDEN: tl.constexpr, OUT: tl.constexpr, BLOCK_OUT: tl.constexpr,
    ROWS: tl.constexpr, CHUNK: tl.constexpr, TANH: tl.constexpr,
):  # fmt: skip
    """Gradients of both matrices, for CHUNK hidden channels, summed over every program_id(1)-th tile of rows.

    Every row is read by the programs of all chunks, so g and LayerNorm(x) come in the type of the matrices.
    """
    first, split = tl.program_id(0) * CHUNK, tl.program_id(1)
    column = tl.arange(0, C)
    d1, d2 = tl.zeros((CHUNK, C), tl.float32), tl.zeros((BLOCK_OUT, CHUNK), tl.float32)
    w1, w2 = _matrix(weight1, first, CHUNK, C), _second(weight2, first, OUT, BLOCK_OUT, HIDDEN, CHUNK)
    b1 = tl.load(bias1 + first + tl.arange(0, CHUNK)).to(tl.float32)[None, :]
    for tile in range(split, tl.cdiv(rows, ROWS), tl.num_programs(1)):
        row = (tile * ROWS + tl.arange(0, ROWS)).to(tl.int64)
        mask = row < rows
        n, dy = _load(normed, row, mask, C), _columns(g, row, mask, OUT, BLOCK_OUT)
        h, slope = _activate(dot(n, tl.trans(w1)) + b1, TANH)
        da = (dot(dy, w2) * slope).to(weight1.dtype.element_ty)
        d1 += dot(tl.trans(da), n)
        d2 += dot(tl.trans(dy), h.to(weight2.dtype.element_ty))
    tl.store(partial1 + (split * HIDDEN + first + tl.arange(0, CHUNK))[:, None] * C + column[None, :], d1)
    out = tl.arange(0, BLOCK_OUT)[:, None]
    tl.store(partial2 + (split * OUT + out) * HIDDEN + first + tl.arange(0, CHUNK)[None, :], d2, mask=out < OUT)


@triton.jit
@no_type_check
def products(
    a, b, partial, rows,
    A: tl.constexpr, B: tl.constexpr, CHUNK: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """Σ over rows of a bᵀ, then of a, for CHUNK columns of a and BLOCK of b."""
    split, second = tl.program_id(1), tl.program_id(2) * BLOCK + tl.arange(0, BLOCK)
    first = tl.program_id(0) * CHUNK + tl.arange(0, CHUNK)
    total, total_a = tl.zeros((CHUNK, BLOCK), tl.float32), tl.zeros((CHUNK,), tl.float32)
    for tile in range(split, tl.cdiv(rows, ROWS), tl.num_programs(1)):
        row = (tile * ROWS + tl.arange(0, ROWS)).to(tl.int64)[:, None]
        left = tl.load(a + row * A + first[None, :], mask=row < rows, other=0.0)
        right = tl.load(b + row * B + second[None, :], mask=row < rows, other=0.0)
        total += dot(tl.trans(left), right)
        total_a += tl.sum(left.to(tl.float32), 0)
    sums = partial + split * (A * B + A)
    tl.store(sums + first[:, None] * B + second[None, :], total)
    if tl.program_id(2) == 0:
        tl.store(sums + A * B + first, total_a)


@triton.jit
@no_type_check
def total(partial, out, number, columns, NUMBER: tl.constexpr, COLUMNS: tl.constexpr):
    """The sum of partial sums, for COLUMNS of them, NUMBER at a time."""
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    sums = tl.zeros((NUMBER, COLUMNS), tl.float32)
    for first in range(0, number, NUMBER):
        row = first + tl.arange(0, NUMBER)
        mask = (row < number)[:, None] & (column < columns)[None, :]
        sums += tl.load(partial + row[:, None] * columns + column[None, :], mask=mask, other=0.0)
    tl.store(out + column, tl.sum(sums, 0), mask=column < columns)


@triton.jit
@no_type_check
def patch_products(
    coarse, fine, partial, table, C: tl.constexpr, RATE: tl.constexpr, ROWS: tl.constexpr, ADJOINT: tl.constexpr
):
    """Gradients of D[place] (Σ fine coarseᵀ) or, ADJOINT, of U[place] (Σ coarse fineᵀ / distance), over many levels.

    `table` says of every program_id(1): first rows of its level in `coarse` and `fine`, the level's coarse points,
    both grids, the program's place among the level's and their number, and the distance from the coarsest level.
    """
    place, entry = tl.program_id(0), table + 10 * tl.program_id(1)
    coarse_first, fine_first, points = tl.load(entry), tl.load(entry + 1), tl.load(entry + 2)
    coarse_height, coarse_width = tl.load(entry + 3), tl.load(entry + 4)
    height, width = tl.load(entry + 5), tl.load(entry + 6)
    total = tl.zeros((C, C), tl.float32)
    for tile in range(tl.load(entry + 7), tl.cdiv(points, ROWS), tl.load(entry + 8)):
        point = tile * ROWS + tl.arange(0, ROWS)
        mask = point < points
        image = point // (coarse_height * coarse_width)
        i = (point // coarse_width) % coarse_height * RATE + place // RATE
        j = point % coarse_width * RATE + place % RATE
        left = _load(coarse, coarse_first + point.to(tl.int64), mask, C)
        if ADJOINT:
            right_mask = mask & (i < height) & (j < width)
        else:
            i, j, right_mask = tl.minimum(i, height - 1), tl.minimum(j, width - 1), mask
        right = _load(fine, fine_first + (image.to(tl.int64) * height + i) * width + j, right_mask, C)
        if ADJOINT:
            total += dot(tl.trans(left), right)
        else:
            total += dot(tl.trans(right), left)
    if ADJOINT:
        total = total / tl.load(entry + 9).to(tl.float32)
    index = (tl.program_id(1) * RATE * RATE + place) * C + tl.arange(0, C)
    tl.store(partial + index[:, None] * C + tl.arange(0, C)[None, :], total)
