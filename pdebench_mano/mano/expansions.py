"""Moments of a field on a lattice of fixed spacing, and expansions from the lattice back to any grid.

The fast multipole method (Greengard & Rokhlin 1987) gathers sources into moments of their cell and evaluates local
expansions at targets. Likewise, with lattice points y_j of spacing h along each axis, hats
φ_j(x) = max(0, 1 - |x - y_j|/h) and t_j(x) = (x - y_j)/h,

    gathered    M_jp = ∫ φ_j q_jp f dx / ∫ φ_j q_jp² dx,       q_j0 = 1,  q_j1 = t_j - ∫ φ_j t_j / ∫ φ_j,
    expanded    f(x) = Σ_j φ_j(x) Σ_p c_jp t_j(x)^p,            p = 0, 1,

tensor products in two dimensions: mean, two slopes and twist. f is the piecewise linear interpolant of the grid's
values and its integrals are exact, so one rule serves every grid, finer or coarser than the lattice, and results
converge at second order as a grid is refined. Linear fields are gathered and expanded exactly on vertices. On a
periodic grid, x - y_j is the shorter way round.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from data_gen.grid import Kind
from pdebench_mano.fields.lattice import around, axis, interpolation, remembered
from pdebench_mano.mano.fusion import fused_expand, fused_gather

Field = Float[Tensor, "batch height width channels"]

ORDERS = 4
"""Moments of a lattice point: mean, slope along the second axis, along the first, twist."""


def _hats(x: Float[Tensor, " points"], y: Float[Tensor, " lattice"], grid: Kind) -> tuple[Tensor, Tensor]:
    """φ_j(x_i) and t_j(x_i)."""
    way = around(x, y) if grid == "periodic" else x[:, None] - y
    return interpolation(x, y, grid), way / (y[1] - y[0])


@remembered
def gathering(
    points: int, lattice: int, grid: Kind, device: torch.device, dtype: torch.dtype
) -> Float[Tensor, "{2*lattice} {points}"]:
    """Matrix from the values on one axis to its M_j0, all j, then its M_j1."""
    cpu = torch.device("cpu")
    x, y = axis(points, grid, cpu), axis(lattice, grid, cpu)
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    breaks = torch.cat([x, y, ends]).sort().values
    if not torch.compiler.is_compiling():  # which allows no count of values; intervals of no length weigh nothing
        breaks = torch.from_numpy(np.unique(breaks.numpy().round(14)))
    nodes, weights = (torch.from_numpy(each) for each in np.polynomial.legendre.leggauss(3))
    half = breaks.diff()[:, None] / 2
    s = (breaks[:-1, None] + half * (1 + nodes)).flatten()
    phi, t = _hats(s, y, grid)
    w = phi.T * (half * weights).flatten()
    q = t.T - ((w * t.T).sum(1) / w.sum(1))[:, None]
    mean, slope = w / w.sum(1, keepdim=True), w * q / (w * q**2).sum(1, keepdim=True)
    return (torch.cat([mean, slope]) @ interpolation(s, x, grid)).to(device, dtype)


@remembered
def expanding(
    points: int, lattice: int, grid: Kind, device: torch.device, dtype: torch.dtype
) -> Float[Tensor, "{points} {2*lattice}"]:
    """Matrix from c_j0, all j, then c_j1, to the values on one axis."""
    cpu = torch.device("cpu")
    phi, t = _hats(axis(points, grid, cpu), axis(lattice, grid, cpu), grid)
    return torch.cat([phi, phi * t], 1).to(device, dtype)


def gather(
    field: Field, lattice: tuple[int, int], grid: Kind
) -> Float[Tensor, "batch {lattice[0]} {lattice[1]} orders_times_channels"]:
    """The moments of `field` on a lattice of that shape: mean, slopes and twist of every channel."""
    return gather_beside(field, lattice, grid)[0]


def gather_beside(
    field: Field, lattice: tuple[int, int], grid: Kind
) -> tuple[Float[Tensor, "batch {lattice[0]} {lattice[1]} orders_times_channels"], Field]:
    """The moments, and the field for whatever is made of it beside them: on a GPU, one kernel adds the gradients."""
    if fused := fused_gather(field, lattice, grid):
        return fused
    b, h, w, c = field.shape
    along_x = gathering(h, lattice[0], grid, field.device, field.dtype) @ field.reshape(b, h, w * c)
    columns = gathering(w, lattice[1], grid, field.device, field.dtype)
    moments = (columns @ along_x.view(-1, w, c)).view(b, 2, lattice[0], 2, lattice[1], c)
    return moments.permute(0, 2, 4, 1, 3, 5).flatten(3), field


def expand(
    coefficients: Float[Tensor, "batch rows columns orders_times_channels"],
    shape: tuple[int, int],
    grid: Kind,
    onto: Field | None = None,
) -> Float[Tensor, "batch {shape[0]} {shape[1]} _"]:
    """The field on a grid of that `shape` whose local expansions have these coefficients, in the order of `gather`.

    It is added to the field `onto`, if that is given.
    """
    fused = fused_expand(coefficients, shape, grid, onto)
    if fused is not None:
        return fused
    b, m, k, c = coefficients.shape
    rows, columns = (
        expanding(n, points, grid, coefficients.device, coefficients.dtype)
        for n, points in zip(shape, (m, k), strict=True)
    )
    c //= ORDERS
    by_order = coefficients.view(b, m, k, 2, 2, c).permute(0, 3, 1, 4, 2, 5)
    along_y = columns @ by_order.reshape(b * 2 * m, 2 * k, c)
    field = (rows @ along_y.view(b, 2 * m, shape[1] * c)).view(b, *shape, c)
    return field if onto is None else onto + field
