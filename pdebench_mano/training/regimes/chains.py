"""What the forward-only regimes share: which operators they train, and the passes over a chain."""

from collections.abc import Callable, Iterable, Sequence
from functools import wraps

import torch
from torch import Tensor, nn

from pdebench_mano.fields.normalized import NormalizedOperator
from pdebench_mano.orthogonal import Chain, OrthogonalLayer
from pdebench_mano.training.losses import Inputs, Loss, Targets

Gradients = Callable[..., Tensor]


def forward_only(gradients: Gradients) -> Gradients:
    """Run a regime's `gradients` without an autograd graph, and in full precision.

    Half precision would round away the difference of two nearby passes.
    """

    @wraps(gradients)
    def run(self: object, operator: nn.Module, a: Inputs, u: Targets, loss: Loss) -> Tensor:
        with torch.no_grad(), torch.autocast(a.device.type, enabled=False):
            return gradients(self, operator, a, u, loss)

    return run


def chain_of(operator: nn.Module, regime: str) -> Chain:
    """The chain inside `operator`, which may be normalised.

    Raises
    ------
    TypeError
        If it is no chain of layers with an adjoint.
    """
    chain = operator.operator if isinstance(operator, NormalizedOperator) else operator
    if not isinstance(chain, Chain):
        raise TypeError(
            f"{regime} cannot train {type(chain).__name__}: it needs a chain lift, blocks, head "
            "(pdebench_mano.orthogonal.Chain); attention, residual sums and normalisation between blocks are none"
        )
    blocks = ((f"blocks.{name}", block) for name, block in chain.blocks.named_children())
    for name, layer in [("lift", chain.lift), *blocks, ("head", chain.head)]:
        if not isinstance(layer, OrthogonalLayer):
            raise TypeError(
                f"{regime} cannot train {type(chain).__name__}: {name} is a {type(layer).__name__}, "
                "which has no lin, adj and param_grad (pdebench_mano.orthogonal.OrthogonalLayer)"
            )
    return chain


def check_isometric(chain: Chain, regime: str, carrying: Iterable[tuple[str, OrthogonalLayer]]) -> None:
    """Raise TypeError if one of the layers that carry the error forward does not undo its adjoint, L L* ≠ I."""
    for name, layer in carrying:
        where = f"{regime} cannot train this {type(chain).__name__}: {name}"
        if not layer.constrained:
            hint = "; foton-latent asks that of the blocks alone" if name == "lift" else ""
            raise TypeError(f"{where} is not constrained to be orthogonal{hint}")
        if layer.out_features > layer.in_features:
            raise TypeError(
                f"{where} expands, {layer.in_features} → {layer.out_features}, and so does not undo its adjoint; "
                "only the lift may, under foton-latent or transported-foton"
            )


def loss_and_error(
    operator: nn.Module, chain: Chain, y: Tensor, a: Inputs, u: Targets, loss: Loss
) -> tuple[Tensor, Tensor]:
    """The loss, and each sample's error ∂ℓᵢ/∂yᵢ at the head's output `y` (batch, channels, *grid).

    Where outputs are normalised, physical values are decoded as std·y + mean: the error at y is std times
    the physical one.
    """
    prediction = chain.unembed(y, a)
    if not isinstance(operator, NormalizedOperator):
        return loss(prediction, u), loss.errors(prediction, u).reshape(y.shape)
    prediction = operator.decoder.decode(prediction)
    error = loss.errors(prediction, u) * operator.decoder.std[:, None, None]
    return loss(prediction, u), error.reshape(y.shape)


def encoded(operator: nn.Module, a: Inputs) -> Inputs:
    """What the chain sees of the input `a`."""
    return operator.encoder.encode(a) if isinstance(operator, NormalizedOperator) else a


def last(states: Iterable[Tensor]) -> Tensor:
    """The last of the states; the others are let go as they come."""
    for state in states:  # noqa: B007
        pass
    return state


def pull_back(layers: Sequence[OrthogonalLayer], error: Tensor) -> Tensor:
    """L₁* ⋯ L_n* e: the error (batch, channels, *grid) carried back through the linear parts of `layers`."""
    for layer in reversed(layers):
        error = layer.adj(error)
    return error


def accumulate(layer: OrthogonalLayer, delta: Tensor, z: Tensor) -> None:
    """Add the update of `layer` for errors `delta` at its output and inputs `z`, averaged over the batch.

    Both are (batch, channels, *grid).
    """
    for name, gradient in layer.param_grad(delta, z).items():
        parameter = getattr(layer, name)
        mean = gradient.to(parameter.dtype).div_(len(delta))
        parameter.grad = mean if parameter.grad is None else parameter.grad.add_(mean)
