"""Orthogonal layers, chains of them, and the operators that forward-only regimes can train."""

from pdebench_mano.orthogonal.chain import ACTIVATIONS, Chain
from pdebench_mano.orthogonal.convolution import OrthogonalConvolution
from pdebench_mano.orthogonal.layer import OrthogonalLayer
from pdebench_mano.orthogonal.linear import OrthogonalLinear
from pdebench_mano.orthogonal.mlp import GridMLP, OrthogonalMLP
from pdebench_mano.orthogonal.multipole import OrthogonalMultipole
from pdebench_mano.orthogonal.operators import OrthogonalConv, OrthogonalFNO, OrthogonalMANO
from pdebench_mano.orthogonal.spectral import UnitarySpectral

__all__ = [
    "ACTIVATIONS",
    "Chain",
    "GridMLP",
    "OrthogonalConv",
    "OrthogonalConvolution",
    "OrthogonalFNO",
    "OrthogonalLayer",
    "OrthogonalLinear",
    "OrthogonalMANO",
    "OrthogonalMLP",
    "OrthogonalMultipole",
    "UnitarySpectral",
]
