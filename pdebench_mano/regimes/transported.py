"""Transported FOTON, an extension of this project: the error is carried forward beside the states, not through them.

    r_0 = (L_D ⋯ L_1)* e,   r_l = L_l r_{l-1},   L_l L_l* = I undoing the adjoint;
    δ_l = [φ(a_l) - φ(a_l - η r_l)]/η,   a_l = L_l z_{l-1} + b_l;
    G_l = δ_l ⊗ z_{l-1} / B,   G_D = e ⊗ z_{D-1} / B

with eᵢ = ∂ℓᵢ/∂yᵢ and the lift called L_0. In FOTON (arXiv:2512.20668) the perturbation passes
the activations of all earlier layers, in backpropagation those of all later ones; here it
passes that of its own layer alone, r_l being the error pulled back through the linear parts.
Exact for linear chains, as FOTON is.

With slopes the later activations count too, on average: the first pass notes s_l, a mean of
φ'(a_l) relative to the layer's own; the error is pulled back through L_l* diag(s_l) instead of
L_l*, which r_l = diag(s_l)⁻¹ L_l r_{l-1} undoes. The fewer values a mean is taken of, the nearer
this is to backpropagation, and the more has to be kept.
"""

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pdebench_mano.orthogonal import Chain, OrthogonalMLP
from pdebench_mano.regimes.base import retract_layers
from pdebench_mano.regimes.chains import (
    accumulate,
    chain_of,
    check_isometric,
    encoded,
    forward_only,
    last,
    loss_and_error,
)
from pdebench_mano.regimes.losses import Inputs, Loss, Targets

Slopes = Literal["none", "channel", "point", "block"]

BLOCK = 4
"""Grid points a side of the blocks that slopes are averaged over."""

BOUNDS = 1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01
"""Sizes that slopes, relative to their layer's mean, may be raised to, to be divided by."""

GAIN = 1e4
"""By how much undoing all slopes may amplify round-off."""


class TransportedFoton:
    """Trains chains of orthogonal layers, in lock-step, without a backward pass.

    Parameters
    ----------
    eta : float, optional
        Step of the difference quotient that stands for φ'(a) r. By default the one that makes the root mean
        square of η r 0.003: small beside the activations, large beside round-off, whatever the unit of the loss.
    slopes : {"none", "channel", "point", "block"}
        Which mean slopes of the activations the error is pulled back through: none; one a channel; one a channel
        and grid point, over the batch, for which each layer keeps as much as one sample's activations; or one a
        channel and block of 4×4 grid points, for each sample, for which it keeps a sixteenth of all.

    Raises
    ------
    ValueError
        For an `eta` that is not positive, or other slopes.
    """

    name = "transported-foton"

    def __init__(self, eta: float | None = None, slopes: Slopes = "none") -> None:
        if eta is not None and not eta > 0:
            raise ValueError(f"eta must be positive, got {eta}")
        if slopes not in get_args(Slopes):
            raise ValueError(f"slopes must be one of {', '.join(get_args(Slopes))}, got {slopes!r}")
        self.eta, self.slopes = eta, slopes

    def check(self, operator: nn.Module) -> None:
        chain = chain_of(operator, self.name)
        check_isometric(chain, self.name, chain.named_layers()[1:-1])
        if self.slopes == "block" and isinstance(chain, OrthogonalMLP):
            raise TypeError(
                f"slopes='block' cannot train {type(chain).__name__}: rows have no grid to be averaged over"
            )

    @forward_only
    def gradients(self, operator: nn.Module, a: Inputs, u: Targets, loss: Loss) -> Tensor:
        chain = chain_of(operator, self.name)
        x, layers = encoded(operator, a), chain.layers
        if self.slopes == "none":
            y, slopes = last(chain.states(x)), [torch.ones((), dtype=x.dtype, device=x.device)] * len(layers)
        else:
            y, slopes = _noting_slopes(chain, x, self.slopes)
        value, e = loss_and_error(operator, chain, y, x, u, loss)
        del y
        r = chain.head.adj(e)
        for i in reversed(range(1, len(layers) - 1)):
            r = layers[i].adj(r.mul_(_everywhere(slopes[i], r)))
        eta = _step(r) if self.eta is None else torch.full((), self.eta, dtype=r.dtype, device=r.device)
        z = chain.embed(x)
        for i, layer in enumerate(layers[:-1]):
            if i > 0:
                r = layer.lin(r)
                r.div_(_everywhere(slopes[i], r))
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
    """The η for which η r has root mean square 0.003."""
    return 0.003 * math.sqrt(r.numel()) / torch.linalg.vector_norm(r).clamp_min(torch.finfo(r.dtype).tiny)


def _noting_slopes(chain: Chain, x: Tensor, kind: Slopes) -> tuple[Tensor, list[Tensor]]:
    """The chain's output, and the relative mean slopes of every layer's activation."""
    z, slopes = chain.embed(x), []
    gain = GAIN ** (1 / max(len(chain.blocks), 1))
    for layer in chain.layers[:-1]:
        activity = layer(z)
        slope = _averaged(chain.phi(activity + 0.01) - chain.phi(activity - 0.01), kind)
        slopes.append(_bounded(slope / slope.mean(), gain))
        z = chain.phi(activity)
    return chain.head(z), slopes


def _bounded(slope: Tensor, gain: float) -> Tensor:
    """Slopes of either sign, raised to the least size that keeps the root mean square of 1/slope within `gain`.

    An error that the orthogonal layers spread over all channels grows by that in a layer.
    """
    size, least = slope.abs(), slope.new_full((), BOUNDS[0])
    for bound in BOUNDS[1:]:
        within = size.clamp_min(bound).pow(-2).mean() <= gain**2
        least = torch.where(within, bound, least)
    return torch.where(slope < 0, -1.0, 1.0) * size.clamp_min(least)


def _averaged(slope: Tensor, kind: Slopes) -> Tensor:
    if kind == "block":
        return F.avg_pool2d(slope, BLOCK, ceil_mode=True, count_include_pad=False)
    return slope.mean([0, *range(2, slope.ndim)] if kind == "channel" else 0, keepdim=True)


def _everywhere(slope: Tensor, r: Tensor) -> Tensor:
    """Slopes that multiply `r`: those of blocks are repeated over their points, all others broadcast."""
    if slope.ndim == 4 and any(m not in (1, n) for m, n in zip(slope.shape, r.shape, strict=True)):
        return F.interpolate(slope, scale_factor=BLOCK)[..., : r.shape[-2], : r.shape[-1]]
    return slope
