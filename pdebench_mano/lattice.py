"""Restriction to a lattice of fixed physical spacing, and prolongation back to the data's grid.

An operator whose kernels, windows or patches count points is another operator on every grid. Its points may instead be
those of a lattice with a spacing given as a length: features come down by full weighting and go up linearly, with

    P_ij = max(0, 1 - |x_i - y_j|/h),    R = PᵀW with rows normalised,

for grid points x with quadrature weights W, lattice points y and lattice spacing h along each axis (Trottenberg,
Oosterlee & Schüller 2001, §2.3): a lattice value is the mean of the field under a hat function, on every grid.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from pdebench_mano.operator import Fields, Grid

Resampled = Float[Tensor, "batch channels new_height new_width"]


def axis(points: int, grid: Grid, like: Tensor) -> Float[Tensor, " points"]:
    """Coordinates in [0, 1] of the points of one axis."""
    return torch.arange(points, device=like.device, dtype=like.dtype) / (points - (grid == "vertices"))


def quadrature(points: int, grid: Grid, like: Tensor) -> Float[Tensor, " points"]:
    """Weights of the integral over [0, 1]: trapezoidal rule on vertices, rectangle rule on left-closed grids."""
    intervals = points - (grid == "vertices")
    weights = torch.full((points,), 1 / intervals, device=like.device, dtype=like.dtype)
    if grid == "vertices":
        weights[0] = weights[-1] = 1 / (2 * intervals)
    return weights


def lattice_shape(shape: tuple[int, int], spacing: float | None, grid: Grid) -> tuple[int, int]:
    """Points of the lattice that serves a grid: about 1/spacing a side, never more than the grid itself has.

    Raises
    ------
    ValueError
        For a spacing outside (0, 1/2].
    """
    if spacing is None:
        return shape
    if not 0 < spacing <= 0.5:
        raise ValueError(f"spacing must be in (0, 0.5] or None, got {spacing}")
    points = round(1 / spacing) + (grid == "vertices")
    return min(shape[0], points), min(shape[1], points)


def interpolation(x: Float[Tensor, " fine"], y: Float[Tensor, " coarse"]) -> Float[Tensor, "fine coarse"]:
    """Linear interpolation from the equidistant points `y` to `x`, constant beyond the ends."""
    if len(y) == 1:
        return torch.ones_like(x)[:, None]
    x = x.clamp(y[0], y[-1])
    return (1 - (x[:, None] - y).abs() / (y[1] - y[0])).clamp(min=0)


def resample(field: Fields, shape: tuple[int, int], grid: Grid) -> Resampled:
    """`field` on a grid of another shape, of the same kind: full weighting where it is coarser, linear where finer."""
    for dim, points in zip((-2, -1), shape, strict=True):
        old = field.shape[dim]
        if old == points:
            continue
        x, y = axis(old, grid, field), axis(points, grid, field)
        if points < old:
            matrix = interpolation(x, y).T * quadrature(old, grid, field)
            matrix = matrix / matrix.sum(1, keepdim=True)
        else:
            matrix = interpolation(y, x)
        field = (matrix @ field) if dim == -2 else (field @ matrix.T)
    return field
