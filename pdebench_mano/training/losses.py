"""Losses that give their value and each sample's own error.

A forward-only regime never differentiates the network, but needs the error that
starts it: row i of `errors` is ∂ℓᵢ/∂yᵢ of sample i's own loss ℓᵢ, not yet divided
by the batch size. Calling a loss returns the mean of ℓᵢ over the batch.

A relative loss is of the fields over a power of two near max |t| of the sample, as the metrics are: no bit of it
changes, and fields of any unit are trained on.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from data_gen.grid import Kind, Norm
from pdebench_mano.fields.norms import order_one, weights

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


def _relative_l2(y: Batch, t: Batch) -> Float[Tensor, " batch"]:
    unit = order_one(t)
    return _norm((y - t) * unit) / _norm(t * unit)


def _relative_l2_errors(y: Batch, t: Batch) -> Batch:
    unit = order_one(t)
    error = (y - t) * unit
    scale = _norm(error) * _norm(t * unit)
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    return error / scale.reshape(-1, *(1,) * (y.ndim - 1)) * unit


half_squared_error = Loss(
    "half_squared_error",
    lambda y, t: 0.5 * (y - t).square().flatten(1).sum(1),
    lambda y, t: y - t,
)
"""½‖y - t‖², summed over outputs."""

relative_l2 = Loss("relative_l2", _relative_l2, _relative_l2_errors)
"""‖y - t‖ / ‖t‖."""

cross_entropy = Loss(
    "cross_entropy",
    lambda y, t: -(t * torch.log_softmax(y, dim=1)).flatten(1).sum(1),
    lambda y, t: torch.softmax(y, dim=1) - t,
)
"""-Σ t log softmax(y), targets being rows of probabilities."""

LOSSES = {loss.name: loss for loss in (half_squared_error, relative_l2, cross_entropy)}


def by_norm(loss: Loss, grid: Kind, norm: Norm) -> Loss:
    """`relative_l2` with the norm of fields on a kind of grid; any other loss as it is."""
    if loss is not relative_l2 or norm == "points" or grid != "vertices":
        return loss

    def root(t: Batch) -> Tensor:
        counted = weights(t, grid, norm)
        assert counted is not None
        return counted.sqrt()

    return Loss(  # ∫v² is the sum of squares of v times the roots of the weights
        f"{loss.name} by {norm}",
        lambda y, t: loss.samples(y * root(t), t * root(t)),
        lambda y, t: loss.errors(y * root(t), t * root(t)) * root(t),
    )
