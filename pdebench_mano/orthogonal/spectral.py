"""Unitary spectral layer: a Fourier layer (Li et al. 2021, arXiv:2010.08895) that is an isometry on every grid.

With the orthonormal discrete Fourier transform, mode k of every channel is mixed by one matrix,

    (L z)^(k) = R(k) ẑ(k)  where |k_x|, |k_y| ≤ modes,   Q ẑ(k)  elsewhere,

R(k) unitary, Q real orthogonal and shared by all other modes. Real fields stay real when
R(-k) = conj R(k): so R is kept on one half-plane (k_y > 0, or k_y = 0 < k_x), and R(0) is
real. The adjoint has R(k)* and Qᵀ. Parseval makes L an isometry on every grid that tells the
kept modes apart, n > 2·modes along both axes.

Computed as L z = Q z + Σ_k (R(k) - Q) ẑ(k) e^{ik·x}: no other mode is ever transformed, and a
few modes take fewer operations by products with their waves, axis by axis, than by a fast
transform of the whole grid.
"""

import math

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn

from pdebench_mano.fields.lattice import remembered
from pdebench_mano.fields.operator import Fields, at_least
from pdebench_mano.orthogonal.layer import OrthogonalLayer
from pdebench_mano.orthogonal.linear import outer

Modes = Complex[Tensor, "modes channels batch"]
Matrices = Complex[Tensor, "modes channels channels"]
Square = Float[Tensor, "channels channels"]


class UnitarySpectral(OrthogonalLayer):
    """z ↦ L z + b on fields, for any grid of more than 2·modes points a side.

    Parameters
    ----------
    channels : int
    modes : int
        Largest wavenumber along either axis that has a matrix of its own.

    Attributes
    ----------
    wavenumbers : (2·modes·(modes + 1), 2) buffer
        The k = (k_x, k_y) of the half-plane.
    paired : (2·modes·(modes + 1), channels, channels, 2) parameter
        Real and imaginary part of R(k) for each of them; -k has the conjugate.
    mean, rest : (channels, channels) parameters
        R(0) and Q.

    Raises
    ------
    ValueError
        For modes below 1; on calling, for a grid of 2·modes points or fewer along an axis.
    """

    wavenumbers: Tensor
    kept: Tensor

    def __init__(self, channels: int, modes: int, *, bias: bool = True, constrained: bool = True) -> None:
        super().__init__(channels, channels, bias, constrained)
        at_least(1, modes=modes)
        self.modes = modes
        axis = [(k, 0) for k in range(1, modes + 1)]
        beyond = [(k, j) for j in range(1, modes + 1) for k in range(-modes, modes + 1)]
        wavenumbers = torch.tensor(axis + beyond)
        places = [modes, *(wavenumbers[:, 1] * (2 * modes + 1) + wavenumbers[:, 0] + modes).tolist()]
        self.register_buffer("wavenumbers", wavenumbers, persistent=False)
        self.register_buffer("kept", torch.tensor(places), persistent=False)
        rest = nn.init.orthogonal_(torch.empty(channels, channels))
        self.rest = nn.Parameter(rest)
        self.mean = nn.Parameter(rest.clone())
        self.paired = nn.Parameter(torch.stack([rest, torch.zeros_like(rest)], -1).repeat(len(wavenumbers), 1, 1, 1))

    def lin(self, z: Fields) -> Fields:
        return self._filter(z, torch.view_as_complex(self.paired), self.mean, self.rest)

    def adj(self, v: Fields) -> Fields:
        return self._filter(v, torch.view_as_complex(self.paired).mH, self.mean.mT, self.rest.mT)

    def _filter(self, z: Fields, paired: Matrices, mean: Square, rest: Square) -> Fields:
        change = torch.cat([(mean - rest).to(paired.dtype)[None], 2 * (paired - rest)])
        return torch.einsum("oi,bixy->boxy", rest, z) + self._synthesis(change @ self._analysis(z), z.shape[-2:])

    def _analysis(self, z: Fields) -> Modes:
        """ẑ at 0 and on the half-plane."""
        along_x, along_y = self._waves(z.shape[-2:])
        spectrum = torch.view_as_complex((z.to(along_y.dtype) @ along_y).unflatten(-1, (-1, 2))).mT @ along_x
        return spectrum.flatten(2).permute(2, 1, 0).index_select(0, self.kept)

    def _synthesis(self, modes: Modes, grid: torch.Size) -> Fields:
        """Re Σ_k modes(k) e^{ik·x}, the adjoint of `_analysis`."""
        along_x, along_y = self._waves(grid)
        spectrum = modes.new_zeros((2 * self.modes + 1) * (self.modes + 1), *modes.shape[1:])
        spectrum = spectrum.index_copy(0, self.kept, modes).permute(2, 1, 0).unflatten(2, (self.modes + 1, -1))
        return torch.view_as_real((spectrum @ along_x.mH).mT.contiguous()).flatten(-2) @ along_y.mT

    def _waves(self, grid: torch.Size) -> tuple[Complex[Tensor, "height wx"], Float[Tensor, "width wy"]]:
        if min(grid) <= 2 * self.modes:
            raise ValueError(
                f"{self.modes} modes need a grid of more than {2 * self.modes} points a side, got {grid[0]}×{grid[1]}"
            )
        along_x, along_y = (waves(n, self.modes, self.rest.dtype, self.rest.device) for n in grid)
        return along_x, torch.view_as_real(along_y[:, self.modes :]).flatten(1)

    def param_grad(self, delta: Fields, z: Fields) -> dict[str, Tensor]:
        products = self._analysis(delta) @ self._analysis(z).mH
        mean, paired = products[0].real, 2 * products[1:]
        rest = outer(delta, z) - mean - paired.real.sum(0)
        return {"paired": torch.view_as_real(paired), "mean": mean, "rest": rest} | super().param_grad(delta, z)

    def matrices(self) -> list[Tensor]:
        return [torch.view_as_complex(self.paired), self.mean, self.rest]

    def extra_repr(self) -> str:
        return f"{self.in_features}, modes={self.modes}, constrained={self.constrained}"


@remembered
def waves(points: int, modes: int, dtype: torch.dtype, device: torch.device) -> Complex[Tensor, "points wavenumbers"]:
    """e^{-2πijk/n}/√n for the points j = 0 … n-1 and wavenumbers k = -modes … modes."""
    turns = torch.outer(torch.arange(points), torch.arange(-modes, modes + 1)) % points
    phase = (-2 * math.pi / points) * turns.double()
    return torch.polar(torch.full_like(phase, points**-0.5), phase).to(device, dtype.to_complex())
