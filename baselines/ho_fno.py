"""HO-FNO: products of fields before the Fourier multiplier (Colagrande et al. 2026, arXiv 2606.28122).

    x += S(A₁n · A₂n · … · A_m n),   n = norm(x),        x += mlp(norm(x)),

pointwise affine maps A, products at every point, which convolve the spectra, and a multiplier S with one complex number
for each mode and channel ("higher-order spectral convolution" of order m). Norms divide by the root of the mean square
over channels.

Layers, initialisation and parameters are those of the authors' program. Fourier coefficients differ as those of our FNO
do: they are integrals over the square [0, P]², to which n is extended by zero, with the quadrature of the grid,

    v̂(k) = P⁻² ∫ v(x) exp(-2πi k·x/P) dx,      (S v)(x) = Σ_k R(k) v̂(k) exp(2πi k·x/P),

so that a layer is the same map on every grid. On left-closed grids that is the authors' FFT, with ⌊2n/3⌋ zeros appended
to n points for P = 5/3; on vertices theirs takes the period that n points have, which changes with the resolution.
"""

from functools import reduce
from operator import mul

import torch
from jaxtyping import Float
from torch import Tensor, nn

from baselines.fno import coefficients, real_series, resolved
from pdebench_mano.fields.operator import Fields, Operator, at_least

Channelled = Float[Tensor, "batch height width channels"]


class Multiplier(Operator):
    """S: frequencies -⌊m/2⌋, …, ⌈m/2⌉-1 along x, 0, …, ⌈m'/2⌉-1 along y, for a field that is constant beyond [0, 1]².

    Parameters
    ----------
    channels : int
    modes : (m, m')
    period : float

    Notes
    -----
    Its weight has the shape of a convolution's whose channels do not mix, (channels, 1, m, ⌈m'/2⌉).
    """

    def __init__(self, channels: int, modes: tuple[int, int], period: float) -> None:
        super().__init__()
        self.modes, self.period = modes, period
        columns = -(-modes[1] // 2)
        self.weight = nn.Parameter(torch.randn(channels, 1, modes[0], columns, dtype=torch.cfloat) / channels)

    def forward(self, v: Fields, beyond: Float[Tensor, " channels"]) -> Fields:
        """S of the field that is `v` on the grid's points, and `beyond` outside the unit square."""
        period = 1.0 if self.grid == "periodic" else self.period
        rows, columns = self.modes[0], self.weight.shape[-1]
        kx = resolved(v.shape[-2], rows, period, self.grid)
        ky = range(min(columns, resolved(v.shape[-1], 2 * columns, period, self.grid).stop))
        constant = beyond[:, None, None]
        inside = coefficients(v - constant, kx, ky, period, self.grid)
        weight = self.weight.squeeze(1)
        kept = weight[:, kx.start + rows // 2 : kx.stop + rows // 2, : ky.stop]
        y = real_series(kept * inside / period**2, (v.shape[-2], v.shape[-1]), kx, ky, period, self.grid)
        return (y + (weight[:, rows // 2, 0, None, None] * constant).real).to(v.dtype)


class Block(nn.Module):
    """x += S(A₁n · …), x += mlp(norm(x)), on channels-last fields; in training, each is left out at the rate `drop`."""

    def __init__(
        self, width: int, modes: tuple[int, int], order: int, mlp_ratio: float, period: float, drop: float
    ) -> None:
        super().__init__()
        self.order, self.drop, hidden = order, drop, round(mlp_ratio * width)
        self.norm1, self.norm2 = nn.RMSNorm(width, eps=1e-6), nn.RMSNorm(width, eps=1e-6)
        self.factors = nn.Linear(width, order * width)
        self.multiplier = Multiplier(width, modes, period)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def product(self, factors: Float[Tensor, "*points factors"]) -> Float[Tensor, "*points channels"]:
        """Of the factors that stand one after another."""
        return reduce(mul, factors.chunk(self.order, -1))

    def kept(self, x: Channelled) -> Channelled:
        """`x`, or 0 for some samples, and more for the others: stochastic depth (Huang et al. 2016, 1603.09382)."""
        if not self.training or self.drop == 0:
            return x
        return x * (torch.rand(len(x), 1, 1, 1, device=x.device) >= self.drop) / (1 - self.drop)

    def forward(self, x: Channelled) -> Channelled:
        product = self.product(self.factors(self.norm1(x)))
        beyond = self.product(self.factors.bias)  # where n is zero
        y = self.multiplier(product.permute(0, 3, 1, 2), beyond.to(product.dtype))
        x = x + self.kept(y.permute(0, 2, 3, 1))
        return x + self.kept(self.mlp(self.norm2(x)))


class HOFNO(Operator):
    """Higher-order Fourier neural operator.

    Parameters
    ----------
    in_channels, out_channels : int
    modes : int
        Fourier modes kept along x, of both signs.
    modes_y : int, optional
        Those along y; as many by default.
    width, depth : int
        Channels, number of blocks.
    order : int
        Factors of the products; 1 is a linear multiplier.
    mlp_ratio : float
        Hidden channels of a block's MLP over `width`.
    period : float
        Side of the periodic square that the domain is extended to by zero; 1 is no padding, as periodic grids have it.
    drop : float
        Rate at which the last block's two parts are left out in training, for each sample; it rises linearly from 0.

    Raises
    ------
    ValueError
        For fewer than two modes, a size below one, a period below 1, or a rate outside [0, 1).

    Notes
    -----
    The authors' program for Darcy flow on 85² vertices is ``HOFNO(modes=64, modes_y=32, width=256, depth=8, order=2,
    mlp_ratio=4, period=5/3, drop=0.1)``, trained with an additional loss on differences.
    """

    paper = "Colagrande et al. 2026, arXiv 2606.28122"
    receptive_field = "global, through the kept Fourier modes of products"

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        *,
        modes: int = 12,
        modes_y: int | None = None,
        width: int = 32,
        depth: int = 4,
        order: int = 2,
        mlp_ratio: float = 4.0,
        period: float = 5 / 3,
        drop: float = 0.0,
    ) -> None:
        super().__init__()
        modes_y = modes if modes_y is None else modes_y
        at_least(2, modes=modes, modes_y=modes_y)
        at_least(1, width=width, depth=depth, order=order)
        if period < 1:
            raise ValueError(f"period must be at least 1, got {period}")
        if not 0 <= drop < 1:
            raise ValueError(f"drop must be in [0, 1), got {drop}")
        self.lift, self.project = nn.Linear(in_channels + 2, width), nn.Linear(width, out_channels)
        self.blocks = nn.ModuleList(
            Block(width, (modes, modes_y), order, mlp_ratio, period, rate)
            for rate in torch.linspace(0, drop, depth).tolist()
        )

    def forward(self, a: Fields) -> Fields:
        x = self.lift(self.with_coordinates(a).permute(0, 2, 3, 1))
        for block in self.blocks:
            x = block(x)
        return self.project(x).permute(0, 3, 1, 2)
