"""Chains of fields whose product is the integral: from plain arrays to fields, and back.

    ⟨u, v⟩ = Σ_c Σ_i w_i u_c(x_i) v_c(x_i),   w_i = 1 inside, ½ on an edge, ¼ at a corner of vertices

is the trapezoidal rule but for the area of a cell, which is left out so that sizes do not depend on the grid. Lift and
head own the change of product: their adjoints and derivatives are those between plain arrays, which inputs and errors
of a loss are, and fields. So a chain lift, blocks, head with adjoints by this product is differentiated exactly by
rules that know of no product at all.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from data_gen.grid import Kind
from pdebench_mano.fields.lattice import quadrature, remembered
from pdebench_mano.fields.operator import Fields
from pdebench_mano.orthogonal.linear import OrthogonalLinear


@remembered
def trapezoid(points: int, grid: Kind, dtype: torch.dtype, device: torch.device) -> Float[Tensor, " {points}"]:
    """Weights of one axis, 1 but for the ends of vertices."""
    weights = quadrature(points, grid, device)
    return (weights * (points - (grid == "vertices"))).to(dtype)


def weigh(z: Fields, grid: Kind) -> Fields:
    """Each value times its point's weight, so that ⟨z, v⟩ is the plain product of the result with v."""
    along_x, along_y = (trapezoid(n, grid, z.dtype, z.device) for n in z.shape[-2:])
    return z * along_x[:, None] * along_y


def unweigh(z: Fields, grid: Kind) -> Fields:
    """What `weigh` undoes."""
    along_x, along_y = (trapezoid(n, grid, z.dtype, z.device) for n in z.shape[-2:])
    return z / along_x[:, None] / along_y


class WeightedLift(OrthogonalLinear):
    """y = W z over channels, from arrays with the plain product to fields with that of the integral."""

    def adj(self, v: Fields) -> Fields:
        return super().adj(weigh(v, self.grid))

    def param_grad(self, delta: Fields, z: Fields) -> dict[str, Tensor]:
        return super().param_grad(weigh(delta, self.grid), z)


class WeightedHead(OrthogonalLinear):
    """y = W z over channels, from fields with the product of the integral to arrays with the plain one."""

    def adj(self, v: Fields) -> Fields:
        return unweigh(super().adj(v), self.grid)
