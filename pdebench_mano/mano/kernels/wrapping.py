"""Window attention on a periodic grid, by any form of it on one that ends.

Along an axis of n points, windows of k points every s points begin at 0, s, 2s, … and go round. Behind the last point
the first k - s are repeated: then all of them lie within the longer axis, and what attention gives there is added to
the points that were repeated. If s divides n, all points are alike. An axis shorter than k has one window, itself.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from pdebench_mano.fields.lattice import remembered
from pdebench_mano.mano.kernels.windows import starts

Field = Float[Tensor, "batch height width channels"]
Longer = Float[Tensor, "batch longer_height longer_width channels"]


def repeated(points: int, window: int, stride: int) -> int:
    """How many points are repeated behind the last."""
    return window - stride if points >= window else 0


def longer(points: int, window: int, stride: int) -> int:
    """How many points the longer axis has."""
    return points + repeated(points, window, stride)


@remembered
def holders(points: int, window: int, stride: int, device: torch.device, dtype: torch.dtype) -> Float[Tensor, " _"]:
    """How many windows hold each point of the longer axis."""
    count = torch.zeros(longer(points, window, stride))
    for first in starts(len(count), window, stride):
        count[first : first + window] += 1
    return count.to(device, dtype)


def wrap(x: Field, window: int, stride: int) -> Longer:
    """Repeat the first points of both axes behind the last."""
    for axis in (1, 2):
        if more := repeated(x.shape[axis], window, stride):
            x = torch.cat([x, x.narrow(axis, 0, more)], axis)
    return x


def fold(
    y: Longer, shape: tuple[int, int], window: int, stride: int
) -> Float[Tensor, "batch {shape[0]} {shape[1]} channels"]:
    """Means over the windows that hold a point, from those over windows of the longer axes."""
    for axis, points in zip((1, 2), shape, strict=True):
        if more := repeated(points, window, stride):
            count = holders(points, window, stride, y.device, y.dtype)
            total = y * count.view([-1 if each == axis else 1 for each in range(4)])
            again = total.narrow(axis, 0, more) + total.narrow(axis, points, more)
            both = torch.cat([again, total.narrow(axis, more, points - more)], axis)
            held = torch.cat([count[:more] + count[points:], count[more:points]])
            y = both / held.view([-1 if each == axis else 1 for each in range(4)])
    return y
