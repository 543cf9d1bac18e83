"""FOTON (arXiv:2512.20668): a second forward pass, the error projected through the chain's own adjoint.

    J = L_D ⋯ L_1;   x̃ = x - η J*e;   rerun → h̃;
    G_l = (h_l - h̃_l)/η ⊗ h_{l-1} / B,   G_D = e ⊗ h_{D-1} / B

with eᵢ = ∂ℓᵢ/∂yᵢ. Where L_k L_k* = I for k ≤ l and φ is linear, h_l - h̃_l is the
backpropagated error and G_l the exact gradient. A lift that expands breaks this; injected
behind it, at the latent z₀ - η (L_D ⋯ L_1)*e with the lift called L_0, the error meets no
such layer. That is this project's form of the rule; the published one injects at the input,
with η = 1.
"""

from typing import Literal

from torch import Tensor, nn

from pdebench_mano.training.losses import Inputs, Loss, Targets
from pdebench_mano.training.regimes.base import retract_layers
from pdebench_mano.training.regimes.chains import (
    accumulate,
    chain_of,
    check_isometric,
    encoded,
    forward_only,
    last,
    loss_and_error,
    pull_back,
)


class Foton:
    """FOTON as published: trains chains of orthogonal layers, the lift among them, which may not expand.

    Parameters
    ----------
    inject : {"input", "latent"}
        Where the error enters: before the lift, or behind it (its activation included), as in `FotonLatent`.
    eta : float
        Size of the perturbation, in units of the error.
    lockstep : bool
        Recompute the clean states beside the perturbed ones instead of storing them: the same
        numbers to the last bit, one more forward pass, and memory that does not grow with depth.

    Raises
    ------
    ValueError
        For another place to inject, or an `eta` that is not positive.
    """

    name = "foton"

    def __init__(self, inject: Literal["input", "latent"] = "input", eta: float = 1.0, lockstep: bool = True) -> None:
        if inject not in ("input", "latent"):
            raise ValueError(f"inject must be 'input' or 'latent', got {inject!r}")
        if not eta > 0:
            raise ValueError(f"eta must be positive, got {eta}")
        self.inject, self.eta, self.lockstep = inject, eta, lockstep

    def check(self, operator: nn.Module) -> None:
        chain = chain_of(operator, self.name)
        first = 1 if self.inject == "latent" else 0
        check_isometric(chain, self.name, chain.named_layers()[first:-1])

    @forward_only
    def gradients(self, operator: nn.Module, a: Inputs, u: Targets, loss: Loss) -> Tensor:
        chain = chain_of(operator, self.name)
        x = encoded(operator, a)
        stored = None if self.lockstep else list(chain.states(x))
        value, e = loss_and_error(operator, chain, last(stored or chain.states(x)), x, u, loss)
        states = iter(stored or chain.states(x))
        layers = chain.layers
        z = next(states)
        if self.inject == "latent":
            r = pull_back(layers[1:], e)
            accumulate(layers.pop(0), r, z)
            z = next(states)
        else:
            r = pull_back(layers, e)
        perturbed = z - self.eta * r
        del r
        for layer in layers[:-1]:
            h, perturbed = next(states), chain.phi(layer(perturbed))
            accumulate(layer, (h - perturbed).div_(self.eta), z)
            z = h
        accumulate(chain.head, e, z)
        return value

    def retract(self, operator: nn.Module) -> None:
        retract_layers(operator)


class FotonLatent(Foton):
    """Our form of FOTON, which injects the error behind the lift: that may expand, and need not be orthogonal.

    Parameters
    ----------
    eta, lockstep
        As of `Foton`.
    """

    name = "foton-latent"

    def __init__(self, eta: float = 1.0, lockstep: bool = True) -> None:
        super().__init__("latent", eta, lockstep)
