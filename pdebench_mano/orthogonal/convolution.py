"""Orthogonal circular convolution by the Cayley transform of each frequency (Trockman & Kolter 2021, arXiv:2104.07167).

A kernel K of free parameters gives at frequency k the matrix A(k) = K̂(k); with the
skew-Hermitian S = A - A*,

    (L z)^(k) = U(k) ẑ(k),   U = (I + S)⁻¹ (I - S),

and every U(k) is unitary: there is nothing to retract. K is real, so U(-k) = conj U(k).
The derivative by K is written out: for G = ∂ℓ/∂U,

    ∂ℓ/∂S = -(I + S)⁻* G (I + U)*,   ∂ℓ/∂A = ∂ℓ/∂S - (∂ℓ/∂S)*.
"""

import torch
from jaxtyping import Complex
from torch import Tensor, nn

from pdebench_mano.fields.operator import Fields
from pdebench_mano.orthogonal.layer import OrthogonalLayer
from pdebench_mano.orthogonal.polar import orthogonality_residual

Matrices = Complex[Tensor, "height half_width channels channels"]


class OrthogonalConvolution(OrthogonalLayer):
    """z ↦ L z + b on periodic fields; the kernel spans a fixed number of grid points, whatever their distance.

    Parameters
    ----------
    channels : int
    kernel : int
        Points a side, odd.

    Raises
    ------
    ValueError
        For an even kernel; on calling, for a grid with fewer points along an axis than the kernel.
    """

    def __init__(self, channels: int, kernel: int = 3, *, bias: bool = True) -> None:
        super().__init__(channels, channels, bias, constrained=True)
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"kernel must be odd and positive, got {kernel}")
        self.kernel = kernel
        self.weight = nn.Parameter(nn.init.xavier_normal_(torch.empty(channels, channels, kernel, kernel)))

    def _skew(self, height: int, width: int) -> Matrices:
        """S at every frequency of the half-plane that `torch.fft.rfft2` keeps."""
        if min(height, width) < self.kernel:
            raise ValueError(f"a kernel of {self.kernel} points needs as many a side, got {height}×{width}")
        centred = torch.zeros(*self.weight.shape[:2], height, width, dtype=self.weight.dtype, device=self.weight.device)
        centred[:, :, : self.kernel, : self.kernel] = self.weight
        centred = centred.roll((-(self.kernel // 2),) * 2, dims=(-2, -1))
        response = torch.fft.rfft2(centred).permute(2, 3, 0, 1)
        return response - response.mH

    def _cayley(self, height: int, width: int) -> Matrices:
        skew = self._skew(height, width)
        identity = torch.eye(self.in_features, dtype=skew.dtype, device=skew.device)
        return _solve(identity + skew, identity - skew)

    def lin(self, z: Fields) -> Fields:
        return _filter(self._cayley(*z.shape[-2:]), z.to(self.weight.dtype))

    def adj(self, v: Fields) -> Fields:
        return _filter(self._cayley(*v.shape[-2:]).mH, v.to(self.weight.dtype))

    def param_grad(self, delta: Fields, z: Fields) -> dict[str, Tensor]:
        height, width = z.shape[-2:]
        skew = self._skew(height, width)
        identity = torch.eye(self.in_features, dtype=skew.dtype, device=skew.device)
        unitary = _solve(identity + skew, identity - skew)
        by_unitary = _transform(delta.to(self.weight.dtype)) @ _transform(z.to(self.weight.dtype)).mH
        by_skew = -_solve((identity + skew).mH, by_unitary @ (identity + unitary).mH)
        by_response = (by_skew - by_skew.mH).permute(2, 3, 0, 1)
        # ⟨A, K̂⟩ over all frequencies is n·⟨inverse transform of A, K⟩; the half left out is the conjugate
        centred = torch.fft.irfft2(by_response, s=(height, width)) * (height * width)
        half = self.kernel // 2
        weight = centred.roll((half, half), dims=(-2, -1))[:, :, : self.kernel, : self.kernel]
        return {"weight": weight.contiguous()} | super().param_grad(delta, z)

    @torch.no_grad()
    def orthogonality_residual(self) -> float:
        """On a grid of 16 × 16 points; other grids have other frequencies, unitary as well."""
        n = max(16, self.kernel)
        return orthogonality_residual(self._cayley(n, n))

    def extra_repr(self) -> str:
        return f"{self.in_features}, kernel={self.kernel}"


def _solve(a: Matrices, b: Matrices) -> Matrices:
    """Without a check whether `a` is singular, which I + S never is."""
    return torch.linalg.solve_ex(a, b)[0]


def _transform(z: Fields) -> Complex[Tensor, "height half_width channels batch"]:
    return torch.fft.rfft2(z, norm="ortho").permute(2, 3, 1, 0)


def _filter(unitary: Matrices, z: Fields) -> Fields:
    filtered = (unitary @ _transform(z)).permute(3, 2, 0, 1)
    return torch.fft.irfft2(filtered, s=z.shape[-2:], norm="ortho")
