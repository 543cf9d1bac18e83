"""PEPITA (Dellaferrera & Kreiman 2022, arXiv:2201.11665): a second forward pass, the error projected onto the input.

    x̃ = x + e Fᵀ,   F fixed and random;   rerun → h̃;
    G_l = (h_l - h̃_l)ᵀ h̃_{l-1} / B,   G_L = eᵀ h̃_{L-1} / B

with eᵢ = ∂ℓᵢ/∂yᵢ. On fields F maps the channels of the output to those of the lift's input,
the same at every point.
"""

import math

import torch
from torch import Tensor, nn

from pdebench_mano.orthogonal import Chain
from pdebench_mano.training.losses import Inputs, Loss, Targets
from pdebench_mano.training.regimes.base import retract_layers
from pdebench_mano.training.regimes.chains import accumulate, chain_of, encoded, forward_only, last, loss_and_error


class Pepita:
    """Trains chains; they need not be orthogonal.

    Parameters
    ----------
    scale : float
        Standard deviation of the entries of F, in units of 1/√(features of the lift's input).
    seed : int
        Of F, which is a function of it and of the chain's widths alone.

    Raises
    ------
    ValueError
        For a `scale` that is not positive.
    """

    name = "pepita"

    def __init__(self, scale: float = 0.1, seed: int = 0) -> None:
        if not scale > 0:
            raise ValueError(f"scale must be positive, got {scale}")
        self.scale, self.seed = scale, seed
        self._drawn: dict[tuple[int, int, torch.dtype, torch.device], Tensor] = {}

    def projection(self, chain: Chain) -> Tensor:
        """F (features in, features out), in the chain's type and on its device."""
        weight = next(chain.parameters())
        key = chain.lift.in_features, chain.head.out_features, weight.dtype, weight.device
        if key not in self._drawn:
            f = torch.randn(*key[:2], generator=torch.Generator().manual_seed(self.seed), dtype=torch.float64)
            self._drawn[key] = (self.scale / math.sqrt(key[0]) * f).to(weight)
        return self._drawn[key]

    def check(self, operator: nn.Module) -> None:
        chain_of(operator, self.name)

    @forward_only
    def gradients(self, operator: nn.Module, a: Inputs, u: Targets, loss: Loss) -> Tensor:
        chain = chain_of(operator, self.name)
        x = encoded(operator, a)
        value, e = loss_and_error(operator, chain, last(chain.states(x)), x, u, loss)
        states = chain.states(x)
        z = next(states)
        z = z + torch.einsum("io,bo...->bi...", self.projection(chain), e)
        for layer in chain.layers[:-1]:
            h = chain.phi(layer(z))
            accumulate(layer, next(states) - h, z)
            z = h
        accumulate(chain.head, e, z)
        return value

    def retract(self, operator: nn.Module) -> None:
        retract_layers(operator)
