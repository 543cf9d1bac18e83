"""Triton kernels of the products that bring a field to a lattice and back, along one axis and then along the other.

Few entries of the matrices of `pdebench_mano.mano.expansions` are not zero: a point of the grid lies under two hats of
the lattice. Rows of the field are read, weighed and summed in float32 as they come, in whichever type, and what the
result is added to is read with them: the field is copied into no other type. Matrices are not rounded. Moments are
written where linear layers read them, side by side at their point of the lattice, and read from there.
"""

from typing import Any, Literal, NamedTuple, no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from data_gen.grid import Kind
from pdebench_mano.fields.lattice import remembered
from pdebench_mano.mano.expansions import expanding, gathering

BLOCK = 1024  # numbers that a program writes, of every kind

Rows = Float[Tensor, "images rows columns"]
Field = Float[Tensor, "batch height width channels"]
Moments = Float[Tensor, "batch rows columns four_channels"]
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


class Layout(NamedTuple):
    """Where a lattice point's mean (or value) and slope along an axis are, for images in two halves.

    The first of its columns are at image % half · `image` + image // half · `other` + point · `point`, and those of
    its slope `slope` further on.
    """

    half: int
    image: int
    other: int
    point: int
    slope: int


def by_order(images: int, lattice: int, columns: int) -> Layout:
    """That of (2, images, lattice, columns): all means, then all slopes."""
    return Layout(images, lattice * columns, 0, columns, images * lattice * columns)


def by_point(images: int, lattice: int, channels: int) -> Layout:
    """That of (images, lattice, 2, 2, channels) along the second axis, for images of means and others of slopes."""
    return Layout(images, lattice * 4 * channels, 2 * channels, 4 * channels, channels)


@triton.jit
@no_type_check
def _tile(points, columns, POINTS: tl.constexpr, BLOCK: tl.constexpr):
    """A program's image, its points of an axis, its columns, and which of them there are."""
    blocks = tl.cdiv(points, POINTS)
    image = (tl.program_id(0) // blocks).to(tl.int64)
    point = tl.program_id(0) % blocks * POINTS + tl.arange(0, POINTS)
    column = (tl.program_id(1) * BLOCK + tl.arange(0, BLOCK))[None, :]
    return image, point, column, (point < points)[:, None] & (column < columns)


@triton.jit
@no_type_check
def to_lattice(
    x, table, out, rows, lattice, columns, half, image_step, other_step, point_step, slope_step,
    TERMS: tl.constexpr, POINTS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Both sums over the rows of an image that a lattice point has to do with, for POINTS of them."""
    image, point, column, mask = _tile(lattice, columns, POINTS, BLOCK)
    exists = point < lattice
    mean, slope = tl.zeros((POINTS, BLOCK), tl.float32), tl.zeros((POINTS, BLOCK), tl.float32)
    for term in tl.range(0, TERMS, loop_unroll_factor=4):
        entry = table + point * TERMS + term
        row = image * rows + tl.load(entry, mask=exists, other=0.0).to(tl.int32)
        value = tl.load(x + row[:, None] * columns + column, mask=mask, other=0.0).to(tl.float32)
        mean += tl.load(entry + lattice * TERMS, mask=exists, other=0.0)[:, None] * value
        slope += tl.load(entry + 2 * lattice * TERMS, mask=exists, other=0.0)[:, None] * value
    place = image % half * image_step + image // half * other_step + point[:, None] * point_step + column
    tl.store(out + place, mean.to(out.dtype.element_ty), mask=mask)
    tl.store(out + place + slope_step, slope.to(out.dtype.element_ty), mask=mask)


@triton.jit
@no_type_check
def from_lattice(
    pairs, table, x, out, rows, columns, half, image_step, other_step, point_step, slope_step,
    TERMS: tl.constexpr, POINTS: tl.constexpr, BLOCK: tl.constexpr, RESIDUAL: tl.constexpr,
):  # fmt: skip
    """The sum over the lattice points that a row of an image has to do with, plus x if RESIDUAL, for POINTS rows."""
    image, point, column, mask = _tile(rows, columns, POINTS, BLOCK)
    exists = point < rows
    first = pairs + (image % half * image_step + image // half * other_step) + column
    place = (image * rows + point)[:, None] * columns + column
    total = tl.zeros((POINTS, BLOCK), tl.float32)
    if RESIDUAL:
        total += tl.load(x + place, mask=mask, other=0.0).to(tl.float32)
    for term in tl.range(0, TERMS, loop_unroll_factor=4):
        entry = table + point * TERMS + term
        source = first + tl.load(entry, mask=exists, other=0.0).to(tl.int32)[:, None] * point_step
        mean = tl.load(source, mask=mask, other=0.0).to(tl.float32)
        slope = tl.load(source + slope_step, mask=mask, other=0.0).to(tl.float32)
        total += tl.load(entry + rows * TERMS, mask=exists, other=0.0)[:, None] * mean
        total += tl.load(entry + 2 * rows * TERMS, mask=exists, other=0.0)[:, None] * slope
    tl.store(out + place, total.to(out.dtype.element_ty), mask=mask)


def _launch(kernel: Any, images: int, points: int, columns: int, *arguments: Any, **constants: Any) -> None:
    block = min(BLOCK, triton.next_power_of_2(columns))
    tile = min(BLOCK // block, triton.next_power_of_2(points))
    grid = images * triton.cdiv(points, tile), triton.cdiv(columns, block)
    kernel[grid](*arguments, POINTS=tile, BLOCK=block, num_warps=4, **constants)


def _to_lattice(x: Rows, entries: Table, out: Tensor, layout: Layout) -> Tensor:
    (images, rows, columns), (_, lattice, terms) = x.shape, entries.shape
    _launch(to_lattice, images, lattice, columns, x, entries, out, rows, lattice, columns, *layout, TERMS=terms)
    return out


def _from_lattice(pairs: Tensor, layout: Layout, entries: Table, x: Rows | None, out: Rows) -> Rows:
    (images, rows, columns), (_, _, terms) = out.shape, entries.shape
    _launch(
        from_lattice, images, rows, columns, pairs, entries, x, out, rows, columns, *layout,
        TERMS=terms, RESIDUAL=x is not None,
    )  # fmt: skip
    return out


class Axes(NamedTuple):
    """Tables of a matrix along the first and the second axis of a field, by the points of the one or the other grid."""

    first: Table
    second: Table

    @classmethod
    def of(
        cls, matrix: Matrix, by: Literal["lattice", "points"], shape: tuple[int, int], lattice: tuple[int, int],
        grid: Kind, device: torch.device,
    ) -> "Axes":  # fmt: skip
        first, second = (table(matrix, by, *sizes, grid, device) for sizes in zip(shape, lattice, strict=True))
        return cls(first, second)


def _moments(x: Tensor, axes: Axes, dtype: torch.dtype) -> Moments:
    """Sums over both axes of (batch, height, width, channels), in the order that `gather` says."""
    b, h, w, c = x.shape
    m, k = (entries.shape[1] for entries in axes)
    pairs = x.new_empty(2, b, m, w, c, dtype=dtype)
    _to_lattice(x.view(b, h, w * c), axes.first, pairs, by_order(b, m, w * c))
    return _to_lattice(pairs.view(2 * b * m, w, c), axes.second, pairs.new_empty(b, m, k, 4 * c), by_point(b * m, k, c))


def _expansions(coefficients: Moments, axes: Axes, onto: Tensor | None) -> Tensor:
    """Sums over both axes of the lattice, plus `onto` if it is given."""
    (b, m, k, c), (h, w) = coefficients.shape, (entries.shape[1] for entries in axes)
    c //= 4
    pairs = coefficients.new_empty(2 * b * m, w, c)
    _from_lattice(coefficients, by_point(b * m, k, c), axes.second, None, pairs)
    dtype = pairs.dtype if onto is None else torch.promote_types(onto.dtype, pairs.dtype)
    out = pairs.new_empty(b, h, w * c, dtype=dtype)
    _from_lattice(pairs, by_order(b, m, w * c), axes.first, None if onto is None else onto.view(b, h, w * c), out)
    return out.view(b, h, w, c)


class _Gather(torch.autograd.Function):
    """What is gathered of x, and x: its other gradients come back here, and one kernel adds ours to them."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, axes: Axes, adjoint: Axes, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        ctx.adjoint = adjoint
        return _moments(x, axes, dtype), x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor, g_x: Tensor) -> tuple[Tensor | None, ...]:
        return _expansions(g.contiguous(), ctx.adjoint, g_x.contiguous()), None, None, None


class _Expand(torch.autograd.Function):
    """The field of local expansions, plus x if there is one."""

    @staticmethod
    def forward(ctx: Any, coefficients: Tensor, x: Tensor | None, axes: Axes, adjoint: Axes) -> Tensor:
        ctx.adjoint, ctx.dtype, ctx.residual = adjoint, coefficients.dtype, x is not None
        return _expansions(coefficients, axes, x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        g = g.contiguous()
        return _moments(g, ctx.adjoint, ctx.dtype), g if ctx.residual else None, None, None


def gather(x: Field, lattice: tuple[int, int], grid: Kind, dtype: torch.dtype) -> tuple[Moments, Field]:
    """Moments of x, rounded to `dtype`, and x, for whatever is made of it beside them."""
    setting = ((x.shape[1], x.shape[2]), lattice, grid, x.device)
    forward, adjoint = Axes.of("gathering", "lattice", *setting), Axes.of("gathering", "points", *setting)
    with torch.cuda.device_of(x):
        return _Gather.apply(x.contiguous(), forward, adjoint, dtype)


def expand(coefficients: Moments, shape: tuple[int, int], grid: Kind, onto: Field | None) -> Field:
    """The field on a grid of that shape whose local expansions have these coefficients, plus `onto` if it is given."""
    setting = (shape, (coefficients.shape[1], coefficients.shape[2]), grid, coefficients.device)
    forward, adjoint = Axes.of("expanding", "points", *setting), Axes.of("expanding", "lattice", *setting)
    with torch.cuda.device_of(coefficients):
        return _Expand.apply(coefficients.contiguous(), None if onto is None else onto.contiguous(), forward, adjoint)
