"""Triton kernels of the products along the first axis that bring a field to a lattice and back.

Few entries of the matrices of `pdebench_mano.mano.expansions` are not zero: a point of the grid lies under two hats of
the lattice. Rows of the field are read, weighed and summed in float32 as they come, in whichever type, and what the
result is added to is read with them: the field is copied into no other type. Matrices are not rounded.
"""

from typing import Any, Literal, no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from data_gen.grid import Kind
from pdebench_mano.fields.lattice import remembered
from pdebench_mano.mano.expansions import expanding, gathering

BLOCK = 1024  # columns of a program

Rows = Float[Tensor, "batch rows columns"]
Pairs = Float[Tensor, "batch 2 lattice columns"]
Table = Float[Tensor, "3 _ _"]
Matrix = Literal["gathering", "expanding"]


@remembered
def table(
    matrix: Matrix, by: Literal["lattice", "points"], points: int, lattice: int, grid: Kind, device: torch.device
) -> Table:
    """What is not zero in a matrix between the points of an axis and those of its lattice.

    For every point of the lattice, or of the axis: which of the others it has to do with, then the entries for means
    (or values), then those for slopes. Where another has more of them, the last is named again, with entries 0.
    """
    cpu = torch.device("cpu")
    if matrix == "gathering":
        entries = gathering(points, lattice, grid, cpu, torch.float32).view(2, lattice, points)
    else:
        entries = expanding(points, lattice, grid, cpu, torch.float32).T.view(2, lattice, points)
    if by == "points":
        entries = entries.mT
    there = (entries != 0).any(0)
    count = there.sum(1, keepdim=True)
    term = torch.arange(int(count.max())).expand(len(there), -1)
    others = there.int().argsort(dim=1, descending=True, stable=True).gather(1, term.minimum(count - 1).clamp(min=0))
    values = entries.gather(2, others.expand(2, -1, -1)) * (term < count)
    return torch.cat([others[None].float(), values]).to(device)


@triton.jit
@no_type_check
def to_lattice(x, table, out, rows, lattice, columns, TERMS: tl.constexpr, BLOCK: tl.constexpr):
    """Both sums over the rows of an image that a lattice point has to do with."""
    image, point = (tl.program_id(0) // lattice).to(tl.int64), tl.program_id(0) % lattice
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = column < columns
    mean, slope = tl.zeros((BLOCK,), tl.float32), tl.zeros((BLOCK,), tl.float32)
    for term in tl.range(0, TERMS, loop_unroll_factor=4):
        entry = table + point * TERMS + term
        row = image * rows + tl.load(entry).to(tl.int32)
        value = tl.load(x + row * columns + column, mask=mask, other=0.0).to(tl.float32)
        mean += tl.load(entry + lattice * TERMS) * value
        slope += tl.load(entry + 2 * lattice * TERMS) * value
    first = image * 2 * lattice + point
    tl.store(out + first * columns + column, mean.to(out.dtype.element_ty), mask=mask)
    tl.store(out + (first + lattice) * columns + column, slope.to(out.dtype.element_ty), mask=mask)


@triton.jit
@no_type_check
def from_lattice(
    pairs, table, x, out, rows, lattice, columns, TERMS: tl.constexpr, BLOCK: tl.constexpr, RESIDUAL: tl.constexpr
):  # fmt: skip
    """The sum over both rows of the lattice points that a row of an image has to do with, plus x if RESIDUAL."""
    image, point = (tl.program_id(0) // rows).to(tl.int64), tl.program_id(0) % rows
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = column < columns
    place = tl.program_id(0).to(tl.int64) * columns + column
    total = tl.zeros((BLOCK,), tl.float32)
    if RESIDUAL:
        total += tl.load(x + place, mask=mask, other=0.0).to(tl.float32)
    for term in tl.range(0, TERMS, loop_unroll_factor=4):
        entry = table + point * TERMS + term
        first = image * 2 * lattice + tl.load(entry).to(tl.int32)
        mean = tl.load(pairs + first * columns + column, mask=mask, other=0.0).to(tl.float32)
        slope = tl.load(pairs + (first + lattice) * columns + column, mask=mask, other=0.0).to(tl.float32)
        total += tl.load(entry + rows * TERMS) * mean + tl.load(entry + 2 * rows * TERMS) * slope
    tl.store(out + place, total.to(out.dtype.element_ty), mask=mask)


def _to_lattice(x: Rows, entries: Table, dtype: torch.dtype) -> Pairs:
    b, rows, columns = x.shape
    _, lattice, terms = entries.shape
    out = x.new_empty(b, 2, lattice, columns, dtype=dtype)
    to_lattice[b * lattice, triton.cdiv(columns, BLOCK)](
        x, entries, out, rows, lattice, columns, TERMS=terms, BLOCK=BLOCK, num_warps=4
    )
    return out


def _from_lattice(pairs: Pairs, entries: Table, x: Rows | None) -> Rows:
    b, _, lattice, columns = pairs.shape
    _, rows, terms = entries.shape
    dtype = pairs.dtype if x is None else torch.promote_types(x.dtype, pairs.dtype)
    out = pairs.new_empty(b, rows, columns, dtype=dtype)
    from_lattice[b * rows, triton.cdiv(columns, BLOCK)](
        pairs, entries, x, out, rows, lattice, columns, TERMS=terms, BLOCK=BLOCK, RESIDUAL=x is not None, num_warps=4
    )
    return out


class _Gather(torch.autograd.Function):
    """What is gathered of x, and x: its other gradients come back here, and one kernel adds ours to them."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, table: Tensor, adjoint: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        ctx.adjoint = adjoint
        return _to_lattice(x, table, dtype), x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor, g_x: Tensor) -> tuple[Tensor | None, ...]:
        return _from_lattice(g.contiguous(), ctx.adjoint, g_x.contiguous()), None, None, None


class _Expand(torch.autograd.Function):
    """What is expanded of both rows of the lattice points, plus x if there is one."""

    @staticmethod
    def forward(ctx: Any, pairs: Tensor, x: Tensor | None, table: Tensor, adjoint: Tensor) -> Tensor:
        ctx.adjoint, ctx.dtype, ctx.residual = adjoint, pairs.dtype, x is not None
        return _from_lattice(pairs, table, x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        d_pairs = _to_lattice(g.contiguous(), ctx.adjoint, ctx.dtype)
        return d_pairs, g if ctx.residual else None, None, None


def gather(x: Rows, lattice: int, grid: Kind, dtype: torch.dtype) -> tuple[Pairs, Rows]:
    """Moments of x along its first axis, rounded to `dtype`, and x, for whatever is made of it beside them."""
    axis = (x.shape[1], lattice, grid, x.device)
    forward, adjoint = table("gathering", "lattice", *axis), table("gathering", "points", *axis)
    with torch.cuda.device_of(x):
        return _Gather.apply(x.contiguous(), forward, adjoint, dtype)


def expand(pairs: Pairs, points: int, grid: Kind, onto: Rows | None) -> Rows:
    """Local expansions along the first axis, plus `onto` if it is given."""
    axis = (points, pairs.shape[2], grid, pairs.device)
    forward, adjoint = table("expanding", "points", *axis), table("expanding", "lattice", *axis)
    with torch.cuda.device_of(pairs):
        return _Expand.apply(pairs.contiguous(), None if onto is None else onto.contiguous(), forward, adjoint)
