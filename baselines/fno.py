"""FNO: the Fourier neural operator (Li et al. 2021, arXiv 2010.08895), as neuraloperator builds it.

Lifting, blocks and projection are neuraloperator's `FNO`. Only the way into Fourier space and back differs, so that
a layer is the same map on every grid: the coefficients of a field v on [0, 1]² are integrals,

    v̂(k) = ∫ v(x) exp(-2πi k·x/P) dx,      y(x) = Σ_k R(k) v̂(k) exp(2πi k·x/P),

by the trapezoidal rule on vertices and the rectangle rule on left-closed grids, with v extended by zero to the
periodic square [0, P]² (domain padding, P > 1). On a left-closed grid with P = 1 this is the FFT. On vertices the
FFT would take n/(n-1) for the period, which changes with the resolution; and neuraloperator 2.0.0 shifts the spectrum
by one on grids of odd height. Frequencies that a small grid does not resolve are left out.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Complex, Float
from neuralop.layers.spectral_convolution import SpectralConv
from neuralop.models import FNO as NeuralopFNO
from torch import Tensor, nn

from data_gen.grid import Kind
from pdebench_mano.fields.lattice import Resampled, axis, quadrature, remembered, resample
from pdebench_mano.fields.operator import Fields, Operator, at_least


def resolved(points: int, modes: int, period: float, grid: Kind) -> range:
    """Those of the frequencies -⌊modes/2⌋, …, ⌈modes/2⌉-1 with more than two points per wave."""
    intervals = points - 1 if grid == "vertices" else points
    highest = max(0, math.ceil(period * intervals / 2) - 1)
    return range(max(-(modes // 2), -highest), min(modes - modes // 2, highest + 1))


@remembered
def series(
    points: int, frequencies: range, period: float, grid: Kind, device: torch.device
) -> Complex[Tensor, "{points} k"]:
    """The waves exp(2πi k x / period) at the points of one axis: a series is this times its coefficients."""
    k = torch.arange(frequencies.start, frequencies.stop, device=device)
    angle = 2 * torch.pi / period * torch.outer(axis(points, grid, device), k)
    return torch.polar(torch.ones_like(angle), angle).to(torch.complex64)


@remembered
def integrals(
    points: int, frequencies: range, period: float, grid: Kind, device: torch.device
) -> Complex[Tensor, "k {points}"]:
    """The rows exp(-2πi k x / period) times quadrature weights: coefficients are this times the values."""
    return series(points, frequencies, period, grid, device).mH * quadrature(points, grid, device).float()


@remembered
def into_waves(
    points: int, frequencies: range, period: float, grid: Kind, device: torch.device
) -> Float[Tensor, "{points} parts"]:
    """What takes real values, on its left, to the real and the imaginary part of each coefficient, side by side."""
    return torch.view_as_real(integrals(points, frequencies, period, grid, device).T.contiguous()).flatten(1)


@remembered
def out_of_waves(
    points: int, frequencies: range, period: float, grid: Kind, device: torch.device
) -> Float[Tensor, "parts {points}"]:
    """What takes these parts of the coefficients of k ≥ 0, on its left, to a real field: k > 0 counts twice."""
    doubled = 2 - (torch.arange(len(frequencies), device=device) == 0).float()
    waves = (series(points, frequencies, period, grid, device) * doubled).T
    return torch.stack([waves.real, -waves.imag], 1).flatten(0, 1)


def coefficients(v: Fields, kx: range, ky: range, period: float, grid: Kind) -> Complex[Tensor, "batch channels kx ky"]:
    """∫ v(x) exp(-2πi k·x/P) dx over the unit square, in single precision.

    Matrices stand on the right: on a CPU that is one product, on the left one for each sample and channel. Real fields
    take real products, which autocast would round.
    """
    along_x, along_y = ((n, k, period, grid, v.device) for n, k in zip(v.shape[-2:], (kx, ky), strict=True))
    with torch.autocast(v.device.type, enabled=False):
        parts = v.float() @ into_waves(*along_y)
        return (torch.view_as_complex(parts.unflatten(-1, (-1, 2))).mT @ integrals(*along_x).T).mT


def real_series(
    c: Complex[Tensor, "batch channels kx ky"], points: tuple[int, int], kx: range, ky: range, period: float, grid: Kind
) -> Float[Tensor, "batch channels height width"]:
    """Σ c(k) exp(2πi k·x/P) on a grid, of the real field whose coefficients of ky ≥ 0 are given."""
    along_x, along_y = ((n, k, period, grid, c.device) for n, k in zip(points, (kx, ky), strict=True))
    with torch.autocast(c.device.type, enabled=False):
        parts = torch.view_as_real((c.mT @ series(*along_x).T).mT).flatten(-2)
        return parts @ out_of_waves(*along_y)


class FourierConv(SpectralConv, Operator):
    """neuraloperator's spectral convolution, with Fourier coefficients that are integrals over the unit square.

    Takes neuraloperator's arguments and holds its weights: modes -⌊m/2⌋, …, ⌈m/2⌉-1 along x, 0, …, ⌊m/2⌋ along y.
    `period` is set by the operator the layer belongs to.
    """

    weight: Any
    bias: Any
    resolution_scaling_factor: Any
    separable: bool
    factorization: str | None
    _contract: Any
    period: float = 1.0

    def target(self, x: Fields, output_shape: Sequence[int] | None) -> tuple[int, int]:
        """Points of the grid that the layer gives its output on."""
        scale_x, scale_y = self.resolution_scaling_factor or (1, 1)
        height, width = output_shape or (round(scale_x * x.shape[-2]), round(scale_y * x.shape[-1]))
        return height, width

    def transform(self, x: Fields, output_shape: Sequence[int] | None = None) -> Resampled:
        """Bring what bypasses the layer onto the grid of its output, point for point in the unit square."""
        return resample(x, self.target(x, output_shape), self.grid)

    def forward(
        self, x: Fields, output_shape: Sequence[int] | None = None
    ) -> Float[Tensor, "batch out_channels new_height new_width"]:
        points = (x.shape[-2], x.shape[-1])
        target = self.target(x, output_shape)
        period = 1.0 if self.grid == "periodic" else self.period
        rows, columns = self.weight.shape[-2:]
        smallest = [min(pair) for pair in zip(points, target, strict=True)]
        kx = resolved(smallest[0], rows, period, self.grid)
        ky = range(resolved(smallest[1], 2 * columns, period, self.grid).stop)

        weight = self.weight if self.factorization else self.weight.to_tensor()
        weight = weight[:, :, kx.start + rows // 2 : kx.stop + rows // 2, : ky.stop]
        v = coefficients(x, kx, ky, period, self.grid)
        if self.factorization or self.separable:
            v = self._contract(v, weight, self.separable)
        else:  # the library's way of planning a product would keep `torch.export` to one batch size
            v = torch.einsum("bixy,ioxy->boxy", v, weight)
        y = real_series(v, target, kx, ky, period, self.grid).to(x.dtype)
        return y if self.bias is None else y + self.bias


class FNO(Operator):
    """Fourier neural operator.

    Parameters
    ----------
    in_channels, out_channels : int
    modes : int
        Fourier modes kept per axis, of both signs. More than a training grid resolves is of no use there, and harmful
        on finer grids, where the untrained ones wake up.
    width : int
        Channels between lifting and projection.
    depth : int
        Number of Fourier layers.
    period : float
        Side of the periodic square that the domain is extended to by zero; 1 is no padding, as periodic grids have it.
    rank : float
        Fraction of the spectral weights that remains after a Tucker factorisation; 1 is dense.

    Raises
    ------
    ValueError
        For fewer than two modes, a size below one, a period below 1, or a rank outside (0, 1].
    """

    paper = "Li et al. 2021, arXiv 2010.08895"
    receptive_field = "global, through the kept Fourier modes"

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        *,
        modes: int = 12,
        width: int = 32,
        depth: int = 4,
        period: float = 1.0,
        rank: float = 1.0,
    ) -> None:
        super().__init__()
        at_least(2, modes=modes)
        at_least(1, width=width, depth=depth)
        if period < 1:
            raise ValueError(f"period must be at least 1, got {period}")
        if not 0 < rank <= 1:
            raise ValueError(f"rank must be in (0, 1], got {rank}")
        self.model = NeuralopFNO(
            n_modes=(modes, modes),
            in_channels=in_channels + 2,
            out_channels=out_channels,
            hidden_channels=width,
            n_layers=depth,
            positional_embedding=None,
            factorization=None if rank == 1 else "tucker",
            rank=rank,
            conv_module=FourierConv,
        )
        for conv in self.model.fno_blocks.convs:
            conv.period = period
        self.register_state_dict_post_hook(drop_metadata)

    def forward(self, a: Fields) -> Fields:
        return self.model(self.with_coordinates(a))


def drop_metadata(_: nn.Module, state: dict[str, Any], prefix: str, __: Any) -> None:
    """Leave tensors only: neuraloperator adds its constructor's arguments, which ``weights_only=True`` refuses."""
    state.pop("_metadata", None)
