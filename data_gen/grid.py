"""The points of a box: how many along each axis, of which kind, and at which distance.

=========== ==================== ======================================================
kind        points of an axis    integral
=========== ==================== ======================================================
vertices    i L/(n-1)            both ends belong to the grid; trapezoidal rule
left        i L/n                every cell is represented by its left end; its sum
periodic    i L/n                the axis closes to a circle; its sum
=========== ==================== ======================================================
"""

from dataclasses import dataclass
from functools import reduce
from math import prod
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float

Kind = Literal["vertices", "left", "periodic"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Norm = Literal["points", "integral"]
"""What the mean square of a field is: the mean over grid points, or over the box, by `Grid.weights`."""


@dataclass(frozen=True)
class Grid:
    """The points of a box [0, L₁] × [0, L₂] × …

    Parameters
    ----------
    shape : tuple of int
        Points along each axis.
    kind : {"vertices", "left", "periodic"}
    lengths : tuple of float
        Sides of the box; () is the unit box.

    Raises
    ------
    ValueError
        For another kind, fewer points than an axis needs, or lengths that do not fit the shape.
    """

    shape: tuple[int, ...]
    kind: Kind = "vertices"
    lengths: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"grid must be one of {', '.join(KINDS)}, got {self.kind!r}")
        if not self.shape or min(self.shape) < 1 + self._ends:
            raise ValueError(f"a grid of {self.kind} needs at least {1 + self._ends} points a side, got {self}")
        if self.lengths and (len(self.lengths) != len(self.shape) or not all(0 < x < np.inf for x in self.lengths)):
            raise ValueError(f"lengths must be {len(self.shape)} positive numbers, got {self.lengths}")

    def __str__(self) -> str:
        return "×".join(map(str, self.shape))

    @property
    def _ends(self) -> int:
        return int(self.kind == "vertices")

    @property
    def sides(self) -> tuple[float, ...]:
        """Lengths of the box, those of the unit box too."""
        return self.lengths or (1.0,) * len(self.shape)

    @property
    def spacing(self) -> tuple[float, ...]:
        """Distance of neighbouring points along each axis."""
        return tuple(side / (n - self._ends) for side, n in zip(self.sides, self.shape, strict=True))

    def axes(self) -> tuple[Float[np.ndarray, " _"], ...]:
        """Coordinates along each axis, float64."""
        return tuple(side * (np.arange(n) / (n - self._ends)) for side, n in zip(self.sides, self.shape, strict=True))

    def mesh(self) -> Float[np.ndarray, "dimensions *shape"]:
        """Coordinates of all points, the index of the first axis first."""
        return np.stack(np.meshgrid(*self.axes(), indexing="ij"))

    def weights(self) -> Float[np.ndarray, "*shape"]:
        """Weights of the integral over the box; they sum to its volume."""
        rules = [np.full(n, h) for n, h in zip(self.shape, self.spacing, strict=True)]
        if self.kind == "vertices":
            for rule in rules:
                rule[[0, -1]] /= 2
        return np.asarray(reduce(np.multiply.outer, rules))

    def coarsened(self, resolution: int) -> "tuple[Grid, int]":
        """The grid of every s-th point that has `resolution` points along the first axis, and s.

        Raises
        ------
        ValueError
            If there is none; lists the resolutions that there are.

        Examples
        --------
        >>> Grid((421, 421)).coarsened(85)[1], Grid((32, 32), "left").coarsened(16)[1]
        (5, 2)
        """
        possible = self.coarsenings()
        if resolution not in possible:
            points = self.shape[0] if len(set(self.shape)) == 1 else self
            raise ValueError(
                f"resolution {resolution} is no exact stride of {points} {self.kind}: "
                f"possible are {', '.join(map(str, sorted(possible)))}"
            )
        stride = possible[resolution]
        return Grid(tuple(len(range(0, n, stride)) for n in self.shape), self.kind, self.lengths), stride

    def coarsenings(self) -> dict[int, int]:
        """The numbers of points along the first axis, two or more, that an exact stride leaves, and that stride."""
        intervals = [n - self._ends for n in self.shape]
        strides = [s for s in range(intervals[0], 0, -1) if not any(n % s for n in intervals)]
        possible = {intervals[0] // s + self._ends: s for s in strides}
        return {n: s for n, s in possible.items() if n >= 2}

    def refined(self, factor: int = 2) -> "Grid":
        """The grid of the same box with `factor` times as many intervals along each axis."""
        return Grid(tuple((n - self._ends) * factor + self._ends for n in self.shape), self.kind, self.lengths)

    @property
    def points(self) -> int:
        """Number of points."""
        return prod(self.shape)
