"""Windowed attention as it is defined: attend inside every window, average per point.

Along an axis of n points, windows of k points start at 0, s, 2s, …; if the last one does
not end with the grid, one more stands flush with its far edge. An axis shorter than k has
one window, the whole axis.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from pdebench_mano.fields.lattice import remembered

Projections = Float[Tensor, "batch height width qkv"]
Attended = Float[Tensor, "batch height width inner"]

COPIED = 700_000
"""Bytes that are copied at a time for predictions on a CPU: they stay in a cache, and no memory is paged in."""


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


@remembered
def inside(height: int, width: int, window: int, stride: int, device: torch.device) -> Int[Tensor, "windows members"]:
    """Indices of the points of every window, of a grid that is numbered row by row."""
    rows, columns = (members(n, window, stride, device) for n in (height, width))
    return (rows[:, None, :, None] * width + columns[None, :, None, :]).flatten(2).flatten(0, 1)


@remembered
def holders(
    height: int, width: int, window: int, stride: int, device: torch.device, dtype: torch.dtype
) -> Float[Tensor, "points 1"]:
    """How many windows hold each point."""
    return inside(height, width, window, stride, device).flatten().bincount(minlength=height * width)[:, None].to(dtype)


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
    points = inside(h, w, window, stride, qkv.device)
    few = qkv.device.type == "cpu" and not torch.is_grad_enabled() and not torch.compiler.is_compiling()
    total = qkv.new_zeros(b, h * w, channels // 3)
    each = b * points.shape[1] * channels * qkv.element_size()
    for some in points.split(max(1, COPIED // each) if few else len(points)):
        copied = qkv.reshape(b, h * w, channels).index_select(1, some.flatten())
        q, k, v = copied.view(b * len(some), some.shape[1], 3, heads, -1).permute(2, 0, 3, 1, 4)
        attended = scaled_dot_product_attention(q, k, v).transpose(1, 2)
        total.index_add_(1, some.flatten(), attended.reshape(b, some.numel(), -1))
    return (total / holders(h, w, window, stride, qkv.device, total.dtype)).view(b, h, w, -1)
