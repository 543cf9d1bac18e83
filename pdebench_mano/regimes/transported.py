"""Transported FOTON, an extension of this project: the error is carried forward beside the states, not through them.

    r_0 = (L_D ⋯ L_1)* e,   r_l = L_l r_{l-1},   L_l L_l* = I undoing the adjoint;
    δ_l = [φ(a_l) - φ(a_l - η r_l)]/η,   a_l = L_l z_{l-1} + b_l;
    G_l = δ_l ⊗ z_{l-1} / B,   G_D = e ⊗ z_{D-1} / B

with eᵢ = ∂ℓᵢ/∂yᵢ and the lift called L_0. In FOTON (arXiv:2512.20668) the perturbation passes
the activations of all earlier layers, in backpropagation those of all later ones; here it
passes that of its own layer alone, r_l being the error pulled back through the linear parts.
Exact for linear chains, as FOTON is.
"""

import math

import torch
from torch import Tensor, nn

from pdebench_mano.regimes.base import retract_layers
from pdebench_mano.regimes.chains import (
    accumulate,
    chain_of,
    check_isometric,
    encoded,
    forward_only,
    last,
    loss_and_error,
    pull_back,
)
from pdebench_mano.regimes.losses import Inputs, Loss, Targets


class TransportedFoton:
    """Trains chains of orthogonal layers, in lock-step, without a backward pass.

    Parameters
    ----------
    eta : float, optional
        Step of the difference quotient that stands for φ'(a) r. By default the one that makes the root mean
        square of η r 0.01: small beside the activations, large beside round-off, whatever the unit of the loss.
    """

    name = "transported-foton"

    def __init__(self, eta: float | None = None) -> None:
        if eta is not None and not eta > 0:
            raise ValueError(f"eta must be positive, got {eta}")
        self.eta = eta

    def check(self, operator: nn.Module) -> None:
        chain = chain_of(operator, self.name)
        check_isometric(chain, self.name, chain.named_layers()[1:-1])

    @forward_only
    def gradients(self, operator: nn.Module, a: Inputs, u: Targets, loss: Loss) -> Tensor:
        chain = chain_of(operator, self.name)
        x = encoded(operator, a)
        value, e = loss_and_error(operator, chain, last(chain.states(x)), x, u, loss)
        layers = chain.layers
        z, r = chain.embed(x), pull_back(layers[1:], e)
        eta = _step(r) if self.eta is None else torch.full((), self.eta, dtype=r.dtype, device=r.device)
        for layer in layers[:-1]:
            if layer is not chain.lift:
                r = layer.lin(r)
            h = layer(z)
            perturbed = chain.phi(torch.addcmul(h, r, eta, value=-1))
            h = chain.phi(h)
            accumulate(layer, perturbed.sub_(h).div_(-eta), z)
            z = h
        accumulate(chain.head, e, z)
        return value

    def retract(self, operator: nn.Module) -> None:
        retract_layers(operator)


def _step(r: Tensor) -> Tensor:
    return 0.01 / torch.linalg.vector_norm(r).clamp_min(torch.finfo(r.dtype).tiny) * math.sqrt(r.numel())
