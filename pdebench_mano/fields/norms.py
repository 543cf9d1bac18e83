"""Means of squares over a grid, so that values at different resolutions can be compared.

========== ==================================================================================
norm       mean of a square
========== ==================================================================================
points     over grid points, whatever their kind
integral   over the unit square: the trapezoidal rule on vertices, where points of an edge count
           half and corners a quarter; on left and periodic grids, that over points
========== ==================================================================================

Lengths are parts of the sides, so that slopes and wave numbers are those of the unit square, whatever the box that the
problem lives on.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from data_gen.grid import Kind, Norm
from pdebench_mano.fields.operator import Fields

PerSample = Float[Tensor, " batch"]


def order_one(truth: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch *ones"]:
    """The power of two that brings the largest |t| of each sample to [1/2, 1); one where the truth is zero.

    Fields near the ends of what floating point can hold come as close to that as a factor can bring them.
    """
    smallest = torch.finfo(truth.dtype).tiny
    largest = truth.detach().abs().flatten(1).amax(1).reshape(-1, *(1,) * (truth.ndim - 1))
    within = largest.clamp(smallest, 0.25 / smallest)
    return torch.where(largest == 0, torch.ones_like(within), torch.frexp(within).mantissa / within)


def trapezoidal(n: int, like: Tensor) -> Float[Tensor, " {n}"]:
    """Weights of the trapezoidal rule on the n vertices of (0, 1), which sum to one."""
    rule = torch.full((n,), 1 / (n - 1), device=like.device, dtype=like.dtype)
    rule[:: n - 1].div_(2)  # in place, not assigned: no copy from the host while a CUDA graph is recorded
    return rule


def weights(like: Fields, grid: Kind, norm: Norm) -> Float[Tensor, "height width"] | None:
    """Weights of the grid points of `like` in a mean, which sum to one; None where all count the same."""
    if norm == "points" or grid != "vertices":
        return None
    return trapezoidal(like.shape[-2], like)[:, None] * trapezoidal(like.shape[-1], like)


def slope_weights(
    like: Fields, grid: Kind, norm: Norm
) -> tuple[Float[Tensor, "_ width"], Float[Tensor, "height _"]] | tuple[None, None]:
    """The same of the differences along x and along y, which stand for the slopes between points."""
    if norm == "points" or grid != "vertices":
        return None, None
    x, y = trapezoidal(like.shape[-2], like), trapezoidal(like.shape[-1], like)
    dx, dy = 1 / (len(x) - 1), 1 / (len(y) - 1)
    return (dx * y).expand(len(x) - 1, -1), (dy * x[:, None]).expand(-1, len(y) - 1)


def mean_square(field: Float[Tensor, "batch ..."], weights: Float[Tensor, "_ _"] | None = None) -> PerSample:
    """Mean over channels and points, for each sample."""
    if weights is None:
        return field.square().flatten(1).mean(1)
    return (field.square() * weights).sum((-2, -1)).mean(1)
