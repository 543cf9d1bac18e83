"""A derivative term for any loss: the relative error of the gradient.

    ℓ(y, t) + w |y - t|₁ / |t|₁,      |v|₁² = Σ (∂v/∂x)² + (∂v/∂y)²,

with differences of neighbouring points over their distance on the unit square, on periodic grids those of the last
points and the first, too; by integral, those between points of an edge count half. It weighs the fine scales that
an L2 loss hardly sees (Li et al. 2021, arXiv 2111.03794, §3.1).
"""

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from data_gen.grid import Kind, Norm
from pdebench_mano.fields.norms import order_one, slope_weights
from pdebench_mano.fields.operator import Fields
from pdebench_mano.training.losses import Loss


def _differences(v: Fields, grid: Kind) -> tuple[Tensor, Tensor]:
    if grid == "periodic":
        return (v.roll(-1, -2) - v) * v.shape[-2], (v.roll(-1, -1) - v) * v.shape[-1]
    return v.diff(dim=-2) * (v.shape[-2] - 1), v.diff(dim=-1) * (v.shape[-1] - 1)


def _adjoint(dx: Tensor, dy: Tensor, grid: Kind) -> Fields:
    """The transpose of `_differences`."""
    if grid == "periodic":
        return (dx.roll(1, -2) - dx) * dx.shape[-2] + (dy.roll(1, -1) - dy) * dy.shape[-1]
    return -pad(dx, (0, 0, 1, 1)).diff(dim=-2) * dx.shape[-2] - pad(dy, (1, 1)).diff(dim=-1) * dy.shape[-1]


def _weighted(v: Fields, weights: Float[Tensor, "_ _"] | None) -> Fields:
    return v if weights is None else v * weights


def _seminorm(v: Fields, grid: Kind, norm: Norm) -> Float[Tensor, " batch"]:
    squares = [
        _weighted(slope.square(), weights).flatten(1).sum(1)
        for slope, weights in zip(_differences(v, grid), slope_weights(v, grid, norm), strict=True)
    ]
    return (squares[0] + squares[1]).sqrt()


def _samples(y: Fields, t: Fields, weight: float, grid: Kind, norm: Norm) -> Float[Tensor, " batch"]:
    unit = order_one(t)
    return weight * _seminorm((y - t) * unit, grid, norm) / _seminorm(t * unit, grid, norm)


def _errors(y: Fields, t: Fields, weight: float, grid: Kind, norm: Norm) -> Fields:
    unit = order_one(t)
    error = (y - t) * unit
    dx, dy = map(_weighted, _differences(error, grid), slope_weights(error, grid, norm))
    scale = (_seminorm(error, grid, norm) * _seminorm(t * unit, grid, norm))[:, None, None, None]
    return weight * (_adjoint(dx, dy, grid) / torch.where(scale > 0, scale, torch.ones_like(scale)) * unit)


def with_h1_term(loss: Loss, weight: float, grid: Kind = "vertices", norm: Norm = "points") -> Loss:
    """`loss` plus `weight` times the relative error of the gradient, on (batch, channels, height, width) fields."""
    samples, errors = (partial(term, weight=weight, grid=grid, norm=norm) for term in (_samples, _errors))
    return Loss(
        f"{loss.name} + {weight} relative_h1",
        lambda y, t: loss.samples(y, t) + samples(y, t),
        lambda y, t: loss.errors(y, t) + errors(y, t),
    )
