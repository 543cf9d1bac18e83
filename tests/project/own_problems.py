"""Two problems as a user would write them: one with two inputs, and one in time."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import spsolve

from data_gen import Field, GaussianRandomField, Problem, Solution, Symmetry


@dataclass(frozen=True)
class Reaction(Problem):
    """-Δu + c u = f on the unit square, u = 0 on its boundary, by five-point finite differences."""

    name = "reaction"
    equation = "-Δu + c u = f"
    inputs = (Field("reaction", "c", positive=True), Field("source", "f"))
    outputs = (Field("solution", "u"),)
    order = 2.0

    strength: float = 10.0

    def draw(self, grid, rng, index):
        field = GaussianRandomField(3.0, 3.0)
        c, f = field.sample(grid.shape, rng), field.sample(grid.shape, rng)
        return np.stack([self.strength * np.exp(20 * c), 1 + 100 * f])

    def matrix(self, c, grid):
        lines = [sp.diags([2.0, -1, -1], [0, 1, -1], shape=(n - 2, n - 2)) * (n - 1) ** 2 for n in grid.shape]
        return (sp.kronsum(lines[1], lines[0]) + sp.diags(c[1:-1, 1:-1].ravel())).tocsc()

    def solve(self, a, grid, *, rtol=None):
        u = np.zeros(grid.shape)
        u[1:-1, 1:-1] = spsolve(self.matrix(a[0], grid), a[1, 1:-1, 1:-1].ravel()).reshape(u[1:-1, 1:-1].shape)
        return Solution(u[None, None], self.residual(a, u[None, None], grid), "rtol", "direct")

    def residual(self, a, u, grid):
        f = a[1, 1:-1, 1:-1].ravel()
        return float(np.linalg.norm(f - self.matrix(a[0], grid) @ u[-1, 0, 1:-1, 1:-1].ravel()) / np.linalg.norm(f))

    def symmetries(self, grid):
        flips = [(i, j) for i in (False, True) for j in (False, True)]
        turns = [(0, 1), (1, 0)] if grid.shape[0] == grid.shape[1] else [(0, 1)]
        return [Symmetry(axes, flip) for axes in turns for flip in flips]


@dataclass(frozen=True)
class Heat(Problem):
    """u_t = κ Δu on the periodic unit square, exactly, in Fourier space."""

    name = "heat"
    inputs = outputs = (Field("temperature", "u"),)
    kind = "periodic"
    times = (0.1, 0.2, 0.3)

    diffusivity: float = 0.05

    def draw(self, grid, rng, index):
        x, y = grid.mesh()
        u = np.full(grid.shape, rng.standard_normal())
        for k, m in np.ndindex(3, 3):
            phase = 2 * np.pi * (k * x + m * y)
            u += rng.standard_normal() * np.cos(phase) + rng.standard_normal() * np.sin(phase)
        return u[None]

    def solve(self, a, grid, *, rtol=None):
        k = [np.fft.fftfreq(n, 1 / n) for n in grid.shape]
        rate = self.diffusivity * 4 * np.pi**2 * (k[0][:, None] ** 2 + k[1] ** 2)
        start = np.fft.fft2(a[0])
        u = np.stack([np.fft.ifft2(start * np.exp(-rate * t)).real for t in self.times])
        return Solution(u[:, None], 0.0, "rtol", "exact")


@dataclass(frozen=True)
class Heated(Problem):
    """u_t = κ Δu + f on the periodic unit square, u = 0 at t = 0, exactly, in Fourier space."""

    name = "heated"
    inputs, outputs = (Field("source", "f"),), (Field("temperature", "u"),)
    kind = "periodic"
    times = (0.5, 1.0, 1.5, 2.0)

    diffusivity: float = 0.05

    draw = Heat.draw

    def solve(self, a, grid, *, rtol=None):
        k = [np.fft.fftfreq(n, 1 / n) for n in grid.shape]
        rate = self.diffusivity * 4 * np.pi**2 * (k[0][:, None] ** 2 + k[1] ** 2)
        grown = [np.where(rate > 0, -np.expm1(-rate * t) / np.where(rate > 0, rate, 1), t) for t in self.times]
        u = np.stack([np.fft.ifft2(np.fft.fft2(a[0]) * each).real for each in grown])
        return Solution(u[:, None], 0.0, "rtol", "exact")

    def symmetries(self, grid):
        return [Symmetry((0, 1), (False, False), inputs=(sign,), outputs=(sign,)) for sign in (1, -1)]
