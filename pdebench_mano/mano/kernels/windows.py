"""Windowed attention as it is defined: attend inside every window, average per point.

Along an axis of n points, windows of k points start at 0, s, 2s, …; if the last one does
not end with the grid, one more stands flush with its far edge. An axis shorter than k has
one window, the whole axis.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

Projections = Float[Tensor, "batch height width qkv"]
Attended = Float[Tensor, "batch height width inner"]


def starts(points: int, window: int, stride: int) -> list[int]:
    """First points of the windows along an axis.

    Examples
    --------
    >>> starts(9, window=4, stride=2)
    [0, 2, 4, 5]
    >>> starts(3, window=4, stride=2)
    [0]
    """
    last = max(points - window, 0)
    return [*range(0, last, stride), last]


def members(points: int, window: int, stride: int, device: torch.device) -> Int[Tensor, "windows members"]:
    """Indices of the points of every window along an axis."""
    first = torch.tensor(starts(points, window, stride), device=device)
    return first[:, None] + torch.arange(min(window, points), device=device)


def windows_attention(qkv: Projections, heads: int, window: int, stride: int) -> Attended:
    """softmax(q kᵀ/√d) v inside every window, averaged over the windows that hold a point.

    Parameters
    ----------
    qkv : (batch, height, width, 3 · heads · d) tensor
        Queries, keys and values of every grid point; each splits into heads.
    heads, window, stride : int
        Windows are window × window points, every `stride` points; see `starts`.

    Returns
    -------
    (batch, height, width, heads · d) tensor
    """
    b, h, w, channels = qkv.shape
    rows, columns = (members(n, window, stride, qkv.device) for n in (h, w))
    (i, k), (j, m) = rows.shape, columns.shape
    points = (rows[:, None, :, None] * w + columns[None, :, None, :]).flatten()
    inside = qkv.reshape(b, h * w, channels).index_select(1, points).reshape(b * i * j, k * m, 3, heads, -1)
    attended = scaled_dot_product_attention(*inside.permute(2, 0, 3, 1, 4)).transpose(1, 2).reshape(b, len(points), -1)
    total = attended.new_zeros(b, h * w, attended.shape[-1]).index_add(1, points, attended)
    count = torch.bincount(points, minlength=h * w).to(total.dtype)
    return (total / count[:, None]).reshape(b, h, w, -1)
