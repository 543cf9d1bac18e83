"""Conjugate gradients for many samples at once, on a GPU (needs torch).

Solutions and residuals are float64. A sweep solves A d = f - Au to three digits in float32 and adds d to u
(iterative refinement; Higham 2002, §12), so that the float64 work is a handful of residuals per sample.
The inner iteration is that of `data_gen.solvers.cg`. Its sine transforms are products with dense
matrices, which tensor cores do from float16 with float32 sums: that makes a preconditioner one part
in a thousand off, and costs an iteration or two.

Interior fields of a batch are (batch, n-2, m-2); the float16 ones are padded with zeros to
multiples of 8, the unit of tensor cores.
"""

from functools import lru_cache
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from data_gen.darcy import MEANS, Mean, Source, interior_source
from data_gen.solvers import FLOOR, NotConverged, inverse_symbol

Vertices = Float[Tensor, "batch n m"]
Interior = Float[Tensor, "batch k l"]
PerSample = Float[Tensor, "batch 1 1"]

INNER_RTOL = 1e-3
INNER_ITERATIONS = 200
SWEEPS = 30
HALF_RMS, HALF_GAIN = 0.25, 64.0


class BatchSolution(NamedTuple):
    """Fields of a batch, and what speaks for each; see `data_gen.solvers.Solution`.

    Attributes
    ----------
    u : (batch, n, m) float64 tensor
        Solutions, on the device.
    residual : (batch,) float64 array
        ‖f - Au‖ / ‖f‖.
    accepted_by : list of {"rtol", "floor", ""}
        Which criterion each met; "" where neither.
    iterations : int
        Inner iterations, common to the batch.
    """

    u: Tensor
    residual: np.ndarray
    accepted_by: list[str]
    iterations: int


def solve_batch(
    a: np.ndarray | Tensor,
    f: Source = 1.0,
    *,
    rtol: float = 1e-10,
    mean: Mean = "arithmetic",
    device: str | torch.device = "cuda",
) -> BatchSolution:
    """Solve -∇·(a ∇u) = f, u = 0 on the boundary, for a batch of coefficients.

    Parameters
    ----------
    a : (batch, n, m) array or tensor
        Positive coefficients at the vertices.
    f : float or (n, m) array
        Source, common to the batch.
    rtol, mean : float, str
        As in `data_gen.solve`.
    device : str or torch.device
        Where to compute. On CUDA the pointwise work is fused by `torch.compile`.

    Raises
    ------
    ValueError
        If a coefficient is not positive and finite, or another argument is out of range.
    NotConverged
        If a sample meets neither `rtol` nor the floor of float64 arithmetic.
    """
    solution = attempt(a, f, rtol=rtol, mean=mean, device=device)
    for i, accepted in enumerate(solution.accepted_by):
        if not accepted:
            raise NotConverged(f"sample {i} of the batch reached a relative residual of {solution.residual[i]:.1e}")
    return solution


def attempt(
    a: np.ndarray | Tensor,
    f: Source = 1.0,
    *,
    rtol: float = 1e-10,
    mean: Mean = "arithmetic",
    device: str | torch.device = "cuda",
) -> BatchSolution:
    """As `solve_batch`, but a sample that fails is only marked."""
    if mean not in MEANS:
        raise ValueError(f"mean must be one of {', '.join(MEANS)}, got {mean!r}")
    if not 0 < rtol < 1:
        raise ValueError(f"rtol must lie between 0 and 1, got {rtol}")
    a = torch.as_tensor(a, dtype=torch.float64, device=device)
    if a.ndim != 3 or min(a.shape[1:]) < 3:
        raise ValueError(f"coefficients a must be a (batch, n, m) array with n, m ≥ 3, got shape {tuple(a.shape)}")
    if not bool((a.isfinite() & (a > 0)).all()):
        raise ValueError("coefficients a must be positive and finite")

    _, n, m = a.shape
    rhs = torch.as_tensor(interior_source(f, (n, m)), device=a.device)
    norm = float(torch.linalg.vector_norm(rhs)) or 1.0
    ops = _fused() if a.is_cuda else PLAIN
    top = a.amax((1, 2), keepdim=True)
    a32 = (a / top).float()
    scale = _scale(a, rtol, mean)
    inverse = InverseLaplacian(n, m, a.device)

    u = rhs.new_zeros(len(a), n - 2, m - 2)
    relative = torch.full_like(top, torch.inf)
    iterations = 0
    for _ in range(SWEEPS):
        r, size = ops.residual(a, u, rhs, mean)
        previous, relative = relative, size / norm
        if not bool(((relative > rtol) & (relative < 0.5 * previous)).any()):
            break
        target = (0.5 * rtol / relative).clamp(INNER_RTOL, 0.5).float()
        d, count = _inner_cg(ops, a32, r, scale, inverse, target, mean)
        u = ops.correct(u, d, size / top)
        iterations += count

    floor = FLOOR * torch.linalg.vector_norm(_stencil(a, u.abs(), mean, +1), dim=(1, 2), keepdim=True) / norm
    accepted = ["rtol" if r <= rtol else "floor" if r <= c else "" for r, c in zip(relative, floor, strict=True)]
    return BatchSolution(pad(u, (1, 1, 1, 1)), relative.flatten().cpu().numpy(), accepted, iterations)


def _inner_cg(
    ops: SimpleNamespace,
    a: Vertices,
    r: Interior,
    scale: Interior | None,
    inverse: "InverseLaplacian",
    rtol: PerSample,
    mean: Mean,
) -> tuple[Interior, int]:
    """Float32 preconditioned conjugate gradients for A x = r, ‖r‖ = 1, until every sample is at its `rtol`."""
    x, p = torch.zeros_like(r), torch.zeros_like(r)
    rr = torch.ones_like(rtol)
    rz = torch.full_like(rtol, torch.inf)
    half = inverse.half(r, scale, rr)
    iterations = 0
    while iterations < INNER_ITERATIONS:
        iterations += 1
        z = inverse(half, ops.multiply)
        rz, previous = ops.dot(r, z, scale), rz
        p, q, pq = ops.search(a, p, z, scale, rz / previous, mean)
        x, r, half, rr = ops.step(x, r, p, q, rz / pq, scale, rr, inverse)
        if not bool((rr > rtol**2).any()):
            break
    return x, iterations


def _stencil(a: Vertices, u: Interior, mean: Mean, sign: int = -1) -> Interior:
    """Σ over the four neighbours of face conductance × (u ± u_neighbour), u = 0 on the boundary.

    With a minus this is Au; with a plus, |A|u.
    """
    n, m = a.shape[1:]
    u = pad(u, (1, 1, 1, 1))
    at, before, after = slice(1, -1), slice(None, -2), slice(2, None)
    neighbours = (((before, at), n), ((after, at), n), ((at, before), m), ((at, after), m))
    total = torch.zeros_like(u[:, at, at])
    for (i, j), k in neighbours:
        p, q = a[:, at, at], a[:, i, j]
        face = 2 * p * q / (p + q) if mean == "harmonic" else (p + q) / 2
        total = total + (k - 1) ** 2 * face * (u[:, at, at] + sign * u[:, i, j])
    return total


def _residual(a: Vertices, u: Interior, rhs: Tensor, mean: Mean) -> tuple[Interior, PerSample]:
    """f - Au divided by its norm, in float32, and the norm, in float64."""
    r = rhs - _stencil(a, u, mean)
    size = torch.linalg.vector_norm(r, dim=(1, 2), keepdim=True)
    return (r / size.clamp_min(torch.finfo(r.dtype).tiny)).float(), size


def _correct(u: Interior, d: Interior, factor: PerSample) -> Interior:
    return u + factor * d


def _multiply(x: Tensor, factor: Tensor) -> Tensor:
    return (x * factor).to(x.dtype)


def _dot(r: Interior, z: Tensor, scale: Interior | None) -> PerSample:
    return (r * _unpad(z, r, scale)).sum((1, 2), keepdim=True)


def _search(
    a: Vertices, p: Interior, z: Tensor, scale: Interior | None, beta: PerSample, mean: Mean
) -> tuple[Interior, Interior, PerSample]:
    """The next search direction p, A p and p·Ap."""
    p = _unpad(z, p, scale) + beta * p
    q = _stencil(a, p, mean)
    return p, q, (p * q).sum((1, 2), keepdim=True)


def _step(
    x: Interior,
    r: Interior,
    p: Interior,
    q: Interior,
    alpha: PerSample,
    scale: Interior | None,
    previous: PerSample,
    inverse: "InverseLaplacian",
) -> tuple[Interior, Interior, Tensor, PerSample]:
    x = x + alpha * p
    r = r - alpha * q
    return x, r, inverse.half(r, scale, previous), (r * r).sum((1, 2), keepdim=True)


def _unpad(z: Tensor, like: Interior, scale: Interior | None) -> Interior:
    z = z[:, : like.shape[1], : like.shape[2]].to(like.dtype)
    return z if scale is None else z * scale


class InverseLaplacian:
    """The inverse of the five-point -Δ on the interior of an (n, m) grid, up to a factor, in half precision on GPUs.

    Fields go in with root mean square of about `HALF_RMS`, and eigenvalues relative to the smallest
    over `HALF_GAIN`, so that float16 neither overflows nor loses the high modes.
    """

    def __init__(self, n: int, m: int, device: torch.device) -> None:
        self.dtype = torch.float16 if device.type == "cuda" else torch.float32
        self.sine_x, self.sine_y = (_sine_matrix(k, self.dtype, device) for k in (n, m))
        symbol = inverse_symbol(n, m)
        padding = (0, self.sine_y.shape[0] - (m - 2), 0, self.sine_x.shape[0] - (n - 2))
        self.symbol = pad(torch.as_tensor(HALF_GAIN / symbol.max() * symbol), padding).float().to(device)
        self.gain = HALF_RMS * float(np.sqrt(symbol.size))
        self.padding = padding

    def half(self, r: Interior, scale: Interior | None, rr: PerSample) -> Tensor:
        """Cast and pad `r`, scaled, relative to the norm whose square is `rr`."""
        y = self.gain * r * rr.clamp_min(torch.finfo(rr.dtype).tiny).rsqrt()
        return pad((y if scale is None else y * scale).to(self.dtype), self.padding)

    def __call__(self, y: Tensor, multiply: Any = _multiply) -> Tensor:
        batch, n, m = y.shape
        sine_x = self.sine_x.expand(batch, n, n)
        modes = torch.bmm(sine_x, (y.view(-1, m) @ self.sine_y).view(batch, n, m))
        modes = torch.bmm(sine_x, multiply(modes, self.symbol))
        return (modes.view(-1, m) @ self.sine_y).view(batch, n, m)


def _sine_matrix(n: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The orthogonal DST-I of n - 2 points, padded with zeros to a multiple of 8."""
    k = torch.arange(1, n - 1, dtype=torch.float64)
    sine = np.sqrt(2 / (n - 1)) * torch.sin(torch.pi / (n - 1) * torch.outer(k, k))
    return pad(sine, (0, -(n - 2) % 8) * 2).to(device, dtype)


def _scale(a: Vertices, rtol: float, mean: Mean) -> Interior | None:
    """Factors of the scaled preconditioner, 1 where it does not pay; None if nowhere.

    The batched form of `data_gen.solvers.estimated_iterations`.
    """
    n, m = a.shape[1:]
    laplacian = 2 * ((n - 1) ** 2 + (m - 1) ** 2)
    ones = torch.ones_like(a[:, 1:-1, 1:-1])
    diagonal = (_stencil(a, ones, mean) + _stencil(a, ones, mean, +1)) / 2
    s = (laplacian / diagonal).sqrt()
    boundary = 2 * ((n - 1) ** 2 * (m - 2) + (m - 1) ** 2 * (n - 2))
    potential = ((s * _stencil(a, s, mean)).sum((1, 2)) - boundary) / s[0].numel()
    scaled = 8 + 4 * potential.clamp_min(0).sqrt()

    unscaled = 0.5 * (a.amax((1, 2)) / a.amin((1, 2))).sqrt() * np.log(2 / rtol)
    some = a.flatten(1)[:, :: -(-a[0].numel() // 1000)].sort(1).values
    few = (some.diff(dim=1) != 0).sum(1) < 10
    unscaled = torch.where(few, unscaled.clamp_max(100.0), unscaled)

    chosen = (scaled < unscaled)[:, None, None]
    if not bool(chosen.any()):
        return None
    s = s / s.square().mean((1, 2), keepdim=True).sqrt()
    return torch.where(chosen, s, torch.ones_like(s)).float()


PLAIN = SimpleNamespace(residual=_residual, correct=_correct, multiply=_multiply, dot=_dot, search=_search, step=_step)


@lru_cache(maxsize=1)
def _fused() -> SimpleNamespace:
    """The pointwise operations, each compiled into a kernel or two."""
    return SimpleNamespace(**{name: torch.compile(function) for name, function in vars(PLAIN).items()})
