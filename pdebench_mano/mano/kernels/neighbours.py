"""Averages over windows, as weighted sums over neighbours.

Let the grid be made of cells (points, or blocks of points) and every window be m × m cells, one
window starting at each cell where it fits. A cell shares windows with its (2m-1)² neighbours b.
If ℓ_b is the log-sum-exp of a query's scores in neighbour b, and o_b the softmax average of the
values there, attention inside every window, averaged over windows, is

    Σ_b g_b o_b,     g_b = mean over the windows w ∋ b of softmax_w(ℓ)_b :

what a window holds need never be copied. Cells are numbered row by row, so a neighbour is a shift
along one axis. A shift past the end of a row meets some other cell, which does no harm: windows
that leave the grid have no share in the mean.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

Scalars = Float[Tensor, "neighbours *batch rows columns"]
Inside = Float[Tensor, "windows members *batch rows columns"]


def shifts(m: int, rows: int, columns: int, size: int = 1) -> Iterator[tuple[slice, slice]]:
    """For each neighbour, the cells that have one and those neighbours; a cell is `size` entries of an axis."""
    for shift in (i * columns + j for i in range(1 - m, m) for j in range(1 - m, m)):
        before, after = max(0, -shift) * size, max(0, shift) * size
        n = rows * columns * size
        yield slice(min(before, n), max(n - after, 0)), slice(min(after, n), max(n - before, 0))


def _members(m: int, device: torch.device) -> Int[Tensor, "windows members"]:
    """[w, c]: which neighbour the c-th cell of a window is, as seen from the w-th."""
    cell = torch.arange(m, device=device)
    step = cell - cell[:, None] + m - 1
    return (step[:, None, :, None] * (2 * m - 1) + step[None, :, None, :]).reshape(m * m, m * m)


def _shares(m: int, like: Scalars) -> Float[Tensor, "windows *ones rows columns"]:
    """[w]: 1/(number of windows that hold a cell) where one of them has it as its w-th cell, else 0."""

    def axis(cells: int) -> Float[Tensor, "m cells"]:
        first = torch.arange(cells, device=like.device) - torch.arange(m, device=like.device)[:, None]
        exists = ((first >= 0) & (first <= cells - m)).to(like.dtype)
        return exists / exists.sum(0)

    rows, columns = like.shape[-2:]
    shares = axis(rows)[:, None, :, None] * axis(columns)[None, :, None, :]
    return shares.reshape(m * m, *(1,) * (like.ndim - 2), rows, columns)


def merge(lse: Scalars, m: int) -> tuple[Scalars, Inside]:
    """ℓ ↦ g, and the softmaxes inside the windows. The grid has at least m cells a side."""
    members = _members(m, lse.device)
    inside = lse[members].softmax(1)
    return lse.new_zeros(lse.shape).index_add_(0, members.flatten(), (inside * _shares(m, lse)).flatten(0, 1)), inside


def merge_backward(g: Scalars, inside: Inside, m: int) -> Scalars:
    """∂/∂ℓ from ∂/∂g."""
    members = _members(m, g.device)
    d = g[members].mul_(inside).mul_(_shares(m, g))
    d.addcmul_(inside, d.sum(1, keepdim=True), value=-1)
    return g.new_zeros(g.shape).index_add_(0, members.flatten(), d.flatten(0, 1))
