"""Transported FOTON, an extension of this project: the error is carried forward beside the states, not through them.

    r_0 = (L_D ⋯ L_1)* e,   r_l = L_l r_{l-1},   L_l L_l* = I undoing the adjoint;
    δ_l = [φ(a_l) - φ(a_l - η r_l)]/η,   a_l = L_l z_{l-1} + b_l;
    G_l = δ_l ⊗ z_{l-1} / B,   G_D = e ⊗ z_{D-1} / B

with eᵢ = ∂ℓᵢ/∂yᵢ and the lift called L_0. In FOTON (arXiv:2512.20668) the perturbation passes
the activations of all earlier layers, in backpropagation those of all later ones; here it
passes that of its own layer alone, r_l being the error pulled back through the linear parts.
Exact for linear chains, as FOTON is.

With slopes the later activations count too, on average: the first pass notes s_l, a mean of
φ'(a_l) relative to the mean size of all in the layer; the error is pulled back through
L_l* diag(s_l) instead of L_l*, which r_l = diag(s_l)⁻¹ L_l r_{l-1} undoes. The fewer values a mean
is taken of, the nearer this is to backpropagation, up to one factor a layer, and the more has to
be kept.
"""

import math
from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pdebench_mano.orthogonal import Chain, OrthogonalMLP
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
)

Slopes = Literal["none", "channel", "point", "block"]

BLOCK = 4
"""Grid points a side of the blocks that slopes are averaged over, unless it is given."""

STEP = 0.003
"""Root mean square of η r, unless η is given."""

NEAR = 0.01
"""Half the interval over which a slope is a difference quotient."""

BOUNDS = 1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01
"""Sizes that relative slopes may be raised to, to be divided by."""

GAIN = 1e4
"""By how much undoing all slopes may amplify round-off."""


class TransportedFoton:
    """Trains chains of orthogonal layers, in lock-step, without a backward pass.

    Parameters
    ----------
    eta : float, optional
        Step of the difference quotient that stands for φ'(a) r. By default the one that makes the root mean
        square of η r 0.003: small beside the activations, large beside round-off, whatever the unit of the loss.
    slopes : {"none", "channel", "point", "block"} or int
        Which mean slopes of the activations the error is pulled back through: none; one a channel; one a channel
        and grid point, over the batch, for which each layer keeps as much as one sample's activations; or one a
        channel and block of 4×4 grid points, for each sample, for which it keeps a sixteenth of all. A number is
        that of grid points a side of the blocks, 2 at least: of 2×2 points, which serve layers better that mix
        neighbouring ones, a quarter of all is kept.

    Raises
    ------
    ValueError
        For an `eta` that is not positive, or other slopes.
    TypeError
        From `check`, for what `Foton` cannot train either, and for slopes by block of rows, which have no grid.
    """

    name = "transported-foton"

    def __init__(self, eta: float | None = None, slopes: Slopes | int = "none") -> None:
        if eta is not None and not eta > 0:
            raise ValueError(f"eta must be positive, got {eta}")
        if slopes not in get_args(Slopes) and not (isinstance(slopes, int) and slopes >= 2):
            raise ValueError(
                f"slopes must be one of {', '.join(get_args(Slopes))}, or points a side of a block, 2 at least, "
                f"got {slopes!r}"
            )
        self.eta, self.slopes = eta, slopes
        self.block = slopes if isinstance(slopes, int) else BLOCK if slopes == "block" else None

    def check(self, operator: nn.Module) -> None:
        chain = chain_of(operator, self.name)
        check_isometric(chain, self.name, chain.named_layers()[1:-1])
        if self.block and isinstance(chain, OrthogonalMLP):
            raise TypeError(
                f"slopes={self.slopes!r} cannot train {type(chain).__name__}: rows have no grid to be averaged over"
            )

    @forward_only
    def gradients(self, operator: nn.Module, a: Inputs, u: Targets, loss: Loss) -> Tensor:
        chain = chain_of(operator, self.name)
        x, layers = encoded(operator, a), chain.layers
        if self.slopes == "none":
            y, slopes = last(chain.states(x)), [torch.ones((), dtype=x.dtype, device=x.device)] * len(chain.blocks)
        else:
            y, slopes = _noting_slopes(chain, x, self._averaged)
        value, e = loss_and_error(operator, chain, y, x, u, loss)
        del y
        r = chain.head.adj(e)
        for layer, slope in zip(reversed(layers[1:-1]), reversed(slopes), strict=True):
            r = layer.adj(r.mul_(self._at_points(slope, r)))
        eta = _step(r) if self.eta is None else torch.full((), self.eta, dtype=r.dtype, device=r.device)
        z = chain.embed(x)
        for i, layer in enumerate(layers[:-1]):
            if i > 0:
                r = layer.lin(r)
                r.div_(self._at_points(slopes[i - 1], r))
            h = layer(z)
            perturbed = chain.phi(torch.addcmul(h, r, eta, value=-1))
            h = chain.phi(h)
            accumulate(layer, perturbed.sub_(h).div_(-eta), z)
            z = h
        accumulate(chain.head, e, z)
        return value

    def _at_points(self, slope: Tensor, r: Tensor) -> Tensor:
        """Slopes that multiply `r`: those of blocks repeated over their points."""
        if self.block is None:
            return slope
        return F.interpolate(slope, scale_factor=self.block)[..., : r.shape[-2], : r.shape[-1]]

    def _averaged(self, slope: Tensor) -> Tensor:
        """Means over what shares a slope."""
        if self.block:
            return F.avg_pool2d(slope, self.block, ceil_mode=True, count_include_pad=False)
        return slope.mean([0, *range(2, slope.ndim)] if self.slopes == "channel" else 0, keepdim=True)

    def retract(self, operator: nn.Module) -> None:
        retract_layers(operator)


def _step(r: Tensor) -> Tensor:
    """The η for which η r has root mean square `STEP`."""
    return STEP * math.sqrt(r.numel()) / torch.linalg.vector_norm(r).clamp_min(torch.finfo(r.dtype).tiny)


def _noting_slopes(chain: Chain, x: Tensor, averaged: Callable[[Tensor], Tensor]) -> tuple[Tensor, list[Tensor]]:
    """The chain's output, and the relative mean slopes of every block's activation."""
    z, slopes = chain.phi(chain.lift(chain.embed(x))), []
    gain = GAIN ** (1 / max(len(chain.blocks), 1))
    for block in chain.blocks:
        activity = block(z)
        slope = averaged(chain.phi(activity + NEAR) - chain.phi(activity - NEAR))
        slopes.append(_bounded(slope / slope.abs().mean().clamp_min(torch.finfo(slope.dtype).tiny), gain))
        z = chain.phi(activity)
    return chain.head(z), slopes


def _bounded(slope: Tensor, gain: float) -> Tensor:
    """Slopes of either sign, raised to the least size that keeps the root mean square of 1/slope within `gain`.

    An error that the orthogonal layers spread over all channels grows by that in a layer.
    """
    size, least = slope.abs(), slope.new_full((), BOUNDS[0])
    for bound in BOUNDS[1:]:
        within = size.clamp_min(bound).pow(-2).mean() <= gain**2
        least = torch.where(within, slope.new_full((), bound), least)  # a number would be copied to the GPU
    size = size.clamp_min(least)
    return torch.where(slope < 0, -size, size)
