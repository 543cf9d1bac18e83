"""Triton kernel of weighted sums of rows, by which windows and convolutions go round a periodic grid.

What `pdebench_mano.mano.kernels.wrapping` and a circular padding repeat is found by repeating the numbers of the
points. Each of the maps is a table with its adjoint: which rows of an image are summed, and by which weights.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, NamedTuple, no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from pdebench_mano.mano.kernels.gpu.attention import Level, Rows
from pdebench_mano.mano.kernels.windows import holders
from pdebench_mano.mano.kernels.wrapping import wrap

ROWS = 16  # of a program


class Sums(NamedTuple):
    """Of every row of an image: which rows of another are summed, and by which weights."""

    sources: Int[Tensor, "rows terms"]
    weights: Float[Tensor, "rows terms"]


class Circle(NamedTuple):
    """Maps of a level's grid: onto the one that windows see, back by means, onto the one that a convolution sees; and
    their adjoints."""

    wrapped: Sums
    unwrapped: Sums
    folded: Sums
    unfolded: Sums
    padded: Sums
    unpadded: Sums


def _adjoint(source: Int[Tensor, " rows"], weight: Float[Tensor, " rows"], points: int) -> Sums:
    """That of x ↦ weight · x[source]."""
    count = source.bincount(minlength=points)[:, None]
    term = torch.arange(int(count.max()), device=source.device).expand(points, -1)
    rows = source.argsort(stable=True)[count.cumsum(0) - count + term.minimum(count - 1)]
    return Sums(rows, weight[rows] * (term < count))


@lru_cache(maxsize=64)
def circle_of(height: int, width: int, window: int, stride: int, device: torch.device) -> Circle:
    """The maps of a grid of this height and width."""
    cpu, points = torch.device("cpu"), height * width
    number = torch.arange(points, dtype=torch.float64, device=cpu).view(1, height, width, 1)
    longer = wrap(number, window, stride)
    beyond = pad(number.movedim(-1, 1), (1, 1, 1, 1), mode="circular")
    around, outer = (each.flatten().long() for each in (longer, beyond))
    count = holders(longer.shape[1], longer.shape[2], window, stride, cpu, torch.float64).flatten()
    share = count / count.new_zeros(points).index_add_(0, around, count)[around]
    maps: list[Sums] = []
    for source, weight in ((around, torch.ones_like(share)), (around, share), (outer, count.new_ones(len(outer)))):
        maps += [Sums(source[:, None], weight[:, None]), _adjoint(source, weight, points)]
    wrapped, unwrapped, unfolded, folded, padded, unpadded = (
        Sums(each.sources.to(device, torch.int32), each.weights.to(device, torch.float32)) for each in maps
    )
    return Circle(wrapped, unwrapped, folded, unfolded, padded, unpadded)


@triton.jit
@no_type_check
def weighted_sums(
    x, sources, weights, out, rows, points, x_points,
    COLUMNS: tl.constexpr, BLOCK: tl.constexpr, TERMS: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """Sums over TERMS rows of an image of x, for every of `points` rows of an image."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = (tl.program_id(1) * BLOCK + tl.arange(0, BLOCK))[None, :]
    exists, entry = row < rows, row % points * TERMS
    total = tl.zeros((ROWS, BLOCK), tl.float32)
    for term in tl.static_range(TERMS):
        source = row // points * x_points + tl.load(sources + entry + term, mask=exists, other=0)
        value = tl.load(x + source[:, None] * COLUMNS + column, mask=exists[:, None], other=0.0).to(tl.float32)
        total += tl.load(weights + entry + term, mask=exists, other=0.0)[:, None] * value
    tl.store(out + row[:, None] * COLUMNS + column, total.to(out.dtype.element_ty), mask=exists[:, None])


Name = Literal["wrapped", "unwrapped", "folded", "unfolded", "padded", "unpadded"]


def go_round(
    x: Rows, circles: Sequence[Circle] | None, name: Name, levels: Sequence[Level], others: Sequence[Level]
) -> Rows:
    """What these maps make of levels, the rows of others; x itself on a grid that ends."""
    if circles is None:
        return x
    columns = x.shape[1]
    out, block = x.new_empty(others[-1].first + others[-1].rows, columns), math.gcd(columns, 128)
    for circle, level, other in zip(circles, levels, others, strict=True):
        sources, weights = getattr(circle, name)
        points, x_points = other.height * other.width, level.height * level.width
        weighted_sums[triton.cdiv(other.rows, ROWS), columns // block](
            x[level.first :], sources, weights, out[other.first :], other.rows, points, x_points,
            COLUMNS=columns, BLOCK=block, TERMS=sources.shape[1], ROWS=ROWS, num_warps=4,
        )  # fmt: skip
    return out
