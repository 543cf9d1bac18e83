"""Unitary spectral layer: a Fourier layer (Li et al. 2021, arXiv:2010.08895) that is an isometry on every grid.

With the orthonormal discrete Fourier transform, mode k of every channel is mixed by one matrix,

    (L z)^(k) = R(k) ẑ(k)  where |k_x|, |k_y| ≤ modes,   Q ẑ(k)  elsewhere,

R(k) unitary, Q real orthogonal and shared by all other modes. Real fields stay real when
R(-k) = conj R(k): so R is kept on one half-plane (k_y > 0, or k_y = 0 < k_x), and R(0) is
real. The adjoint has R(k)* and Qᵀ. Parseval makes L an isometry on every grid that tells the
kept modes apart, n > 2·modes along both axes.
"""

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn

from pdebench_mano.operator import Fields
from pdebench_mano.orthogonal.layer import OrthogonalLayer
from pdebench_mano.orthogonal.linear import outer

Spectrum = Complex[Tensor, "batch channels height half_width"]
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
    paired : (2·modes·(modes + 1), channels, channels, 2) parameter
        Real and imaginary part of R(k) on the half-plane; -k has the conjugate.
    mean, rest : (channels, channels) parameters
        R(0) and Q.

    Raises
    ------
    ValueError
        For modes below 1; on calling, for a grid of 2·modes points or fewer along an axis.
    """

    kx: Tensor
    ky: Tensor

    def __init__(self, channels: int, modes: int, *, bias: bool = True, constrained: bool = True) -> None:
        super().__init__(channels, channels, bias, constrained)
        if modes < 1:
            raise ValueError(f"modes must be at least 1, got {modes}")
        self.modes = modes
        axis = [(k, 0) for k in range(1, modes + 1)]
        beyond = [(k, j) for j in range(1, modes + 1) for k in range(-modes, modes + 1)]
        for name, wavenumbers in zip(("kx", "ky"), torch.tensor(axis + beyond).T, strict=True):
            self.register_buffer(name, wavenumbers.contiguous(), persistent=False)
        rest = nn.init.orthogonal_(torch.empty(channels, channels))
        self.rest = nn.Parameter(rest)
        self.mean = nn.Parameter(rest.clone())
        self.paired = nn.Parameter(torch.stack([rest, torch.zeros_like(rest)], -1).repeat(len(self.kx), 1, 1, 1))

    def lin(self, z: Fields) -> Fields:
        return self._filter(z, torch.view_as_complex(self.paired), self.mean, self.rest)

    def adj(self, v: Fields) -> Fields:
        return self._filter(v, torch.view_as_complex(self.paired).mH, self.mean.mT, self.rest.mT)

    def _filter(
        self, z: Fields, paired: Complex[Tensor, "modes channels channels"], mean: Square, rest: Square
    ) -> Fields:
        """Q z, plus what the kept modes differ by."""
        spectrum = self._transform(z)
        low = (paired - rest) @ self._kept(spectrum)
        change = torch.zeros_like(spectrum)
        change[:, :, self.kx, self.ky] = low.permute(2, 1, 0)
        change[:, :, -self.kx[: self.modes], 0] = low[: self.modes].permute(2, 1, 0).conj()
        change[:, :, 0, 0] = (spectrum[:, :, 0, 0].real @ (mean - rest).mT).to(change)
        return torch.einsum("oi,bixy->boxy", rest, z) + torch.fft.irfft2(change, s=z.shape[-2:], norm="ortho")

    def _transform(self, z: Fields) -> Spectrum:
        if min(z.shape[-2:]) <= 2 * self.modes:
            raise ValueError(
                f"{self.modes} modes need a grid of more than {2 * self.modes} points a side, "
                f"got {z.shape[-2]}×{z.shape[-1]}"
            )
        return torch.fft.rfft2(z.to(self.rest.dtype), norm="ortho")

    def _kept(self, spectrum: Spectrum) -> Complex[Tensor, "modes channels batch"]:
        return spectrum[:, :, self.kx, self.ky].permute(2, 1, 0)

    def param_grad(self, delta: Fields, z: Fields) -> dict[str, Tensor]:
        errors, spectrum = self._transform(delta), self._transform(z)
        paired = 2 * self._kept(errors) @ self._kept(spectrum).mH
        mean = outer(errors[:, :, 0, 0].real, spectrum[:, :, 0, 0].real)
        rest = outer(delta, z) - mean - paired.real.sum(0)
        return {"paired": torch.view_as_real(paired), "mean": mean, "rest": rest} | super().param_grad(delta, z)

    def matrices(self) -> list[Tensor]:
        return [torch.view_as_complex(self.paired), self.mean, self.rest]

    def extra_repr(self) -> str:
        return f"{self.in_features}, modes={self.modes}, constrained={self.constrained}"
