"""U-Net: convolutions on a pyramid of grids (Ronneberger, Fischer & Brox 2015, arXiv 1505.04597).

Its kernels count points, so on the data's own grid (`spacing=None`) it is a different map at every resolution and its
reach shrinks as the grid is refined. By default the pyramid therefore stands on a lattice of fixed physical spacing, in
the spirit of convolutional neural operators (Raonić et al. 2023, arXiv 2302.01178): what is finer than the lattice is
seen only by the pointwise layers, so the price of one map at all resolutions is the band beyond the lattice.

Stride-two convolutions keep the points 0, 2, 4, … and transposed ones put them back, which is aligned on both kinds of
grid, even or odd.
"""

from itertools import pairwise
from math import gcd

import torch
from torch import Tensor, nn

from pdebench_mano.fields.convolution import Convolution, Refinement
from pdebench_mano.fields.lattice import check_spacing, lattice_shape, resample
from pdebench_mano.fields.operator import Fields, Operator, at_least


def double_conv(channels: int, width: int) -> nn.Sequential:
    """Twice: 3×3 convolution, group normalisation, GELU."""
    layers: list[nn.Module] = []
    for n in (channels, width):
        layers += [Convolution(n, width, 3, padding=1), nn.GroupNorm(gcd(8, width), width), nn.GELU()]
    return nn.Sequential(*layers)


class UNet(Operator):
    """U-Net on a lattice.

    Parameters
    ----------
    in_channels, out_channels : int
    width : int
        Channels at the finest level, doubled at each coarser one.
    levels : int
        Number of grids in the pyramid.
    spacing : float or None
        Spacing of the finest level, as a length in the unit square; None is the data's own grid.

    Raises
    ------
    ValueError
        For fewer than one level.
    """

    paper = "Ronneberger et al. 2015, arXiv 1505.04597"
    receptive_field = "about 12·2^levels lattice spacings"

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        *,
        width: int = 32,
        levels: int = 3,
        spacing: float | None = 1 / 16,
    ) -> None:
        super().__init__()
        at_least(1, width=width, levels=levels)
        check_spacing(spacing)
        self.spacing = spacing
        widths = [width * 2**level for level in range(levels)]
        pairs = list(pairwise(widths))
        self.lift = nn.Conv2d(in_channels + 2, width, 1)
        self.encoders = nn.ModuleList(double_conv(n, n) for n in widths)
        self.down = nn.ModuleList(Convolution(n, m, 3, stride=2, padding=1) for n, m in pairs)
        self.up = nn.ModuleList(Refinement(m, n) for n, m in pairs)
        self.decoders = nn.ModuleList(double_conv(2 * n, n) for n, _ in pairs)
        self.project = nn.Sequential(nn.Conv2d(2 * width, width, 1), nn.GELU(), nn.Conv2d(width, out_channels, 1))

    def forward(self, a: Fields) -> Fields:
        points = self.lift(self.with_coordinates(a))
        shape = (a.shape[-2], a.shape[-1])
        y = self.pyramid(resample(points, lattice_shape(shape, self.spacing, self.grid), self.grid), 0)
        return self.project(torch.cat([points, resample(y, shape, self.grid)], dim=1))

    def pyramid(self, x: Fields, level: int) -> Tensor:
        """The levels from `level` on to the coarsest, and back."""
        x = self.encoders[level](x)
        if level == len(self.down):
            return x
        y = self.pyramid(self.down[level](x), level + 1)
        y = self.up[level](y, output_size=list(x.shape[-2:]))
        return self.decoders[level](torch.cat([x, y], dim=1))
