"""Transient Darcy flow: the pressure u of a fluid at rest in a medium of permeability a, once a source is turned on.

u_t = ∇·(a ∇u) + f   in (0, 1)²,      u = 0   on the boundary and at t = 0.

With the matrix A of `data_gen.problems.darcy.scheme` this is u' = -A u + f, whose Laplace transform is inverted along
a cotangent contour around the spectrum (Talbot 1979; Trefethen, Weideman & Schmelzer 2006): from one time to the next,

    u(t + τ) = 2/N Im Σₖ exp(ζₖ) ζ'ₖ (ζₖ + τA)⁻¹ (u(t) + f τ/ζₖ),      ζ(θ) = N (-s + μ θ cot αθ + iνθ),

summed over the N/2 midpoints 0 < θₖ < π. Its error falls as 3.9⁻ᴺ, whatever τ and A. What is left is that of space, and
the steady state is the solution of Darcy flow.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spla
from jaxtyping import Float

from data_gen.grid import Grid
from data_gen.problem import Inputs, NotConverged, Problem, Solution, Symmetry
from data_gen.problems.darcy import Darcy
from data_gen.problems.darcy.scheme import FACE_MEANS, Mean, matrix
from data_gen.storage.schema import COEFFICIENT, SOLUTION

NODES = 20
"""N, whose error is about 2e-11; a sum over four nodes fewer says how large it is at most."""

S, MU, ALPHA, NU = 0.6122, 0.5017, 0.6407, 0.2645


@dataclass(frozen=True)
class TransientDarcy(Problem):
    """Darcy flow from rest, by conservative finite differences in space and contour integrals in time.

    Parameters
    ----------
    law, law_args, source, mean
        As of Darcy flow; `source` is a number, and `mean` one of coefficients (ValueError for another).
    times : tuple of float
        When solutions are asked for. Where a is 12 and 3, the flow is steady to 1 % at t = .04.
    """

    name, equation = "transient-darcy", "u_t = div(a grad u) + f, u = 0 at t = 0 and on the boundary"
    inputs, outputs, rtol = COEFFICIENT, SOLUTION, 1e-7

    law: str = "piecewise"
    law_args: dict[str, Any] = field(default_factory=dict)
    source: float = 1.0
    mean: Mean = "arithmetic"
    times: tuple[float, ...] = tuple(0.0025 * k for k in range(1, 9))

    def __post_init__(self) -> None:
        if self.mean not in FACE_MEANS:
            raise ValueError(f"mean must be one of {', '.join(FACE_MEANS)}, got {self.mean!r}")
        object.__setattr__(self, "law_args", self.steady.parameters()["law_args"])
        object.__setattr__(self, "scheme", self.mean)
        object.__setattr__(self, "order", self.steady.order)

    @cached_property
    def steady(self) -> Darcy:
        """The flow that this one tends to."""
        return Darcy(self.law, self.law_args, self.source, self.mean)

    def fits(self, grid: Grid, samples: int) -> None:
        """Refuse what Darcy flow refuses."""
        self.steady.fits(grid, samples)

    def draw(self, grid: Grid, rng: np.random.Generator, index: int) -> Inputs:
        """Draw the coefficient of sample `index`, that of Darcy flow."""
        return self.steady.draw(grid, rng, index)

    def solve(self, a: Inputs, grid: Grid, *, rtol: float | None = None) -> Solution:
        """Solve for one coefficient; NotConverged where two contours disagree by more than the tolerance."""
        A, rtol = matrix(a[0], self.mean), self.rtol if rtol is None else rtol
        rougher, u = (advanced(A, self.source, self.times, nodes) for nodes in (NODES - 4, NODES))
        error = float((np.linalg.norm(u - rougher, axis=1) / np.linalg.norm(u, axis=1)).max())
        if not error <= rtol:
            raise NotConverged(f"two contours are {error:.1e} apart, not {rtol:g}")
        inner = u.reshape(-1, 1, *(n - 2 for n in grid.shape))
        return Solution(np.pad(inner, [(0, 0), (0, 0), (1, 1), (1, 1)]), error, "step", "contour")

    def rivals(self) -> tuple[Problem, ...]:
        """Finite differences with each mean."""
        return tuple(replace(self, mean=mean) for mean in FACE_MEANS)

    def symmetries(self, grid: Grid) -> Sequence[Symmetry]:
        """Those of Darcy flow."""
        return self.steady.symmetries(grid)

    def drawn_by(self) -> dict[str, Any]:
        """The law of the coefficient."""
        return self.steady.drawn_by()

    def code(self) -> dict[str, str]:
        """The law, where it is the user's own."""
        return self.steady.code()


def advanced(A: sp.dia_array, f: float, times: Sequence[float], nodes: int) -> Float[np.ndarray, "times points"]:
    """Solutions of u' = -A u + f, u(0) = 0, by sums over `nodes` of the contour."""
    theta = (2 * np.arange(nodes // 2) + 1) * np.pi / nodes
    cot, sin = 1 / np.tan(ALPHA * theta), np.sin(ALPHA * theta)
    zeta = nodes * (-S + MU * theta * cot + 1j * NU * theta)
    weights = 2 * np.exp(zeta) * (MU * (cot - ALPHA * theta / sin**2) + 1j * NU)
    eye, options = sp.eye_array(A.shape[0], dtype=complex, format="csc"), {"SymmetricMode": True}
    factors: dict[float, list[Any]] = {}
    states = [np.zeros(A.shape[0])]
    for tau in (float(f"{later - earlier:.12g}") for earlier, later in pairwise((0.0, *times))):
        if tau not in factors:
            factors[tau] = [spla.splu(eye * z + tau * A.tocsc(), "MMD_AT_PLUS_A", 0.01, options=options) for z in zeta]
        parts = (w * lu.solve(states[-1] + f * tau / z) for w, lu, z in zip(weights, factors[tau], zeta, strict=True))
        states.append(sum(parts).imag)
    return np.stack(states[1:])
