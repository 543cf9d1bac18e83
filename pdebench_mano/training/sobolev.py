"""A derivative term for any loss: the relative error of the gradient.

    ℓ(y, t) + w |y - t|₁ / |t|₁,      |v|₁² = Σ (∂v/∂x)² + (∂v/∂y)²,

with differences of neighbouring points over their distance on the unit square. It weighs
the fine scales that an L2 loss hardly sees (Li et al. 2021, arXiv 2111.03794, §3.1).
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from pdebench_mano.fields.operator import Fields
from pdebench_mano.training.losses import Loss


def _differences(v: Fields) -> tuple[Tensor, Tensor]:
    return v.diff(dim=-2) * (v.shape[-2] - 1), v.diff(dim=-1) * (v.shape[-1] - 1)


def _seminorm(v: Fields) -> Float[Tensor, " batch"]:
    dx, dy = _differences(v)
    return (dx.square().flatten(1).sum(1) + dy.square().flatten(1).sum(1)).sqrt()


def _errors(y: Fields, t: Fields) -> Fields:
    dx, dy = _differences(y - t)
    adjoint_x = -pad(dx, (0, 0, 1, 1)).diff(dim=-2) * (y.shape[-2] - 1)
    adjoint_y = -pad(dy, (1, 1)).diff(dim=-1) * (y.shape[-1] - 1)
    scale = _seminorm(y - t) * _seminorm(t)
    return (adjoint_x + adjoint_y) / torch.where(scale > 0, scale, torch.ones_like(scale))[:, None, None, None]


def with_h1_term(loss: Loss, weight: float) -> Loss:
    """`loss` plus `weight` times the relative error of the gradient, on (batch, channels, height, width) fields."""
    return Loss(
        f"{loss.name} + {weight} relative_h1",
        lambda y, t: loss.samples(y, t) + weight * _seminorm(y - t) / _seminorm(t),
        lambda y, t: loss.errors(y, t) + weight * _errors(y, t),
    )
