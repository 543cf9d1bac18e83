# mypy: disable-error-code="no-untyped-def"
"""Triton kernels of the five-point scheme and of conjugate gradients on it, for a batch of samples.

A program works on BLOCK consecutive interior points, in C order, of one sample: the grid of programs is
(blocks, batch). `n` and `m` count interior points, so that a field at all vertices is (n + 2, m + 2); float16
fields of the preconditioner are (rows, pitch), padded. A sum over a sample leaves one partial sum a block, which each
program of the next kernel adds up in a fixed order; where there are many, `collect` does so once for all of them.
"""

import triton
import triton.language as tl


@triton.jit
def _face(p, q, MEAN: tl.constexpr):
    if MEAN == "harmonic":
        return 2 * p * q / (p + q)
    if MEAN == "geometric":
        return tl.sqrt(p) * tl.sqrt(q)
    return (p + q) / 2


@triton.jit
def _point(n, m, BLOCK: tl.constexpr):
    """Sample, row, column and flat index of this program's interior points."""
    k = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    return tl.program_id(1).to(tl.int64), k // m, k % m, k, k < n * m


@triton.jit
def _faces(a, i, j, n, m, inside, dtype: tl.constexpr, MEAN: tl.constexpr):
    """Conductances north, south, west and east of interior points, from `a` at all vertices."""
    at = a + (i + 1) * (m + 2) + j + 1
    c = tl.load(at, mask=inside, other=1).to(dtype)
    north = _face(c, tl.load(at - (m + 2), mask=inside, other=1).to(dtype), MEAN) * ((n + 1) * (n + 1))
    south = _face(c, tl.load(at + (m + 2), mask=inside, other=1).to(dtype), MEAN) * ((n + 1) * (n + 1))
    west = _face(c, tl.load(at - 1, mask=inside, other=1).to(dtype), MEAN) * ((m + 1) * (m + 1))
    east = _face(c, tl.load(at + 1, mask=inside, other=1).to(dtype), MEAN) * ((m + 1) * (m + 1))
    return north, south, west, east


@triton.jit
def _sum(blocks, sample, BLOCKS: tl.constexpr, WIDTH: tl.constexpr):
    k = tl.arange(0, WIDTH)
    return tl.sum(tl.load(blocks + sample * BLOCKS + k, mask=k < BLOCKS, other=0))


@triton.jit
def _store_sum(blocks, sample, values):
    tl.store(blocks + sample * tl.num_programs(0) + tl.program_id(0), tl.sum(values))


@triton.jit
def collect(blocks, totals, BLOCKS: tl.constexpr, WIDTH: tl.constexpr):
    """The sum of each sample; the grid of programs is (batch,)."""
    sample = tl.program_id(0).to(tl.int64)
    tl.store(totals + sample, _sum(blocks, sample, BLOCKS, WIDTH))


@triton.jit
def multiply(half, symbol, size, BLOCK: tl.constexpr):
    k = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    at = half + tl.program_id(1).to(tl.int64) * size + k
    value = tl.load(at, mask=k < size, other=0).to(tl.float32) * tl.load(symbol + k, mask=k < size, other=0)
    tl.store(at, value.to(tl.float16), mask=k < size)


@triton.jit
def _preconditioned(z, scale, i, j, n, m, inside, pitch, SCALED: tl.constexpr):
    value = tl.load(z + i * pitch + j, mask=inside, other=0).to(tl.float32)
    if SCALED:
        value *= tl.load(scale + i * m + j, mask=inside, other=0)
    return value


@triton.jit
def dot(r, z, scale, rz, n, m, rows, pitch, SCALED: tl.constexpr, BLOCK: tl.constexpr):
    sample, i, j, k, inside = _point(n, m, BLOCK)
    z += sample * rows * pitch
    scale += sample * n * m
    value = _preconditioned(z, scale, i, j, n, m, inside, pitch, SCALED)
    _store_sum(rz, sample, value * tl.load(r + sample * n * m + k, mask=inside, other=0))


@triton.jit
def _direction(z, scale, p, beta, i, j, n, m, pitch, SCALED: tl.constexpr):
    """z + βp, zero beyond the interior."""
    inside = (i >= 0) & (i < n) & (j >= 0) & (j < m)
    value = _preconditioned(z, scale, i, j, n, m, inside, pitch, SCALED)
    return value + beta * tl.load(p + i * m + j, mask=inside, other=0)


@triton.jit
def search(
    a, inverse_top, z, scale, p, rz, rz_last, p_next, q, pq, qq, n, m, rows, pitch,
    MEAN: tl.constexpr, BLOCKS: tl.constexpr, WIDTH: tl.constexpr, SCALED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """p ← z + βp, q = Ap and the sums of p·q and q·q."""
    sample, i, j, k, inside = _point(n, m, BLOCK)
    last = tl.load(rz_last + sample)
    beta = tl.where(last > 0, _sum(rz, sample, BLOCKS, WIDTH) / last, 0.0)
    z += sample * rows * pitch
    scale += sample * n * m
    p += sample * n * m
    here = _direction(z, scale, p, beta, i, j, n, m, pitch, SCALED)
    north, south, west, east = _faces(a + sample * (n + 2) * (m + 2), i, j, n, m, inside, tl.float32, MEAN)
    value = north * (here - _direction(z, scale, p, beta, i - 1, j, n, m, pitch, SCALED))
    value += south * (here - _direction(z, scale, p, beta, i + 1, j, n, m, pitch, SCALED))
    value += west * (here - _direction(z, scale, p, beta, i, j - 1, n, m, pitch, SCALED))
    value += east * (here - _direction(z, scale, p, beta, i, j + 1, n, m, pitch, SCALED))
    value *= tl.load(inverse_top + sample)
    tl.store(p_next + sample * n * m + k, here, mask=inside)
    tl.store(q + sample * n * m + k, value, mask=inside)
    _store_sum(pq, sample, tl.where(inside, here * value, 0.0))
    _store_sum(qq, sample, tl.where(inside, value * value, 0.0))


@triton.jit
def advance(
    x, r, p, q, scale, half, rz, pq, qq, rr, rr_next, rz_last, target, n, m, rows, pitch, gain, most,
    BLOCKS: tl.constexpr, WIDTH: tl.constexpr, SCALED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """x ← x + αp, r ← r - αq, the sums of r·r, and r for the preconditioner, relative to its last norm.

    Where ‖r‖ + α‖q‖, which bounds the new norm, is many times the last one, r is halved until it is at most `most`.
    """
    sample, i, j, k, inside = _point(n, m, BLOCK)
    rz_now, curvature = _sum(rz, sample, BLOCKS, WIDTH), _sum(pq, sample, BLOCKS, WIDTH)
    rr_now = _sum(rr, sample, BLOCKS, WIDTH)
    unfinished = (curvature > 0) & (rr_now > tl.load(target + sample))
    alpha = tl.where(unfinished, rz_now / curvature, 0.0)
    at = sample * n * m + k
    tl.store(x + at, tl.load(x + at, mask=inside, other=0) + alpha * tl.load(p + at, mask=inside, other=0), mask=inside)
    value = tl.load(r + at, mask=inside, other=0) - alpha * tl.load(q + at, mask=inside, other=0)
    tl.store(r + at, value, mask=inside)
    _store_sum(rr_next, sample, value * value)
    inverse = tl.rsqrt(tl.maximum(rr_now, 1e-30))
    bound = gain * (1 + alpha * tl.sqrt(_sum(qq, sample, BLOCKS, WIDTH)) * inverse)
    value *= gain * inverse * tl.exp2(-tl.ceil(tl.maximum(tl.log2(bound / most), 0.0)))
    if SCALED:
        value *= tl.load(scale + at, mask=inside, other=0)
    tl.store(half + sample * rows * pitch + i * pitch + j, value.to(tl.float16), mask=inside)
    tl.store(rz_last + sample, rz_now, mask=tl.program_id(0) == 0)


@triton.jit
def _stencil(a, u, i, j, n, m, inside, SIGN: tl.constexpr, MEAN: tl.constexpr):
    """Σ face × (u - u_neighbour) = Au, or Σ face × (|u| + |u_neighbour|) = |A||u|, in float64."""
    north, south, west, east = _faces(a, i, j, n, m, inside, tl.float64, MEAN)
    at = u + (i + 1) * (m + 2) + j + 1
    c = tl.load(at, mask=inside, other=0)
    up, down = tl.load(at - (m + 2), mask=inside, other=0), tl.load(at + (m + 2), mask=inside, other=0)
    left, right = tl.load(at - 1, mask=inside, other=0), tl.load(at + 1, mask=inside, other=0)
    if SIGN > 0:
        c, up, down, left, right = tl.abs(c), -tl.abs(up), -tl.abs(down), -tl.abs(left), -tl.abs(right)
    return north * (c - up) + south * (c - down) + west * (c - left) + east * (c - right)


@triton.jit
def residual(a, u, f, r, sums, n, m, MEAN: tl.constexpr, BLOCK: tl.constexpr):
    sample, i, j, k, inside = _point(n, m, BLOCK)
    vertices = sample * (n + 2) * (m + 2)
    au = _stencil(a + vertices, u + vertices, i, j, n, m, inside, -1, MEAN)
    value = tl.load(f + k, mask=inside, other=0) - au
    tl.store(r + sample * n * m + k, value.to(tl.float32), mask=inside)
    _store_sum(sums, sample, value * value)


@triton.jit
def magnitude(a, u, sums, n, m, MEAN: tl.constexpr, BLOCK: tl.constexpr):
    sample, i, j, _, inside = _point(n, m, BLOCK)
    vertices = sample * (n + 2) * (m + 2)
    value = _stencil(a + vertices, u + vertices, i, j, n, m, inside, 1, MEAN)
    _store_sum(sums, sample, value * value)


@triton.jit
def scaling(a, scale, n, m, MEAN: tl.constexpr, BLOCK: tl.constexpr):
    """(diag L / diag A)^½."""
    sample, i, j, k, inside = _point(n, m, BLOCK)
    north, south, west, east = _faces(a + sample * (n + 2) * (m + 2), i, j, n, m, inside, tl.float32, MEAN)
    laplacian = 2 * ((n + 1) * (n + 1) + (m + 1) * (m + 1))
    tl.store(scale + sample * n * m + k, tl.sqrt(laplacian / (north + south + west + east)), mask=inside)


@triton.jit
def energy(a, s, sums, n, m, MEAN: tl.constexpr, BLOCK: tl.constexpr):
    """s·As for an interior field s."""
    sample, i, j, k, inside = _point(n, m, BLOCK)
    north, south, west, east = _faces(a + sample * (n + 2) * (m + 2), i, j, n, m, inside, tl.float32, MEAN)
    at = s + sample * n * m + k
    c = tl.load(at, mask=inside, other=0)
    value = north * (c - tl.load(at - m, mask=inside & (i > 0), other=0))
    value += south * (c - tl.load(at + m, mask=inside & (i < n - 1), other=0))
    value += west * (c - tl.load(at - 1, mask=inside & (j > 0), other=0))
    value += east * (c - tl.load(at + 1, mask=inside & (j < m - 1), other=0))
    _store_sum(sums, sample, (c * value).to(tl.float64))
