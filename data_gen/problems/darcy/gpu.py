"""Conjugate gradients for many samples at once, on a GPU (needs torch and triton).

Solutions and residuals are float64. A sweep solves A d = f - Au to three digits in float32 and adds d to
u (iterative refinement; Higham 2002, §12), so that the float64 work is a handful of residuals per sample.
Rounding d to float32 leaves a residual of up to 2⁻²⁴ ‖|A||d|‖, which on a fine grid or at high contrast is larger than
the one before, though the error is smaller, and rough, so that the next sweep is rid of it: a sample has stalled if
two sweeps have not halved its residual.
The inner iteration is that of `data_gen.problems.darcy.solvers.cg`. Its sine transforms are products with dense
matrices, which tensor cores do from float16 with float32 sums: that makes a preconditioner one part
in a thousand off, and costs an iteration or two. What rounding leaves is rough: on fine grids at
high contrast the first step enlarges the residual, so that what is made float16 is scaled by a bound of its norm.

What is no matrix product is memory traffic, so that the rest of an iteration is three fused kernels, and
its eight launches are one CUDA graph. Sums over a sample are made in a fixed order, block by block
and then over the blocks, so that the same input gives the same bits.

Interior fields are (batch, n-2, m-2); the float16 ones are padded with zeros to multiples of 8, the
unit of tensor cores.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
import triton
from torch import Tensor
from torch.nn.functional import pad

from data_gen.graphs import captured
from data_gen.problem import NotConverged
from data_gen.problems.darcy import kernels
from data_gen.problems.darcy.scheme import AVERAGED, MEANS, Mean, Source, interior_source
from data_gen.problems.darcy.solvers import FLOOR, FLOOR_RTOL, inverse_symbol

INNER_RTOL = 1e-3
INNER_ITERATIONS = 200
SWEEPS = 30
HALF_RMS, HALF_GAIN, HALF_NORM, HALF_MAX = 0.25, 64.0, 2.0**14, 6e4
"""Of float16 fields: rms of a residual as large as the last, gain of the smoothest mode, largest norm and value."""

BLOCK = 1024
COLLECTED = 1024
"""Blocks of a sample from which on their sums are added up by a kernel of their own: all blocks need them all."""


class BatchSolution(NamedTuple):
    """Fields of a batch, and what speaks for each; see `data_gen.problems.darcy.solvers.Solution`.

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


class Interior(NamedTuple):
    """A source on a device: (n-2, m-2) float64 values at the interior vertices, and their norm.

    The norm is 1 where all values are zero, and NaN, which no residual meets, where their squares are but they are not.
    """

    values: Tensor
    norm: float


def interior(f: Source, shape: tuple[int, int], device: str | torch.device) -> Interior:
    """Bring a source on an (n, m) grid to a device."""
    values = interior_source(f, shape)
    norm = float(np.linalg.norm(values)) or (np.nan if values.any() else 1.0)
    return Interior(torch.as_tensor(values, device=device), norm)


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
    a : (batch, n, m) array or tensor, float32 or float64
        Positive coefficients at the vertices.
    f : float or (n, m) array
        Source, common to the batch.
    rtol, mean : float, str
        As in `data_gen.solve`.
    device : str or torch.device
        Where to compute: a CUDA device.

    Raises
    ------
    ValueError
        If a coefficient is not positive and finite, or another argument is out of range.
    NotConverged
        If a sample misses `rtol`, and the floor of float64 arithmetic, or where it lies too high.
    """
    solution = attempt(a, f, rtol=rtol, mean=mean, device=device)
    for i, accepted in enumerate(solution.accepted_by):
        if not accepted:
            raise NotConverged(f"sample {i} of the batch reached a relative residual of {solution.residual[i]:.1e}")
    return solution


def attempt(
    a: np.ndarray | Tensor,
    f: Source | Interior = 1.0,
    *,
    rtol: float = 1e-10,
    mean: Mean = "arithmetic",
    device: str | torch.device = "cuda",
) -> BatchSolution:
    """As `solve_batch` for coefficients (batch, n, m), but a sample that fails is only marked.

    A source that is an `Interior` is not brought to the device again.

    Raises
    ------
    ValueError
        If `a` is not positive and finite, or another argument is out of range.
    """
    if mean not in MEANS:
        raise ValueError(f"mean must be one of {', '.join(MEANS)}, got {mean!r}")
    if not 0 < rtol < 1:
        raise ValueError(f"rtol must lie between 0 and 1, got {rtol}")
    if mean == "average":
        return _average([attempt(a, f, rtol=rtol, mean=each, device=device) for each in AVERAGED])
    a = torch.as_tensor(a, device=device).contiguous()
    if a.ndim != 3 or min(a.shape[1:]) < 3:
        raise ValueError(f"coefficients a must be a (batch, n, m) array with n, m ≥ 3, got shape {tuple(a.shape)}")
    low, high = a.flatten(1).amin(1).double(), a.flatten(1).amax(1).double()
    if not bool(((low > 0) & (high < torch.inf)).all()):
        raise ValueError("coefficients a must be positive and finite")

    batch, n, m = a.shape
    rhs, norm = f if isinstance(f, Interior) else interior(f, (n, m), a.device)
    cg = _workspace(batch, n, m, mean, a.device)
    cg.a.copy_(a)
    cg.inverse_top.copy_(1 / high)
    scaled = cg.rescale(high / low, rtol)

    u = torch.zeros(a.shape, dtype=torch.float64, device=a.device)
    previous = relative = torch.full_like(high, torch.inf)
    iterations = 0
    for _ in range(SWEEPS):
        size = cg.residual(a, u, rhs)
        before, previous, relative = previous, relative, size / norm
        improving = (relative > rtol) & (relative < 0.5 * before)
        if not bool(improving.any()):
            break
        goal = (0.5 * rtol / relative).clamp(INNER_RTOL, 0.5)
        iterations += cg.iterate(torch.where(improving, goal, torch.inf), scaled)
        cg.correct(u, size)

    allowed = (FLOOR * cg.magnitude(a, u) / norm).clamp_max(FLOOR_RTOL)
    met = zip((relative <= rtol).tolist(), (relative <= allowed).tolist(), strict=True)
    accepted = ["rtol" if first else "floor" if second else "" for first, second in met]
    return BatchSolution(u, relative.cpu().numpy(), accepted, iterations)


def _average(solutions: Sequence[BatchSolution]) -> BatchSolution:
    """The batched form of `data_gen.problems.darcy.solvers.average`; a sample that one of them missed is marked."""
    ways = zip(*(each.accepted_by for each in solutions), strict=True)
    return BatchSolution(
        torch.stack([each.u for each in solutions]).mean(0),
        np.max([each.residual for each in solutions], axis=0),
        ["" if "" in way else "floor" if "floor" in way else "rtol" for way in ways],
        sum(each.iterations for each in solutions),
    )


@lru_cache(maxsize=4)
def _workspace(batch: int, n: int, m: int, mean: Mean, device: torch.device) -> "Workspace":
    return Workspace(batch, n, m, mean, device)


def release() -> None:
    """Let go of the buffers that are kept for the next batch of a size seen before."""
    _workspace.cache_clear()


class Sums(NamedTuple):
    """Partial sums over each sample, (batch, blocks), and what the next kernel reads: them, or (batch, 1) totals."""

    blocks: Tensor
    totals: Tensor


class Workspace:
    """Buffers of a batch on an (n, m) grid, and the kernels that work on them.

    Directions and sums of squares have two buffers each: one of the last iteration, one of the next.
    """

    def __init__(self, batch: int, n: int, m: int, mean: Mean, device: torch.device) -> None:
        def buffer(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(shape, dtype=dtype, device=device)

        self.shape = (n - 2, m - 2)
        interior = (batch, *self.shape)
        blocks = triton.cdiv(self.shape[0] * self.shape[1], BLOCK)
        self.grid = (blocks, batch)
        self.width = max(16, triton.next_power_of_2(blocks))
        self.mean = mean

        self.a, self.inverse_top, self.scale = buffer(batch, n, m), buffer(batch), buffer(*interior)
        self.x, self.r, self.q = (buffer(*interior) for _ in range(3))
        self.p = (buffer(*interior), buffer(*interior))
        self.collected = blocks >= COLLECTED
        self.rz, self.pq, self.qq, *rr = (self._sums(buffer(batch, blocks)) for _ in range(5))
        self.rr = tuple(rr)
        self.rz_last, self.target = buffer(batch), buffer(batch)
        self.sums = buffer(batch, blocks, dtype=torch.float64)
        self.unfinished = buffer(1, dtype=torch.bool)[0]

        symbol = inverse_symbol(n, m)
        self.sine_x, self.sine_y = (_sine_matrix(k, device) for k in (n, m))
        self.pitch = len(self.sine_y)
        padding = (0, self.pitch - (m - 2), 0, len(self.sine_x) - (n - 2))
        self.symbol = pad(torch.as_tensor(HALF_GAIN / symbol.max() * symbol), padding).float().to(device)
        self.half, self.z = (buffer(batch, *self.symbol.shape, dtype=torch.float16) for _ in range(2))
        self.gain = min(HALF_RMS * float(np.sqrt(symbol.size)), HALF_MAX / HALF_GAIN)
        self.steps = {
            scaled: tuple(captured(self._step(scaled, k), device) for k in (0, 1)) for scaled in (False, True)
        }

    def _sums(self, blocks: Tensor) -> "Sums":
        """Room for the sums over each sample, from (batch, blocks) partial ones."""
        return Sums(blocks, torch.zeros_like(blocks[:, :1]) if self.collected else blocks)

    def rescale(self, contrast: Tensor, rtol: float) -> bool:
        """Choose the preconditioner of each sample; says whether any is scaled.

        The batched form of `data_gen.problems.darcy.solvers.estimated_iterations`.
        """
        n, m = self.shape
        kernels.scaling[self.grid](self.a, self.scale, n, m, MEAN=self.mean, BLOCK=BLOCK)
        kernels.energy[self.grid](self.a, self.scale, self.sums, n, m, MEAN=self.mean, BLOCK=BLOCK)
        potential = (self.sums.sum(1) - 2 * ((n + 1) ** 2 * m + (m + 1) ** 2 * n)) / (n * m)
        scaled = 8 + 4 * potential.clamp_min(0).sqrt()
        unscaled = 0.5 * contrast.sqrt() * np.log(2 / rtol)
        some = self.a.flatten(1)[:, :: -(-self.a[0].numel() // 1000)].sort(1).values
        few = (some.diff(dim=1) != 0).sum(1) < 10
        chosen = scaled < torch.where(few, unscaled.clamp_max(100.0), unscaled)
        if not bool(chosen.any()):
            return False
        self.scale /= self.scale.square().mean((1, 2), keepdim=True).sqrt()
        self.scale[~chosen] = 1
        return True

    def residual(self, a: Tensor, u: Tensor, rhs: Tensor) -> Tensor:
        """Put (f - Au)/‖f - Au‖ into `r`, in float32; returns the norms, in float64."""
        n, m = self.shape
        kernels.residual[self.grid](a, u, rhs, self.r, self.sums, n, m, MEAN=self.mean, BLOCK=BLOCK)
        size = self.sums.sum(1).sqrt()
        self.r *= (1 / size.clamp_min(1e-300)).clamp_max(3e38).float()[:, None, None]
        return size

    def magnitude(self, a: Tensor, u: Tensor) -> Tensor:
        """‖|A||u|‖."""
        n, m = self.shape
        kernels.magnitude[self.grid](a, u, self.sums, n, m, MEAN=self.mean, BLOCK=BLOCK)
        return self.sums.sum(1).sqrt()

    def iterate(self, rtol: Tensor, scaled: bool) -> int:
        """Conjugate gradients for A x = r until every sample is at its `rtol`; returns the iterations.

        A sample that is there moves no more, so that it does not depend on the rest of the batch.
        """
        self.target.copy_(rtol.square())
        self.x.zero_()
        self.p[0].zero_()
        self.rz_last.fill_(torch.inf)
        self.rr[0].totals.zero_()
        self.rr[0].totals[:, 0] = 1
        n, m = self.shape
        scale = self.scale if scaled else torch.ones((), device=self.r.device)
        self.half.zero_()
        self.half[:, :n, :m] = self.gain * self.r * scale
        for iteration in range(INNER_ITERATIONS):
            self.steps[scaled][iteration % 2]()
            if not bool(self.unfinished):
                break
        return iteration + 1

    def _step(self, scaled: bool, parity: int) -> Callable[[], None]:
        """One iteration, from the buffers numbered `parity` to the others."""
        (n, m), grid = self.shape, self.grid
        p, p_next, rr, rr_next = self.p[parity], self.p[1 - parity], self.rr[parity], self.rr[1 - parity]
        batch, rows, pitch = self.half.shape
        sine_x = self.sine_x.expand(batch, rows, rows)
        half, z = self.half, self.z
        parts = {"BLOCKS": grid[0], "WIDTH": self.width}
        totals = {"BLOCKS": 1, "WIDTH": 16} if self.collected else parts
        common: dict[str, Any] = {**totals, "SCALED": scaled, "BLOCK": BLOCK}

        def collect(sums: Sums) -> None:
            if self.collected:
                kernels.collect[(batch,)](sums.blocks, sums.totals, **parts)

        def step() -> None:
            torch.mm(half.view(-1, pitch), self.sine_y, out=z.view(-1, pitch))
            torch.bmm(sine_x, z, out=half)
            kernels.multiply[(triton.cdiv(rows * pitch, BLOCK), batch)](half, self.symbol, rows * pitch, BLOCK=BLOCK)
            torch.bmm(sine_x, half, out=z)
            torch.mm(z.view(-1, pitch), self.sine_y, out=half.view(-1, pitch))
            kernels.dot[grid](self.r, half, self.scale, self.rz.blocks, n, m, rows, pitch, SCALED=scaled, BLOCK=BLOCK)
            collect(self.rz)
            kernels.search[grid](
                self.a, self.inverse_top, half, self.scale, p, self.rz.totals, self.rz_last, p_next, self.q,
                self.pq.blocks, self.qq.blocks, n, m, rows, pitch, MEAN=self.mean, **common,
            )  # fmt: skip
            collect(self.pq)
            collect(self.qq)
            kernels.advance[grid](
                self.x, self.r, p_next, self.q, self.scale, half, self.rz.totals, self.pq.totals, self.qq.totals,
                rr.totals, rr_next.blocks, self.rz_last, self.target, n, m, rows, pitch, self.gain, HALF_NORM, **common,
            )  # fmt: skip
            collect(rr_next)
            torch.any(rr_next.totals.sum(1) > self.target, dim=0, out=self.unfinished)

        return step

    def correct(self, u: Tensor, size: Tensor) -> None:
        """Add what `iterate` found to the interior of `u`."""
        u[:, 1:-1, 1:-1] += self.x * (size * self.inverse_top)[:, None, None]


def _sine_matrix(n: int, device: torch.device) -> Tensor:
    """The orthogonal DST-I of n - 2 points, padded with zeros to a multiple of 8, in float16."""
    k = torch.arange(1, n - 1, dtype=torch.float64)
    sine = np.sqrt(2 / (n - 1)) * torch.sin(torch.pi / (n - 1) * torch.outer(k, k))
    return pad(sine, (0, -(n - 2) % 8) * 2).to(device, torch.float16)
