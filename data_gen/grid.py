"""The points of a grid on the unit square, and what coarser grids it holds.

A side of n points has them at i/(n-1), both ends included (``vertices``), or at i/n (``left``).
"""

from typing import Literal

import numpy as np
from jaxtyping import Float

Kind = Literal["vertices", "left"]

GRIDS = ("vertices", "left")


def vertices(n: int) -> Float[np.ndarray, " n"]:
    """The points i/(n-1), i = 0 … n-1."""
    return np.arange(n) / (n - 1)


def left(n: int) -> Float[np.ndarray, " n"]:
    """The points i/n, i = 0 … n-1."""
    return np.arange(n) / n


def exact_stride(n: int, resolution: int, grid: str) -> int:
    """The stride that takes `n` grid points a side to `resolution` of them.

    Parameters
    ----------
    n, resolution : int
        Points a side, given and wanted.
    grid : {"vertices", "left"}
        (n-1)/(resolution-1) for vertices, n/resolution for left-closed grids.

    Raises
    ------
    ValueError
        If the quotient is not an integer; lists the resolutions that there are.

    Examples
    --------
    >>> exact_stride(421, 85, "vertices"), exact_stride(32, 16, "left")
    (5, 2)
    """
    if grid not in GRIDS:
        raise ValueError(f"grid must be one of {', '.join(GRIDS)}, got {grid!r}")
    ends = int(grid == "vertices")
    possible = [m for m in range(2, n + 1) if (n - ends) % (m - ends) == 0]
    if resolution not in possible:
        raise ValueError(
            f"resolution {resolution} is no exact stride of {n} {grid}: possible are {', '.join(map(str, possible))}"
        )
    return (n - ends) // (resolution - ends)
