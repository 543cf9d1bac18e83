"""Losses that give their value and each sample's own error.

A forward-only regime never differentiates the network, but needs the error that
starts it: row i of `errors` is ∂ℓᵢ/∂yᵢ of sample i's own loss ℓᵢ, not yet divided
by the batch size. Calling a loss returns the mean of ℓᵢ over the batch.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

Batch = Float[Tensor, "batch *shape"]
Inputs = Float[Tensor, "batch *inputs"]
Targets = Float[Tensor, "batch *outputs"]


@dataclass(frozen=True)
class Loss:
    """A mean over samples of ℓ(yᵢ, tᵢ), with the derivative by yᵢ written out.

    Parameters
    ----------
    name : str
    samples : callable
        (y, t) ↦ the (batch,) values ℓᵢ.
    errors : callable
        (y, t) ↦ ∂ℓᵢ/∂yᵢ, in the shape of y.
    """

    name: str
    samples: Callable[[Batch, Batch], Float[Tensor, " batch"]]
    errors: Callable[[Batch, Batch], Batch]

    def __call__(self, y: Batch, t: Batch) -> Float[Tensor, ""]:
        return self.samples(y, t).mean()


def _norm(x: Batch) -> Float[Tensor, " batch"]:
    return torch.linalg.vector_norm(x.flatten(1), dim=1)


def _relative_l2_errors(y: Batch, t: Batch) -> Batch:
    distance = _norm(y - t)
    scale = distance * _norm(t)
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    return (y - t) / scale.reshape(-1, *(1,) * (y.ndim - 1))


half_squared_error = Loss(
    "half_squared_error",
    lambda y, t: 0.5 * (y - t).square().flatten(1).sum(1),
    lambda y, t: y - t,
)
"""½‖y - t‖², summed over outputs."""

relative_l2 = Loss("relative_l2", lambda y, t: _norm(y - t) / _norm(t), _relative_l2_errors)
"""‖y - t‖ / ‖t‖."""

cross_entropy = Loss(
    "cross_entropy",
    lambda y, t: -(t * torch.log_softmax(y, dim=1)).flatten(1).sum(1),
    lambda y, t: torch.softmax(y, dim=1) - t,
)
"""-Σ t log softmax(y), targets being rows of probabilities."""

LOSSES = {loss.name: loss for loss in (half_squared_error, relative_l2, cross_entropy)}
