"""Chains of orthogonal layers: what forward-only regimes can train.

    z₀ = φ(L₀ a),   z_l = φ(L_l z_{l-1}),   y = L_D z_{D-1}

lift L₀, blocks L₁ … L_{D-1}, head L_D, each with its bias; no activation after the head.
Lift and head may change the number of channels; an error passes through the blocks
undistorted because L L* = I.
"""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pdebench_mano.fields.operator import Operator
from pdebench_mano.orthogonal.layer import OrthogonalLayer

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "leaky_relu": F.leaky_relu,
    "very_leaky_relu": partial(F.leaky_relu, negative_slope=1 / 5.5),
    "gelu": F.gelu,
    "tanh": torch.tanh,
    "identity": lambda z: z,
}


class Chain(Operator):
    """Orthogonal layers with one activation between them: (batch, *inputs) ↦ (batch, *outputs).

    Parameters
    ----------
    lift : OrthogonalLayer
    blocks : list of OrthogonalLayer
    head : OrthogonalLayer
    activation : {"relu", "leaky_relu", "very_leaky_relu", "gelu", "tanh", "identity"}
        φ; negative slope 0.01 of the leaky and 1/5.5 of the very leaky one (Xu et al. 2015, arXiv:1505.00853);
        GELU by the error function.

    Raises
    ------
    ValueError
        For another activation.
    """

    def __init__(
        self, lift: OrthogonalLayer, blocks: list[OrthogonalLayer], head: OrthogonalLayer, activation: str
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
        self.lift, self.blocks, self.head = lift, nn.ModuleList(blocks), head
        self.activation = activation
        self.phi = ACTIVATIONS[activation]

    @property
    def layers(self) -> list[OrthogonalLayer]:
        """Lift, blocks, head."""
        return [self.lift, *self.blocks, self.head]

    def named_layers(self) -> list[tuple[str, OrthogonalLayer]]:
        """The same, with the names of their modules."""
        names = ["lift", *(f"blocks.{i}" for i in range(len(self.blocks))), "head"]
        return list(zip(names, self.layers, strict=True))

    def embed(self, a: Tensor) -> Tensor:
        """What the lift sees of the input (batch, *inputs): (batch, channels, *grid)."""
        return a

    def unembed(self, y: Tensor, a: Tensor) -> Tensor:
        """The head's output (batch, channels, *grid) in the shape the operator returns for the input `a`."""
        return y

    def states(self, a: Tensor) -> Iterator[Tensor]:
        """The input, then the output of every layer after its activation, (batch, channels, *grid), when asked for."""
        z = self.embed(a)
        yield z
        for layer in self.layers[:-1]:
            z = self.phi(layer(z))
            yield z
        yield self.head(z)

    def forward(self, a: Tensor) -> Tensor:
        for z in self.states(a):  # noqa: B007
            pass
        return self.unembed(z, a)

    def orthogonality_residual(self) -> float:
        """Largest residual of the constrained layers; 0 if none is."""
        return max((layer.orthogonality_residual() for layer in self.layers if layer.constrained), default=0.0)
