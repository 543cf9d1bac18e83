"""Restriction to a lattice of fixed physical spacing, and prolongation back to the data's grid.

An operator whose kernels, windows or patches count points is another operator on every grid. Its points may instead be
those of a lattice with a spacing given as a length: features come down by full weighting and go up linearly, with

    P_ij = max(0, 1 - |x_i - y_j|/h),    R = PᵀW with rows normalised,

for grid points x with quadrature weights W, lattice points y and lattice spacing h along each axis (Trottenberg,
Oosterlee & Schüller 2001, §2.3): a lattice value is the mean of the field under a hat function, on every grid. On a
periodic grid |x - y| is the distance on the circle.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache, wraps
from typing import ParamSpec

import torch
from jaxtyping import Float
from torch import Tensor

from data_gen.grid import Kind
from pdebench_mano.fields.operator import Fields

Resampled = Float[Tensor, "batch channels new_height new_width"]


P = ParamSpec("P")

_held: ContextVar[list[Tensor] | None] = ContextVar("constants that a recording reads", default=None)


@contextmanager
def holding() -> Iterator[list[Tensor]]:
    """Collect what is given to `hold`, for a recording that reads its memory after others have forgotten it."""
    constants: list[Tensor] = []
    token = _held.set(constants)
    try:
        yield constants
    finally:
        _held.reset(token)


def hold(constant: Tensor) -> Tensor:
    """Have the recording that is being made, if any, keep a tensor of any shape that is remembered for a while only."""
    if (constants := _held.get()) is not None:
        constants.append(constant)
    return constant


def remembered(build: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """Keep the constant matrices of the last grids: building them takes longer than using them.

    A program that is exported builds them itself. A compiled one takes them from here: it may be recorded as a CUDA
    graph, in which nothing is copied from the CPU. Transforms of functions see none of the building, since what they
    wrap is good for nothing outside of them; nor does it begin on a default device.
    """
    cached = lru_cache(maxsize=128)(build)

    @torch.compiler.disable
    def kept(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        with torch.inference_mode(False), torch.no_grad(), torch._C._DisableFuncTorch(), torch.device("cpu"):
            return hold(cached(*args, **kwargs))  # type: ignore[arg-type]

    @wraps(build)
    def get(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        exported = torch.compiler.is_compiling() and not torch.compiler.is_dynamo_compiling()
        return build(*args, **kwargs) if exported else kept(*args, **kwargs)

    return get


def axis(points: int, grid: Kind, device: torch.device) -> Float[Tensor, " points"]:
    """Coordinates in [0, 1] of the points of one axis, in float64."""
    return torch.arange(points, device=device, dtype=torch.float64) / (points - (grid == "vertices"))


def quadrature(points: int, grid: Kind, device: torch.device) -> Float[Tensor, " points"]:
    """Weights of the integral over [0, 1]: trapezoidal rule on vertices, rectangle rule on left-closed grids."""
    intervals = points - (grid == "vertices")
    weights = torch.full((points,), 1 / intervals, device=device, dtype=torch.float64)
    if grid == "vertices":
        weights[0] = weights[-1] = 1 / (2 * intervals)
    return weights


def check_spacing(spacing: float | None) -> None:
    """Refuse what is no distance of lattice points.

    Raises
    ------
    ValueError
        For a spacing outside (0, 1/2]; None is the data's own grid.
    """
    if spacing is not None and not 0 < spacing <= 0.5:
        raise ValueError(f"spacing must be in (0, 0.5] or None, got {spacing}; it is a length in the unit square")


def lattice_points(spacing: float, grid: Kind) -> int:
    """Points a side of the lattice of a spacing."""
    return round(1 / spacing) + (grid == "vertices")


def lattice_shape(shape: tuple[int, int], spacing: float | None, grid: Kind) -> tuple[int, int]:
    """Points of the lattice that serves a grid: about 1/spacing a side, never more than the grid itself has."""
    if spacing is None:
        return shape
    most = lattice_points(spacing, grid)
    height, width = (points if points < most else most for points in shape)
    return height, width


def interpolation(x: Float[Tensor, " fine"], y: Float[Tensor, " coarse"], grid: Kind) -> Float[Tensor, "fine coarse"]:
    """Linear interpolation from the equidistant points `y` to `x`, constant beyond the ends, or round them."""
    if y.shape[0] == 1:
        return torch.ones_like(x)[:, None]
    if grid == "periodic":
        hats = (1 - around(x, y).abs() / (y[1] - y[0])).clamp(min=0)
        return hats / hats.sum(1, keepdim=True)
    x = x.clamp(y[0], y[-1])
    return (1 - (x[:, None] - y).abs() / (y[1] - y[0])).clamp(min=0)


def around(x: Float[Tensor, " fine"], y: Float[Tensor, " coarse"]) -> Float[Tensor, "fine coarse"]:
    """The shorter way from each point y to each x on a circle of length 1, in [-1/2, 1/2)."""
    return (x[:, None] - y + 0.5).remainder(1.0) - 0.5


@remembered
def resampling(
    old: int, new: int, grid: Kind, device: torch.device, dtype: torch.dtype
) -> Float[Tensor, "{new} {old}"]:
    """Matrix from `old` points of an axis to `new` ones: full weighting where they are fewer, else linear."""
    x, y = axis(old, grid, device), axis(new, grid, device)
    if new > old:
        return interpolation(y, x, grid).to(dtype)
    matrix = interpolation(x, y, grid).T * quadrature(old, grid, device)
    return (matrix / matrix.sum(1, keepdim=True)).to(dtype)


def resample(field: Fields, shape: tuple[int, int], grid: Kind) -> Resampled:
    """`field` on a grid of another shape, of the same kind: full weighting where it is coarser, linear where finer."""
    (height, width), (new_height, new_width) = field.shape[-2:], shape
    if new_width != width:
        field = field @ resampling(width, new_width, grid, field.device, field.dtype).T
    if new_height != height:
        field = (field.mT @ resampling(height, new_height, grid, field.device, field.dtype).T).mT
    return field
