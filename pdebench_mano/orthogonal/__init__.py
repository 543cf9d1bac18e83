"""Orthogonal layers, chains of them, and the operators that forward-only regimes can train."""

from pdebench_mano.orthogonal.chain import ACTIVATIONS, Chain
from pdebench_mano.orthogonal.layer import OrthogonalLayer
from pdebench_mano.orthogonal.linear import OrthogonalLinear
from pdebench_mano.orthogonal.mlp import GridMLP, OrthogonalMLP

__all__ = ["ACTIVATIONS", "Chain", "GridMLP", "OrthogonalLayer", "OrthogonalLinear", "OrthogonalMLP"]
