"""Transolver: attention between slices of the domain (Wu et al. 2024, arXiv 2402.02366), on structured grids.

Every head shares the points n out over slices s, lets the means of the slices attend to one another, and hands the
result back by the same shares. With x and f two 3×3 convolutions of the normalised field, and T a temperature,

    w_ns = softmax_s((W x_n + b)/T),    z_s = Σ_n w_ns f_n / Σ_n w_ns,    y_n = Σ_s w_ns attention(z)_s,

which costs points times slices. A point's position is told by its distances to a coarse grid of reference points
("unified position encoding"), round the circle on a periodic grid.

Layers, initialisation and parameters are those of the authors' program, but for a vector that theirs holds and does not
use where there is an input field. As published, convolutions count grid points, and a finer grid has another operator.
With a `spacing`, our addition, blocks act on a lattice of that spacing, and what they add goes back to the points of
the data's own grid: on a grid that is its own lattice, that is the published operator.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from data_gen.grid import Kind
from pdebench_mano.fields.convolution import Convolution
from pdebench_mano.fields.lattice import around, axis, check_spacing, lattice_shape, remembered, resample
from pdebench_mano.fields.operator import Fields, Operator, at_least

Channelled = Float[Tensor, "batch height width channels"]
Heads = Float[Tensor, "batch heads points head_dim"]

COLDEST, WARMEST = 0.1, 5.0
"""Temperatures of the softmax over slices are kept within these bounds."""


@remembered
def distances(
    height: int, width: int, reference: int, grid: Kind, device: torch.device
) -> Float[Tensor, "{reference**2} {height} {width}"]:
    """Distances of the grid points to `reference`² points, which form a grid of the same kind."""
    squares = []
    for points in (height, width):
        x, y = axis(points, grid, device), axis(reference, grid, device)
        squares.append((around(x, y) if grid == "periodic" else x[:, None] - y).square().T)
    along_x, along_y = squares
    return (along_x[:, None, :, None] + along_y[None, :, None, :]).sqrt().flatten(0, 1).float()


class SliceAttention(nn.Module):
    """Attention of one layer's slices: z_s from shares and features, and y_n from z_s ("Physics-Attention")."""

    def __init__(self, heads: int, head_dim: int, slices: int) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.full((heads, 1, 1), 0.5))
        self.slice = nn.Linear(head_dim, slices)
        self.q, self.k, self.v = (nn.Linear(head_dim, head_dim, bias=False) for _ in range(3))

    def shares(self, x: Heads) -> Float[Tensor, "batch heads points slices"]:
        """w: how much of each point is in each slice; a point's shares sum to one."""
        return (self.slice(x) / self.temperature.clamp(COLDEST, WARMEST)).softmax(-1)

    def forward(self, x: Heads, f: Heads) -> Heads:
        w = self.shares(x)
        z = (w.mT @ f) / (w.sum(2)[..., None] + 1e-5)
        return w @ F.scaled_dot_product_attention(self.q(z), self.k(z), self.v(z))


class Block(nn.Module):
    """x += attention(norm(x)), x += mlp(norm(x)), on channels-last fields."""

    def __init__(self, width: int, heads: int, slices: int, mlp_ratio: float) -> None:
        super().__init__()
        self.heads, hidden = heads, round(mlp_ratio * width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.x, self.f = (Convolution(width, width, 3, padding=1) for _ in range(2))
        self.attention = SliceAttention(heads, width // heads, slices)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, z: Channelled) -> Channelled:
        n = self.norm1(z).permute(0, 3, 1, 2)
        x, f = (convolve(n).flatten(2).unflatten(1, (self.heads, -1)).mT for convolve in (self.x, self.f))
        y = self.attention(x, f).transpose(1, 2).flatten(2).unflatten(1, z.shape[1:3])
        z = z + self.out(y)
        return z + self.mlp(self.norm2(z))


class Transolver(Operator):
    """Transolver on a structured grid.

    Parameters
    ----------
    in_channels, out_channels : int
    width, depth, heads : int
        Channels, a multiple of `heads`; number of blocks; attention heads.
    slices : int
        Slices of the domain in each head.
    mlp_ratio : float
        Hidden channels of a block's MLP over `width`.
    reference : int or None
        Reference points a side; None gives the coordinates themselves.
    spacing : float or None
        Distance of the points that blocks act on, as a length in the unit square; None is the data's own grid, as
        published.

    Raises
    ------
    ValueError
        For a size below one, a `width` that is no multiple of `heads`, fewer than two reference points a side, or a
        spacing outside (0, 1/2].

    Notes
    -----
    The authors' program for Darcy flow on 85² vertices is ``Transolver(width=128, depth=8, heads=8, slices=64,
    mlp_ratio=1, reference=8, spacing=None)``, trained with an additional loss on differences.
    """

    paper = "Wu et al. 2024, arXiv 2402.02366"
    receptive_field = "global, by attention between slices"

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        *,
        width: int = 64,
        depth: int = 4,
        heads: int = 8,
        slices: int = 32,
        mlp_ratio: float = 1.0,
        reference: int | None = 8,
        spacing: float | None = 1 / 16,
    ) -> None:
        super().__init__()
        at_least(1, width=width, depth=depth, heads=heads, slices=slices)
        if width % heads:
            raise ValueError(f"width must be a multiple of heads = {heads}, got {width}")
        if reference is not None:
            at_least(2, reference=reference)
        check_spacing(spacing)
        self.reference, self.spacing = reference, spacing
        given = in_channels + (2 if reference is None else reference**2)
        self.lift = nn.Sequential(nn.Conv2d(given, 2 * width, 1), nn.GELU(), nn.Conv2d(2 * width, width, 1))
        self.blocks = nn.ModuleList(Block(width, heads, slices, mlp_ratio) for _ in range(depth))
        self.norm, self.project = nn.LayerNorm(width), nn.Linear(width, out_channels)
        self.apply(initialise)

    def positioned(self, a: Fields) -> Fields:
        """Append to `a` what tells the positions of its points."""
        if self.reference is None:
            return self.with_coordinates(a)
        height, width = a.shape[-2:]
        where = distances(height, width, self.reference, self.grid, a.device).to(a.dtype)
        return torch.cat([a, where.expand(a.shape[0], -1, -1, -1)], dim=1)

    def forward(self, a: Fields) -> Fields:
        points, shape = self.lift(self.positioned(a)), (a.shape[-2], a.shape[-1])
        before = resample(points, lattice_shape(shape, self.spacing, self.grid), self.grid)
        z = before.permute(0, 2, 3, 1)
        for block in self.blocks:
            z = block(z)
        added = resample(z.permute(0, 3, 1, 2) - before, shape, self.grid)
        return self.project(self.norm((points + added).permute(0, 2, 3, 1))).permute(0, 3, 1, 2)


def initialise(module: nn.Module) -> None:
    """Weights of linear layers from a normal distribution of deviation 0.02, cut at ±2; biases zero.

    Those of the lift, which are linear layers at every point, too.
    """
    if isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1)):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
