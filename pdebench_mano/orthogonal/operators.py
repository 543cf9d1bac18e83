"""Orthogonal chains as operators: channel lift, isometric blocks that act on fields, channel head.

Every grid point sees the coefficient and its coordinates; lift and head are free linear
maps over channels, the same at each point, and the blocks between them conserve the norm of
what passes through them.
"""

from typing import ClassVar

from pdebench_mano.fields.operator import Fields, at_least
from pdebench_mano.orthogonal.chain import Chain
from pdebench_mano.orthogonal.convolution import OrthogonalConvolution
from pdebench_mano.orthogonal.layer import OrthogonalLayer
from pdebench_mano.orthogonal.linear import OrthogonalLinear
from pdebench_mano.orthogonal.multipole import OrthogonalMultipole
from pdebench_mano.orthogonal.spectral import UnitarySpectral
from pdebench_mano.orthogonal.weighted import WeightedHead, WeightedLift


class _FieldChain(Chain):
    ends: ClassVar[tuple[type[OrthogonalLinear], type[OrthogonalLinear]]] = OrthogonalLinear, OrthogonalLinear

    def __init__(
        self, in_channels: int, out_channels: int, width: int, blocks: list[OrthogonalLayer], activation: str
    ) -> None:
        lift, head = self.ends
        super().__init__(
            lift(in_channels + 2, width, constrained=False),
            blocks,
            head(width, out_channels, constrained=False),
            activation,
        )

    def embed(self, a: Fields) -> Fields:
        return self.with_coordinates(a)


class OrthogonalFNO(_FieldChain):
    """A Fourier neural operator whose layers are unitary on each kept mode.

    Parameters
    ----------
    in_channels, out_channels : int
    width : int
        Channels between lift and head.
    depth : int
        Spectral layers.
    modes : int
        Largest wavenumber with a matrix of its own; grids need more than twice as many points a side.
    activation : str
        One of `pdebench_mano.orthogonal.ACTIVATIONS`.
    constrained : bool
        If not, the spectral layers start unitary and are free to leave.

    Raises
    ------
    ValueError
        For a size below 1 or an unknown activation; on calling, for too small a grid.
    """

    paper = "FOTON, arXiv 2512.20668, on Li et al. 2021, arXiv 2010.08895"
    receptive_field = "global"

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        *,
        width: int = 32,
        depth: int = 4,
        modes: int = 6,
        activation: str = "gelu",
        constrained: bool = True,
    ) -> None:
        at_least(1, depth=depth, width=width)
        blocks: list[OrthogonalLayer] = [UnitarySpectral(width, modes, constrained=constrained) for _ in range(depth)]
        super().__init__(in_channels, out_channels, width, blocks, activation)


class OrthogonalConv(_FieldChain):
    """Orthogonal circular convolutions in a row. Any grid will do, but the kernel shrinks with its spacing.

    Parameters
    ----------
    in_channels, out_channels : int
    width : int
        Channels between lift and head.
    depth : int
        Convolutions.
    kernel : int
        Points a side, odd.
    activation : str
        One of `pdebench_mano.orthogonal.ACTIVATIONS`.

    Raises
    ------
    ValueError
        For a size below 1, an even kernel or an unknown activation; on calling, for a grid smaller than the kernel.
    """

    paper = "FOTON, arXiv 2512.20668, on Trockman & Kolter 2021, arXiv 2104.07167"
    receptive_field = "global, decaying with the distance in grid points"

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        *,
        width: int = 32,
        depth: int = 4,
        kernel: int = 3,
        activation: str = "gelu",
    ) -> None:
        at_least(1, depth=depth, width=width)
        blocks: list[OrthogonalLayer] = [OrthogonalConvolution(width, kernel) for _ in range(depth)]
        super().__init__(in_channels, out_channels, width, blocks, activation)


class OrthogonalMANO(_FieldChain):
    """A multipole operator whose layers are orthogonal on every level, in the product of the integral.

    Parameters
    ----------
    in_channels, out_channels : int
    width : int
        Channels between lift and head.
    depth : int
        Multipole layers.
    lattice : int
        Cells a side of the finest level, a power of two. Grids need twice as many intervals a side; the largest such
        lattice on the training grid tends to serve best.
    activation : str
        One of `pdebench_mano.orthogonal.ACTIVATIONS`.
    constrained : bool
        If not, the multipole layers start orthogonal and are free to leave.

    Raises
    ------
    ValueError
        For a size below 1, a lattice that is no power of two or an unknown activation; on calling, for too small a
        grid.
    """

    paper = "FOTON, arXiv 2512.20668, on Colagrande et al. 2025, arXiv 2507.02748"
    receptive_field = "global, through the coarsest level"
    ends = WeightedLift, WeightedHead

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        *,
        width: int = 32,
        depth: int = 4,
        lattice: int = 8,
        activation: str = "gelu",
        constrained: bool = True,
    ) -> None:
        at_least(1, depth=depth, width=width)
        blocks: list[OrthogonalLayer] = [
            OrthogonalMultipole(width, lattice, constrained=constrained) for _ in range(depth)
        ]
        super().__init__(in_channels, out_channels, width, blocks, activation)
