"""Orthogonal multipole layer: global reach through a lattice, and an isometry on every grid.

The hat functions of the centres (j + ½)/m of m × m cells, going on as straight lines beyond the outermost, are made
orthonormal in the product of the integral,

    B = Φ (ΦᵀWΦ)^(-1/2),   BᵀWB = I,

so that B Bᵀ W is a projection of fields onto what the lattice resolves, linear ones among it (Löwdin 1950; W as in
`pdebench_mano.orthogonal.weighted`, Φ and W axis by axis). There a pyramid of orthogonal matrices acts
(`pdebench_mano.orthogonal.pyramid`), and one orthogonal matrix of channels on the rest:

    L z = Q z + B (M - Q) Bᵀ W z,   L* z = Qᵀ z + B (Mᵀ - Qᵀ) Bᵀ W z.

The lattice belongs to the domain: a finer grid refines the same operator. Each grid point costs a product with the m
hats of its axis, whatever the size of the grid, and the pyramid costs the same on every grid.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from data_gen.grid import Kind
from pdebench_mano.fields.lattice import axis, interpolation, remembered
from pdebench_mano.fields.operator import Fields
from pdebench_mano.orthogonal.layer import OrthogonalLayer
from pdebench_mano.orthogonal.linear import outer
from pdebench_mano.orthogonal.pyramid import Factors, Lattice, derivative, haar_factors, through
from pdebench_mano.orthogonal.weighted import trapezoid, weigh


class OrthogonalMultipole(OrthogonalLayer):
    """z ↦ L z + b on fields, for any grid with two intervals or more to a cell of the lattice.

    Parameters
    ----------
    channels : int
    lattice : int
        Cells a side, a power of two.

    Attributes
    ----------
    factors : (4·log₂(lattice) - 3, 4·channels, 4·channels) parameter
        Those of M, in the order in which they act.
    rest : (channels, channels) parameter
        Q; at the start M is Q, too.

    Raises
    ------
    ValueError
        For a lattice that is no power of two; on calling, for a coarser grid: what is learned there does not hold on
        finer ones, where the hats are others.
    """

    def __init__(self, channels: int, lattice: int, *, bias: bool = True, constrained: bool = True) -> None:
        super().__init__(channels, channels, bias, constrained)
        if lattice < 2 or lattice & (lattice - 1):
            raise ValueError(f"lattice must be a power of two, 2 at least, got {lattice}")
        self.lattice = lattice
        self.rest = nn.Parameter(nn.init.orthogonal_(torch.empty(channels, channels)))
        self.factors = nn.Parameter(haar_factors(lattice, self.rest.detach()))

    def lin(self, z: Fields) -> Fields:
        return self._map(z, self.factors, self.rest)

    def adj(self, v: Fields) -> Fields:
        return self._map(v, self.factors.mT.flip(0), self.rest.mT)

    def _map(self, z: Fields, factors: Factors, rest: Float[Tensor, "channels channels"]) -> Fields:
        c = self._analysis(z)
        change = through(c, factors, self.grid == "periodic") - c @ rest.mT
        return torch.einsum("oi,bixy->boxy", rest, z) + self._synthesis(change, z.shape[-2:])

    def _analysis(self, z: Fields) -> Lattice:
        """BᵀW z."""
        along_x, along_y = self._hats(z.shape[-2:])
        weights_x, weights_y = (trapezoid(n, self.grid, z.dtype, z.device)[:, None] for n in z.shape[-2:])
        return ((z @ (weights_y * along_y)).mT @ (weights_x * along_x)).permute(0, 3, 2, 1)

    def _synthesis(self, c: Lattice, grid: torch.Size) -> Fields:
        """B c."""
        along_x, along_y = self._hats(grid)
        return (c.permute(0, 3, 2, 1) @ along_x.mT).mT @ along_y.mT

    def _hats(self, grid: torch.Size) -> list[Float[Tensor, "points cells"]]:
        intervals = min(grid) - (self.grid == "vertices")
        if intervals < 2 * self.lattice:
            least = 2 * self.lattice + (self.grid == "vertices")
            raise ValueError(
                f"lattice={self.lattice} needs a grid of at least {least} points a side, got {grid[0]}×{grid[1]}: "
                "two intervals to a cell, or what is learned does not hold on finer grids"
            )
        return [hats(n, self.lattice, self.grid, self.rest.dtype, self.rest.device) for n in grid]

    def param_grad(self, delta: Fields, z: Fields) -> dict[str, Tensor]:
        weighted = weigh(delta, self.grid)
        c, d = self._analysis(z), self._analysis(delta)
        rest = outer(weighted, z) - d.flatten(0, 2).mT @ c.flatten(0, 2)
        factors = derivative(c, d, self.factors, self.grid == "periodic")
        return {"factors": factors, "rest": rest} | super().param_grad(weighted, z)

    def matrices(self) -> list[Tensor]:
        return [self.factors, self.rest]

    def extra_repr(self) -> str:
        return f"{self.in_features}, lattice={self.lattice}, constrained={self.constrained}"


@remembered
def hats(
    points: int, cells: int, grid: Kind, dtype: torch.dtype, device: torch.device
) -> Float[Tensor, "{points} {cells}"]:
    """B of one axis: hats of the cells' centres, linear between them and beyond, or round them, made orthonormal."""
    cpu = torch.device("cpu")
    x, centres = axis(points, grid, cpu), (torch.arange(cells, dtype=torch.float64) + 0.5) / cells
    phi = interpolation(x, centres, grid)
    if grid != "periodic":
        beyond, slopes = cells * (x - x.clamp(centres[0], centres[-1]))[:, None], x.new_tensor([-1.0, 1.0])
        phi[:, :2] += beyond.clamp(max=0) * slopes
        phi[:, -2:] += beyond.clamp(min=0) * slopes
    weights = trapezoid(points, grid, torch.float64, cpu)
    size, vectors = torch.linalg.eigh(phi.mT @ (weights[:, None] * phi))
    return (phi @ (vectors * size.rsqrt()) @ vectors.mT).to(device, dtype)
