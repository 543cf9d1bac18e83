"""Orthogonal linear map over channels: of rows, or the same at every grid point (a 1×1 convolution)."""

import torch
from torch import Tensor, nn

from pdebench_mano.orthogonal.layer import Input, OrthogonalLayer, Output


class OrthogonalLinear(OrthogonalLayer):
    """y = W z over the channel axis, W (out, in) with orthonormal rows or columns.

    Examples
    --------
    >>> layer = OrthogonalLinear(6, 4, bias=False)
    >>> round(layer.orthogonality_residual(), 5)
    0.0
    """

    def __init__(self, in_features: int, out_features: int, *, bias: bool = True, constrained: bool = True) -> None:
        super().__init__(in_features, out_features, bias, constrained)
        self.weight = nn.Parameter(nn.init.orthogonal_(torch.empty(out_features, in_features)))

    def lin(self, z: Input) -> Output:
        return _mix(self.weight, z)

    def adj(self, v: Output) -> Input:
        return _mix(self.weight.mT, v)

    def param_grad(self, delta: Output, z: Input) -> dict[str, Tensor]:
        return {"weight": outer(delta, z)} | super().param_grad(delta, z)

    def matrices(self) -> list[Tensor]:
        return [self.weight]


def _mix(weight: Tensor, z: Tensor) -> Tensor:
    return z @ weight.mT if z.ndim == 2 else torch.einsum("oi,bi...->bo...", weight, z)


def outer(delta: Tensor, z: Tensor) -> Tensor:
    """Σ δ zᵀ over batch and grid: (batch, out, *grid), (batch, in, *grid) → (out, in)."""
    return delta.mT @ z if z.ndim == 2 else torch.einsum("bog,big->oi", delta.flatten(2), z.flatten(2))
