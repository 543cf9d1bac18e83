"""The scheme for many samples at once, on a GPU or whatever torch computes on.

Every sample has steps of its own: W = h w for a step h, and time in units of h, turn the equation into

    W_τ = -V·∇W + ν h ΔW + h² f,

so that all take a step of 1, and h appears in the decay of each sample and in its forcing alone. A step is sixteen
batched transforms and about forty passes over the fields, launched as one CUDA graph. Nothing of it waits for the CPU,
which reads the velocities at the beginning of each interval, to choose steps, and the solutions at its end.

A sample that has done its steps goes on until the last one has, but what it was by then is kept. No operation mixes
samples: where the batch is of one size, a sample does not depend on its company.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from threading import Lock

import numpy as np
import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from data_gen.graphs import captured
from data_gen.problems.navier_stokes.doubling import Counts, Frames
from data_gen.problems.navier_stokes.fourier import Shape, resolved
from data_gen.problems.navier_stokes.scheme import Scheme, Steps, intervals

POINTS_PER_BATCH = 2**21
"""A field of so many is 17 MB in float64: enough to keep a GPU busy, and one or two fit into its cache."""

DEVICE_LOCK = Lock()
"""One batch at a time: a GPU is shared by the threads of a process."""


def batch_size(shape: Shape) -> int:
    """How many samples are solved at once."""
    return max(1, POINTS_PER_BATCH // (shape[0] * shape[1]))


def march(
    scheme: Scheme,
    w: Complex[np.ndarray, "batch finer half"],
    times: Sequence[float | int],
    shape: Shape,
    steps: Steps,
    device: str,
) -> tuple[Frames, Counts]:
    """Solve for a batch; see `data_gen.problems.navier_stokes.scheme.advance`.

    Parameters
    ----------
    scheme : Scheme
    w : (batch, n, m//2 + 1) array
        Coefficients at t = 0, see `Scheme.start`.
    times : sequence of float
        When solutions are asked for.
    shape : (k, l)
        The grid that they are asked for on, no finer than that of the scheme.
    steps : callable
        How many an interval shall have; a sample that is given 0 is NaN from there on.
    device : str
        Where torch shall compute.

    Returns
    -------
    (batch, times, k, l) array, (batch, intervals) array
        Solutions in float64, and steps.
    """
    with DEVICE_LOCK:
        batch = _batch(scheme, len(w), torch.device(device))
        batch.w.copy_(torch.from_numpy(w[..., : batch.kept]))
        frames, taken = [], []
        for counts, asked in batch.through(times, steps):
            taken.append(counts)
            if asked:
                frames.append(batch.evaluated(shape).double().cpu().numpy())
        return np.stack(frames, 1), np.stack(taken, 1)


def trajectories(
    scheme: Scheme, w: Float[Tensor, "batch n m"], times: Sequence[float | int], steps: Steps
) -> Float[Tensor, "batch times n m"]:
    """Solve for vorticities that lie on a device, and leave the solutions there, in float64; see `march`."""
    with DEVICE_LOCK:
        batch = _batch(scheme, len(w), w.device)
        batch.begin(w)
        frames = [batch.evaluated(scheme.shape).double() for _, asked in batch.through(times, steps) if asked]
        return torch.stack(frames, 1)


@lru_cache(maxsize=2)
def _batch(scheme: Scheme, size: int, device: torch.device) -> "Batch":
    return Batch(scheme, size, device)


class Batch:
    """Samples of one scheme that march together: what they are now, and buffers to work in.

    Attributes
    ----------
    w : (batch, n, L + 1) tensor
        Coefficients of the vorticity, as far as the scheme keeps them along y; during `advance` they are in `scaled`,
        times the step of each sample.
    """

    def __init__(self, scheme: Scheme, size: int, device: torch.device) -> None:
        n, m = scheme.shape
        kept = scheme.largest[1] + 1

        def constant(values: np.ndarray) -> Tensor:  # complex, as what it is multiplied with: no type is converted
            return torch.from_numpy(values[..., :kept].astype(scheme.dtype)).to(device)

        def buffer() -> Tensor:
            return torch.zeros(size, n, kept, dtype=self.to_velocity.dtype, device=device)

        self.scheme, self.shape, self.kept = scheme, scheme.shape, kept
        self.to_velocity = constant(scheme.to_velocity)[:, None]
        self.to_advection = constant(scheme.to_advection / (n * m))  # transforms are not normalised
        self.diffusion = torch.from_numpy(scheme.diffusion[:, :kept]).to(device)
        self.w, self.scaled, self.half, self.stage, self.total, self.decay = (buffer() for _ in range(6))
        self.spectra = torch.zeros(2, size, n, m // 2 + 1, dtype=self.w.dtype, device=device)
        self.products = torch.zeros(2, size, n, m, dtype=self.diffusion.dtype, device=device)
        self.force = torch.zeros(size, dtype=self.w.dtype, device=device)
        self.step = captured(self._step, device)

    def begin(self, w: Float[Tensor, "batch n m"]) -> None:
        """Take vorticities at the points of the grid as where to begin."""
        kept = torch.from_numpy(self.scheme.kept[:, : self.kept]).to(w.device)
        self.w.copy_(torch.fft.rfft2(w.double(), norm="forward")[..., : self.kept] * kept)

    def through(self, times: Sequence[float | int], steps: Steps) -> Iterator[tuple[np.ndarray, bool]]:
        """Take the samples through `intervals(times)`; yields their steps in each, and whether it ends at a time."""
        for i, (length, asked) in enumerate(intervals(times)):
            counts = steps(i, self.rates(), length)
            self.advance(length, counts)
            yield counts, asked

    def advance(self, length: float, counts: Int[np.ndarray, " batch"]) -> None:
        """Take each sample through an interval of so many steps; 0 makes it NaN."""
        h = torch.from_numpy(length / np.maximum(counts, 1)).to(self.diffusion)[:, None, None]
        self.decay.copy_(torch.exp(self.diffusion * (-h / 2)))
        self.force.copy_((h**2)[:, 0, 0] * self.scheme.force)
        torch.mul(self.w, h, out=self.scaled)
        self.w[torch.from_numpy(counts == 0)] = torch.nan
        for done in range(1, counts.max() + 1):
            self.step()
            finished = torch.from_numpy(np.flatnonzero(counts == done)).to(h.device)
            if len(finished):
                self.w[finished] = self.scaled[finished] / h[finished]

    def rates(self) -> Float[np.ndarray, "batch 2"]:
        """`Scheme.rates` of each sample."""
        K, L = self.scheme.largest
        u, v = self._velocity(self.w).abs_()
        passing = 2 * np.pi * (K * u).add_(v, alpha=L).amax((1, 2))
        return torch.stack([passing, self.evaluated(self.shape).abs_().amax((1, 2))], 1).double().cpu().numpy()

    def evaluated(self, shape: Shape) -> Float[Tensor, "batch k l"]:
        """The samples on a grid of this shape, truncated to what it resolves."""
        K, L = np.minimum(resolved(shape), self.scheme.largest)
        k = torch.arange(-K, K + 1, device=self.w.device)
        c = self.w.new_zeros(len(self.w), shape[0], shape[1] // 2 + 1)
        c[:, k, : L + 1] = self.w[:, k, : L + 1]
        return torch.fft.irfft2(c, s=shape, norm="forward")

    def _velocity(self, w: Tensor) -> Tensor:
        torch.mul(self.to_velocity, w, out=self.spectra[..., : self.kept])
        return torch.fft.irfft2(self.spectra, s=self.shape, norm="forward")

    def _stress(self, w: Tensor) -> Tensor:
        """The transforms of uv and v² - u²."""
        u, v = self._velocity(w)
        product, difference = self.products
        torch.mul(u, v, out=product)
        torch.mul(v, v, out=difference).addcmul_(u, u, value=-1)
        return torch.fft.rfft2(self.products)[..., : self.kept]

    def _add_tendency(self, w: Tensor, weight: float, stress: Tensor, out: Tensor) -> None:
        """Put w + weight (-v·∇w + f) into `out`, for the velocity that the stress is of."""
        torch.addcmul(w, self.to_advection[0], stress[0], value=weight, out=out)
        out.addcmul_(self.to_advection[1], stress[1], value=weight)
        out[:, 1, 1].add_(self.force, alpha=weight)

    def _step(self) -> None:
        """One step of length 1 for `scaled`, in the order of `Scheme.step`.

        With k₁ … k₄ the tendencies at w and at the three stages w₂ = E(w + k₁/2), w₃ = Ew + k₂/2, w₄ = E(Ew + k₃), the
        step ends at [E(w₂ + 2w₃ - Ew) + w₄]/3 + k₄/6.
        """
        w, half, stage, total, decay = self.scaled, self.half, self.stage, self.total, self.decay
        self._add_tendency(w, 0.5, self._stress(w), out=total)
        torch.mul(decay, w, out=half)
        total *= decay
        stress = self._stress(total)
        self._add_tendency(half, 0.5, stress, out=stage)
        total.sub_(half).add_(stage, alpha=2)
        self._add_tendency(half, 1.0, self._stress(stage), out=stage)
        stage *= decay
        torch.addcmul(stage, decay, total, out=w)
        self._add_tendency(w, 0.5, self._stress(stage), out=w)
        w *= 1 / 3
