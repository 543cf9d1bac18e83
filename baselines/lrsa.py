"""Low-rank spatial attention (Yang, Xin, Du & Liu 2026, arXiv 2604.03582): points speak through a few latents.

A block compresses the points x into latents z by attention, lets these attend to one another, and gives what they hold
back to the points by attention. With n = norm(·), attention(queries, keys and values), and learned queries ℓ,

    z = attention(ℓ, n(x)),    z += attention(n(z), n(z)),    z += mlp(n(z)),
    x += attention(n(x), n(z)),    x += mlp(n(x)),

which costs points times latents. The softmax of the first attention is a quotient of integrals over the domain,

    z_m = Σ_n w_n exp(s_mn) v_n / Σ_n w_n exp(s_mn),

with scores s, values v, and the grid's quadrature weights w, whose logarithms are added to the scores.

Attention, layer normalisation and feed-forward layers are the paper's, which has nothing else in a block. Not checked
against it, for want of its text: how they are put together in detail, which is read from the template (norms first, no
biases in queries, keys and values, queries ℓ of each block's own), widths and numbers of latents. Ours are the
quadrature weights, cosines beside the coordinates, and `spacing`: with one, blocks act on a lattice, and what they add
goes back to the points of the data's own grid.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from data_gen.grid import Kind
from pdebench_mano.fields.lattice import check_spacing, lattice_shape, quadrature, remembered, resample
from pdebench_mano.fields.operator import Fields, Operator, at_least, coordinates

Points = Float[Tensor, "batch points channels"]
Latents = Float[Tensor, "batch latents channels"]
Bias = Float[Tensor, " points"]


@remembered
def log_weights(
    height: int, width: int, grid: Kind, device: torch.device, dtype: torch.dtype
) -> Float[Tensor, " {height*width}"]:
    """Logarithms of the quadrature weights of a grid's points, over the largest: 0 inside, -log 2 on an edge."""
    along_x, along_y = ((w / w.max()).log() for w in (quadrature(n, grid, device) for n in (height, width)))
    return (along_x[:, None] + along_y).flatten().to(dtype)


class Attention(nn.Module):
    """Multi-head attention of tokens to others; `bias` is added to the scores of each of these."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.kv = nn.Linear(width, width, bias=False), nn.Linear(width, 2 * width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(
        self,
        x: Float[Tensor, "batch queries channels"],
        others: Float[Tensor, "batch keys channels"],
        bias: Float[Tensor, " keys"] | None = None,
    ) -> Float[Tensor, "batch queries channels"]:
        q = self.q(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k, v = self.kv(others).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=None if bias is None else bias[None])
        return self.out(y.transpose(1, 2).flatten(2))


def feed_forward(width: int, mlp_ratio: float) -> nn.Sequential:
    """The MLP of a token."""
    hidden = round(mlp_ratio * width)
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))


class Block(nn.Module):
    """Compression of points into latents, attention between these, and reconstruction at the points.

    The learned queries are drawn as what a LayerNorm gives: mean 0, variance 1.
    """

    def __init__(self, width: int, heads: int, latents: int, mlp_ratio: float) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(1, latents, width))
        self.compress, self.process, self.reconstruct = (Attention(width, heads) for _ in range(3))
        self.mlp_z, self.mlp_x = (feed_forward(width, mlp_ratio) for _ in range(2))
        self.norm_points, self.norm_process, self.norm_z = (nn.LayerNorm(width) for _ in range(3))
        self.norm_context, self.norm_x = (nn.LayerNorm(width) for _ in range(2))

    def context(self, n: Points, bias: Bias | None) -> Latents:
        """z of the normalised points `n`."""
        z = self.compress(self.queries.expand(n.shape[0], -1, -1), n, bias)
        own = self.norm_process(z)
        z = z + self.process(own, own)
        return z + self.mlp_z(self.norm_z(z))

    def forward(self, x: Points, bias: Bias | None = None) -> Points:
        """`x` after the block; `bias` holds the logarithms of the points' weights, None where all weigh the same."""
        n = self.norm_points(x)
        x = x + self.reconstruct(n, self.norm_context(self.context(n, bias)))
        return x + self.mlp_x(self.norm_x(x))


class LRSA(Operator):
    """Low-rank spatial attention on a structured grid.

    Parameters
    ----------
    in_channels, out_channels : int
    width, depth, heads : int
        Channels, a multiple of `heads`; number of blocks; attention heads.
    latents : int
        Latents of each block, which bound the rank of what a head passes from points to points.
    mlp_ratio : float
        Hidden channels of a block's two MLPs, of latents and of points, over `width`.
    spacing : float or None
        Distance of the points that blocks act on, as a length in the unit square; None is the data's own grid.

    Raises
    ------
    ValueError
        For a size below one, a `width` that is no multiple of `heads`, or a spacing outside (0, 1/2].
    """

    paper = "Yang et al. 2026, arXiv 2604.03582"
    receptive_field = "global, by attention through latents"

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        *,
        width: int = 64,
        depth: int = 4,
        heads: int = 8,
        latents: int = 32,
        mlp_ratio: float = 2.0,
        spacing: float | None = 1 / 16,
    ) -> None:
        super().__init__()
        at_least(1, width=width, depth=depth, heads=heads, latents=latents)
        if width % heads:
            raise ValueError(f"width must be a multiple of heads = {heads}, got {width}")
        check_spacing(spacing)
        self.spacing = spacing
        self.lift = nn.Sequential(nn.Conv2d(in_channels + 4, 2 * width, 1), nn.GELU(), nn.Conv2d(2 * width, width, 1))
        self.blocks = nn.ModuleList(Block(width, heads, latents, mlp_ratio) for _ in range(depth))
        self.norm, self.project = nn.LayerNorm(width), nn.Linear(width, out_channels)

    def positioned(self, a: Fields) -> Fields:
        """Append the coordinates to `a`, and cos 2πx and cos 2πy.

        On a periodic grid coordinates are sines, which alone are the same at x and 1/2 - x.
        """
        x = coordinates(a.shape[-2], a.shape[-1], self.grid, device=a.device, dtype=a.dtype)
        return torch.cat([self.with_coordinates(a), (2 * torch.pi * x).cos().expand(a.shape[0], -1, -1, -1)], dim=1)

    def forward(self, a: Fields) -> Fields:
        points, shape = self.lift(self.positioned(a)), (a.shape[-2], a.shape[-1])
        rows, columns = lattice_shape(shape, self.spacing, self.grid)
        before = resample(points, (rows, columns), self.grid)
        x = before.flatten(2).mT
        bias = log_weights(rows, columns, self.grid, x.device, x.dtype) if self.grid == "vertices" else None
        for block in self.blocks:
            x = block(x, bias)
        added = resample(x.mT.unflatten(2, (rows, columns)) - before, shape, self.grid)
        return self.project(self.norm((points + added).permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
