"""Block Thomas elimination for many samples at once, on any device of torch.

A grid line is a block of unknowns, and couples to its neighbours alone (at an end, to the next two). Lines are
eliminated from both ends towards the middle, the two sides as one batch, without pivoting between lines (Golub & Van
Loan 2013, §4.5.1): with Sᵢ the pivot of line i, and all blocks but the pivots banded,

    Sᵢ = Aᵢᵢ - Aᵢ,ᵢ₋₁ Sᵢ₋₁⁻¹ Aᵢ₋₁,ᵢ.

The inverses are dense, and made of matrix products in complex64, 8nm³ real operations a sample on an (n, m) grid. They
are kept, 8nm² bytes a sample: 75 MB at 211². Iterative refinement, which reads them twice a sweep, brings the residual
down in complex128 (Higham 2002, §12).

A banded matrix is a dict of strips: (offset d, first row, end row) → the entries (row, row + d), any axes before them.
"""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Complex64, Float64
from torch import Tensor

from data_gen.grid import Grid
from data_gen.problem import samples_at_once
from data_gen.problems.helmholtz.scheme import Axis, Scheme, axis, load, terms
from data_gen.problems.helmholtz.solver import FLOOR

BYTES = 2**33
"""What the inverses of a batch may take; fields and what an inverse is made from are about a third more at 211²."""

SWEEPS = 12
LEAF = 64
"""Rows of a block that LU with pivoting inverts; larger ones are split into four."""

Bands = dict[tuple[int, int, int], Tensor]


class BatchSolution(NamedTuple):
    """Waves of a batch, and what speaks for each.

    Attributes
    ----------
    u : (batch, n, m) complex128 tensor
        On the device.
    residual : (batch,) array
        ‖F - A u‖ / ‖F‖, in complex128.
    accepted_by : list of {"rtol", "floor", ""}
        Which criterion each met, see `data_gen.problems.helmholtz.solver`; "" where neither.
    sweeps : int
        Steps of refinement, common to the batch.
    """

    u: Tensor
    residual: np.ndarray
    accepted_by: list[str]
    sweeps: int


class Factors(NamedTuple):
    """The eliminated matrix of 2·batch sides: the samples, and then the same with their lines in reverse.

    Attributes
    ----------
    inverses : (lines, sides, m, m) tensor
        Sᵢ⁻¹.
    middle : (batch, q m, q m) tensor
        Inverse of the pivot of the q lines in the middle: one, or two where n is even.
    beside : Bands
        What multiplies line i in the rows of its neighbours that are no end, (sides, n, ·) or the same for all.
    first, second : Bands
        A₀₁ and A₀₂, which are others, as row 0 is the equation at an end.
    filled : (sides, m, m) tensor
        A₁₂ with what the elimination of line 0 adds to it.
    """

    inverses: Tensor
    middle: Tensor
    beside: Bands
    first: Bands
    second: Bands
    filled: Tensor


def samples_per_batch(grid: Grid) -> int:
    """How many samples are eliminated at once: an equal part of a shard, whose inverses take at most `BYTES`."""
    n, m = grid.shape
    shard = samples_at_once(grid)
    parts = -(-shard // max(1, BYTES // (8 * n * m * m)))
    return -(-shard // parts)


@contextmanager
def alone(device: str) -> Iterator[None]:
    """Hold a device until the block ends: its memory is for one batch, of whichever process and thread."""
    cuda = torch.device(device).type == "cuda"
    called = torch.cuda.get_device_properties(device).uuid if cuda else device
    name = f"pdebench-mano-{os.getuid()}-{called}.lock"
    with (Path(tempfile.gettempdir()) / name).open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
        torch.cuda.empty_cache()


def check_device(device: str) -> None:
    """Raise ValueError unless torch has this device."""
    try:
        torch.empty(0, device=device)
    except (AssertionError, RuntimeError):
        raise ValueError(f"device must be cpu, or another that torch has here, got {device!r}") from None


def attempt(
    m: Float64[np.ndarray, "batch n m"] | Float64[Tensor, "batch n m"],
    omega: float,
    scheme: Scheme,
    rtol: float,
    device: str | torch.device,
) -> BatchSolution:
    """Solve for squared slownesses m; a sample that fails is only marked.

    Parameters
    ----------
    m : (batch, n, m) array or tensor
        Positive, at the vertices.
    omega, scheme : float, str
        See `data_gen.problems.helmholtz.scheme`.
    rtol : float
        Bound on ‖F - A u‖ / ‖F‖.
    device : str or torch.device
    """
    n_x, n_y = m.shape[1:]
    slowness = torch.as_tensor(m, device=device)
    F = torch.as_tensor(load((n_x, n_y), omega, scheme), device=device)
    x, y = (_dense(axis(n, scheme), device) for n in (n_x, n_y))
    leaving, inertia = 1j * omega * slowness.sqrt(), omega**2 * slowness
    factors = eliminate(slowness, omega, scheme)

    u = torch.zeros(m.shape, dtype=torch.complex128, device=device)
    r, norm = F.expand_as(u), torch.linalg.vector_norm(F)
    relative = torch.ones(len(u), dtype=torch.float64, device=device)
    improving, sweeps = relative > rtol, 0
    while sweeps < SWEEPS and bool(improving.any()):
        size = (norm * relative).clamp_min(1e-300)[:, None, None]
        correction = size * substitute(factors, (r / size).to(torch.complex64))
        u += torch.where(improving[:, None, None], correction, 0)  # a sample does not depend on the rest of its batch
        r = F - terms(x, y, u, leaving * u, inertia * u)
        before, relative = relative, torch.linalg.vector_norm(r, dim=(1, 2)) / norm
        improving &= (relative > rtol) & (relative < 0.5 * before)
        sweeps += 1

    x, y = (Axis(*(each.abs().double() for each in matrices)) for matrices in (x, y))
    sizes = terms(x, y, u.abs(), -leaving.abs() * u.abs(), -inertia * u.abs())
    floor = FLOOR * torch.linalg.vector_norm(sizes, dim=(1, 2)) / norm
    met = zip((relative <= rtol).tolist(), (relative <= floor).tolist(), strict=True)
    accepted = ["rtol" if first else "floor" if second else "" for first, second in met]
    return BatchSolution(u, relative.cpu().numpy(), accepted, sweeps)


def _dense(matrices: Axis, device: str | torch.device) -> Axis:
    return Axis(*(torch.as_tensor(each.toarray(), dtype=torch.complex128, device=device) for each in matrices))


def eliminate(m: Float64[Tensor, "batch n m"], omega: float, scheme: Scheme) -> Factors:
    """Eliminate all lines but those in the middle.

    Row i of the scheme is Σⱼ (Kᵢⱼ M + Mᵢⱼ Hⱼ) uⱼ, without what leaves at the ends, where K, M are those of the
    direction across the lines and, of the direction along them, Hⱼ = K - ω² M mⱼ - iω B √mⱼ.
    """
    batch, n_x, n_y = m.shape
    x, y = (axis(n, scheme) for n in (n_x, n_y))
    K, M = (each[:3, :3].toarray() for each in (x.K, x.M))
    mass, stiffness, boundary = (bands(each, m.device) for each in (y.M, y.K, y.B))
    sides = torch.cat([m, m.flip(1)])
    inertia, leaving = (each.to(torch.complex64) for each in (omega**2 * sides, 1j * omega * sides.sqrt()))
    along = combined((1, stiffness), (-1, scaled(mass, inertia)), (-1, scaled(boundary, leaving)))

    own = combined((K[1, 1], mass), (M[1, 1], along))
    beside = combined((K[1, 2], mass), (M[1, 2], along))
    end = combined((K[0, 0], mass), (M[0, 0], line(along, 0)), (-1, scaled(mass, leaving[:, 0])))
    first, second = (combined((K[0, j], mass), (M[0, j], line(along, j))) for j in (1, 2))

    lines = (n_x - 1) // 2
    inverses = torch.empty(lines, 2 * batch, n_y, n_y, dtype=torch.complex64, device=m.device)
    zero = torch.zeros_like(inverses[0])
    inverses[0] = inverse(added(end, zero.clone()))
    half = left(line(beside, 0), inverses[0])
    filled = added(line(beside, 2), subtracted(zero.clone(), half, second))
    pivot = subtracted(zero.clone(), half, first)
    for i in range(1, lines):
        inverses[i] = inverse(added(line(own, i), pivot))
        half = left(line(beside, i), inverses[i])
        pivot = -half @ filled if i == 1 else subtracted(pivot.zero_(), half, line(beside, i + 1))

    mine = added(line(own, lines), zero.clone())
    one, other = (mine + pivot)[:batch], (mine + pivot)[batch:]
    if n_x % 2:
        middle = one + other - mine[:batch]
    else:
        across = added(line(beside, lines + 1), zero)
        middle = torch.cat([torch.cat([one, across[:batch]], 2), torch.cat([across[batch:], other], 2)], 1)
    return Factors(inverses, inverse(middle), beside, first, second, filled)


def substitute(factors: Factors, r: Complex64[Tensor, "batch n m"]) -> Complex64[Tensor, "batch n m"]:
    """Solve for a right-hand side, from both ends to the middle and back."""
    inverses, beside = factors.inverses, factors.beside
    batch, n_x, n_y = r.shape
    lines = len(inverses)
    sides = torch.cat([r, r.flip(1)])[..., None]
    u = torch.empty_like(sides[:, : lines + 1])
    rest = sides[:, 0]
    for i in range(lines):
        u[:, i] = inverses[i] @ rest
        rest = sides[:, i + 1] - left(line(beside, i), u[:, i])
    one, other = rest[:batch], rest[batch:]
    if n_x % 2:
        u[:, lines] = (factors.middle @ (one + other - r[:, lines, :, None])).repeat(2, 1, 1)
    else:
        u[:, lines] = torch.cat((factors.middle @ torch.cat([one, other], 1)).split(n_y, 1))
    for i in reversed(range(lines)):
        if i > 1:
            ahead = left(line(beside, i + 1), u[:, i + 1])
        else:
            ahead = factors.filled @ u[:, 2] if i else left(factors.first, u[:, 1]) + left(factors.second, u[:, 2])
        u[:, i] -= inverses[i] @ ahead
    return torch.cat([u[:batch], u[batch:, : n_x - lines - 1].flip(1)], 1)[..., 0]


def inverse(S: Complex64[Tensor, "batch k k"]) -> Complex64[Tensor, "batch k k"]:
    """S⁻¹, by the Schur complement of its first half (Higham 2002, §14): all of it but small blocks is products."""
    k = S.shape[-1]
    if k <= LEAF:
        return torch.linalg.inv_ex(S).inverse
    h = k // 2
    B, C = S[:, :h, h:], S[:, h:, :h]
    X = inverse(S[:, :h, :h])
    XB, CX = X @ B, C @ X
    Y = inverse(torch.baddbmm(S[:, h:, h:], C, XB, alpha=-1))
    XBY = XB @ Y
    made = torch.empty_like(S)
    made[:, :h, :h] = torch.baddbmm(X, XBY, CX)
    made[:, :h, h:] = -XBY
    made[:, h:, :h] = -(Y @ CX)
    made[:, h:, h:] = Y
    return made


def bands(matrix: Any, device: torch.device) -> Bands:
    """The strips of a sparse matrix of five diagonals, each where it is not zero."""
    strips = {}
    for offset in range(-2, 3):
        diagonal, skipped = matrix.diagonal(offset), max(0, -offset)
        (rows,) = np.nonzero(diagonal)
        if len(rows):
            start, end = int(rows[0]), int(rows[-1]) + 1
            values = torch.as_tensor(diagonal[start:end], dtype=torch.complex64, device=device)
            strips[offset, start + skipped, end + skipped] = values
    return strips


def combined(*summands: tuple[float | int, Bands]) -> Bands:
    """Σ factor · bands, without those of factor zero."""
    total: Bands = {}
    for factor, each in summands:
        for strip, values in each.items() if factor else ():
            total[strip] = total.get(strip, 0) + float(factor) * values
    return total


def scaled(matrix: Bands, columns: Complex64[Tensor, "*any m"]) -> Bands:
    """The matrix times a diagonal one."""
    return {(d, start, end): values * columns[..., start + d : end + d] for (d, start, end), values in matrix.items()}


def line(matrices: Bands, i: int) -> Bands:
    """Those of line i, where they are not the same for all."""
    return {strip: values[:, i] if values.ndim > 1 else values for strip, values in matrices.items()}


def added(matrix: Bands, S: Complex64[Tensor, "batch m m"]) -> Complex64[Tensor, "batch m m"]:
    """S with a banded matrix added to it in place."""
    for (d, start, end), values in matrix.items():
        S.diagonal(d, 1, 2)[:, start - max(0, -d) : end - max(0, -d)] += values
    return S


def subtracted(
    S: Complex64[Tensor, "batch m m"], X: Complex64[Tensor, "batch m m"], matrix: Bands
) -> Complex64[Tensor, "batch m m"]:
    """S with X times a banded matrix subtracted from it in place."""
    for (d, start, end), values in matrix.items():
        S[..., start + d : end + d].addcmul_(X[..., start:end], values[..., None, :], value=-1)
    return S


def left(matrix: Bands, X: Complex64[Tensor, "batch m k"]) -> Complex64[Tensor, "batch m k"]:
    """A banded matrix times X."""
    product = torch.zeros_like(X)
    for (d, start, end), values in matrix.items():
        product[:, start:end].addcmul_(values[..., None], X[:, start + d : end + d])
    return product
