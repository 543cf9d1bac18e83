"""Darcy flow: the pressure u of a fluid in a medium of permeability a.

-∇·(a ∇u) = f   in (0, 1)²,      u = 0   on the boundary.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from threading import Lock
from typing import Any, Literal, cast

import numpy as np
from jaxtyping import Float

from data_gen.grid import Grid
from data_gen.laws import LAWS, Law, build_law, law_description, law_parameters
from data_gen.laws.stored import Stored
from data_gen.problem import Inputs, Problem, Solution, Symmetry, Trajectory, samples_at_once
from data_gen.problems.darcy.scheme import (
    AVERAGED,
    MEANS,
    Mean,
    check_coefficient,
    interior_source,
    magnitude,
    outflow,
    relative_residual,
    residual,
)
from data_gen.problems.darcy.solvers import METHODS, solve_verified
from data_gen.storage.schema import BOUNDARY, COEFFICIENT, EQUATION, SOLUTION, UNKNOWN

ROUNDING = 2.0**-24
NEGATIVE = 1e-6
ORDERS = {"piecewise": 1.0, "inclusions": 1.0, "channels": 1.0, "lognormal": 2.0}
"""One where the coefficient jumps, two where it is smooth; unknown for a law of one's own."""

DEVICE_LOCK = Lock()
"""One batch at a time: a GPU is shared by the threads of a process."""


@dataclass(frozen=True)
class Darcy(Problem):
    """Darcy flow with a random coefficient, by conservative five-point finite differences.

    Parameters
    ----------
    law, law_args : str, dict
        Law of the coefficient and its arguments, see `data_gen.laws.build_law`; "unknown" where it is not drawn.
    source : float, (n, m) array or None
        Source f; an array on another grid of vertices is brought to that of a solve by cubic splines. None where it is
        not known: then nothing can be solved.
    mean : {"arithmetic", "harmonic", "geometric", "average", "auto"}
        Mean that makes the face values of `a`, or "average" for that of the arithmetic and the harmonic solution, see
        `data_gen.problems.darcy.scheme`; "auto" becomes the one that the law names, arithmetic where it names none.
    method : {"auto", "direct", "cg"}
        Solver, see `data_gen.problems.darcy.solvers`.

    Raises
    ------
    ValueError
        If a value is out of range, or names what there is not.
    """

    name = "darcy"
    equation = EQUATION
    inputs = COEFFICIENT
    outputs = SOLUTION

    law: str = "piecewise"
    law_args: dict[str, Any] = field(default_factory=dict)
    source: float | np.ndarray | None = 1.0
    mean: Mean | Literal["auto"] = "arithmetic"
    method: str = "auto"

    def __post_init__(self) -> None:
        if self.mean == "auto":
            suitable = "arithmetic" if self.law == UNKNOWN else getattr(self._law, "face_mean", "arithmetic")
            object.__setattr__(self, "mean", suitable)
        if self.mean not in MEANS:
            raise ValueError(f"mean must be one of {', '.join(MEANS)}, auto, got {self.mean!r}")
        if self.method not in ("auto", *METHODS):
            raise ValueError(f"method must be one of auto, {', '.join(METHODS)}, got {self.method!r}")
        if self.source is not None and not np.isfinite(self.source).all():
            raise ValueError("source f must be finite, got NaN or infinite values")
        if isinstance(self.source, np.ndarray) and self.source.ndim != 2:
            raise ValueError(f"source f must be a number or an array (n, m), got shape {self.source.shape}")
        object.__setattr__(self, "order", ORDERS.get(self.law))

    @property
    def scheme(self) -> Mean:  # type: ignore[override]  # what is a constant of other problems
        """The mean on the faces."""
        return cast(Mean, self.mean)

    @cached_property
    def _law(self) -> Law | Stored:
        return build_law(self.law, self.law_args)

    def fits(self, grid: Grid, samples: int) -> None:
        """Refuse a grid that is too small, and what a file of coefficients does not hold.

        Raises
        ------
        ValueError
            If it is so.
        """
        if min(grid.shape) < 3:
            raise ValueError(f"resolution must be at least 3, got {grid}")
        _ = self._law
        if isinstance(self.source, np.ndarray) and self.source.shape != grid.shape:
            raise ValueError(f"source f must be a number or an array of shape {grid.shape}, got {self.source.shape}")
        inner = self.source[1:-1, 1:-1] if isinstance(self.source, np.ndarray) else np.asarray(self.source)
        if self.source is not None and not inner.any():
            raise ValueError(
                "source f is zero at every interior vertex, and so is the solution: nothing is relative to 0"
            )
        if not isinstance(self._law, Stored):
            return
        count, *shape = self._law.values.shape
        if tuple(shape) != grid.shape:
            there = "×".join(map(str, shape))
            raise ValueError(f"law {self.law!r} holds coefficients on {there} vertices, resolution asks for {grid}")
        if samples > count:
            raise ValueError(f"law {self.law!r} holds {count} coefficients, {samples} samples are asked for")

    def draw(self, grid: Grid, rng: np.random.Generator, index: int) -> Inputs:
        """Draw the coefficient of sample `index`.

        Raises
        ------
        ValueError
            If the law is unknown, fails, or gives an array of another shape.
        """
        if self.law == UNKNOWN:
            raise ValueError("the law of the coefficient is unknown: it cannot be drawn")
        try:
            n, m = grid.shape
            a = self._law[index] if isinstance(self._law, Stored) else np.asarray(self._law((n, m), rng))
        except ValueError:
            raise
        except Exception as error:  # of a law of the user's own
            raise ValueError(f"law {self.law!r}: {type(error).__name__}: {error}") from error
        if a.shape != grid.shape:
            raise ValueError(f"law {self.law!r} must give an array of shape {grid.shape}, got shape {a.shape}")
        check_coefficient(a)
        return a[None]

    def source_on(self, grid: Grid) -> float | np.ndarray:
        """The source on a grid of vertices: every s-th value of an array, or cubic splines through them.

        Raises
        ------
        ValueError
            If it is not known.
        """
        if self.source is None:
            raise ValueError("the source is unknown: nothing can be solved")
        if not isinstance(self.source, np.ndarray) or self.source.shape == grid.shape:
            return self.source
        given = Grid(self.source.shape)
        try:
            coarse, stride = given.coarsened(grid.shape[0])
        except ValueError:
            coarse, stride = given, 1
        if coarse.shape == grid.shape:
            return self.source[::stride, ::stride]
        from scipy.interpolate import RectBivariateSpline  # takes longer to import than the rest of this package

        (x, y), (new_x, new_y) = given.axes(), grid.axes()
        return np.asarray(RectBivariateSpline(x, y, self.source)(new_x, new_y))

    def solve(self, a: Inputs, grid: Grid, *, rtol: float | None = None) -> Solution:
        """Solve for one coefficient, on the CPU.

        Raises
        ------
        ValueError, NotConverged
            As `data_gen.problems.darcy.solvers.solve`.
        """
        found = solve_verified(
            a[0], self.source_on(grid), method=self.method, rtol=self.rtol if rtol is None else rtol, mean=self.scheme
        )
        return Solution(found.u[None, None], found.residual, found.accepted_by, found.method)

    def solve_batch(
        self, a: Float[np.ndarray, "batch 1 n m"], grid: Grid, *, rtol: float | None = None, device: str = "cpu"
    ) -> list[Solution | None]:
        """Solve for several coefficients, on a GPU in batches of one size, the last one filled up with ones.

        Matrix products of other sizes may be summed in another order, and a sample must not depend on its company.

        Raises
        ------
        ValueError
            If `method` is "direct", which no GPU does, or there is no such device.
        """
        if device == "cpu":
            return super().solve_batch(a, grid, rtol=rtol)
        from data_gen.problems.darcy import gpu

        if self.method == "direct":
            raise ValueError(f"method must be auto or cg on device {device!r}, got 'direct'")
        solutions: list[Solution | None] = [None] * len(a)
        size = samples_at_once(grid)
        for start in range(0, len(a), size):
            batch = np.ones((size, *grid.shape), np.float32)
            count = len(a[start : start + size])
            batch[:count] = a[start : start + size, 0]
            with DEVICE_LOCK:
                found = gpu.attempt(
                    batch,
                    self.source_on(grid),
                    rtol=self.rtol if rtol is None else rtol,
                    mean=self.scheme,
                    device=device,
                )
                u = found.u[:count].cpu().numpy()
            for k in range(count):
                if found.accepted_by[k]:
                    solutions[start + k] = Solution(
                        u[k][None, None], float(found.residual[k]), found.accepted_by[k], "cg-gpu"
                    )
        return solutions

    def on_device(self, grid: Grid, *, rtol: float | None = None, device: str = "cpu") -> Callable[[Any], Any] | None:
        """What solves for coefficients that lie on a device: on a GPU a batch at once, of any size.

        The buffers that solvers of other sizes have left there are let go. `method` "direct" is none of a GPU.
        """
        if device == "cpu":
            return super().on_device(grid, rtol=rtol)
        if self.method == "direct":
            return None
        from data_gen.problems.darcy import gpu

        gpu.release()
        source = gpu.interior(self.source_on(grid), (grid.shape[0], grid.shape[1]), device)

        def solve(a: Any) -> Any:
            with DEVICE_LOCK:
                found = gpu.attempt(
                    a[:, 0], source, rtol=self.rtol if rtol is None else rtol, mean=self.scheme, device=device
                )
            for k, way in enumerate(found.accepted_by):
                if not way:
                    found.u[k] = np.nan
            return found.u[:, None]

        return solve

    def rivals(self) -> tuple[Problem, ...]:
        """Finite differences with each mean, where the source is known, and those that refine what they see.

        The latter have the mean that the law names, the geometric one where none is named.
        """
        if self.source is None:
            return ()
        from data_gen.problems.darcy.refined import Refined

        suitable: Mean = "geometric" if self.law == UNKNOWN else getattr(self._law, "face_mean", "geometric")
        return *(replace(self, mean=mean) for mean in MEANS), Refined(replace(self, mean=suitable))

    def bracket(self) -> tuple[Problem, ...]:
        """Finite differences with arithmetic and with harmonic means, whose errors at jumps have opposite signs."""
        return () if self.source is None else tuple(replace(self, mean=mean) for mean in AVERAGED)

    def residual(self, a: Inputs, u: Trajectory, grid: Grid) -> float | None:
        """‖f - Au‖ / ‖f‖ of the scheme on this grid.

        None where the source is not known, off the vertices, and where `u` averages solutions, which solves no scheme.
        """
        if self.source is None or grid.kind != self.kind or self.scheme == "average":
            return None
        return float(relative_residual(a[0], u[-1, 0], self.source_on(grid), self.scheme))

    def check(self, a: Inputs, u: Trajectory, grid: Grid, evidence: float, rtol: float) -> Iterator[str]:
        """The residual, the boundary, the balance of fluxes and the maximum principle, see `data_gen.verification`.

        Of averaged solutions, that solving again gives them. Nothing is checked where the source is not known.
        """
        if self.source is None or grid.kind != self.kind:
            return
        if self.scheme == "average":
            yield from super().check(a, u, grid, evidence, rtol)
            return
        a, u, f = a[0], u[-1, 0], interior_source(self.source_on(grid), (grid.shape[0], grid.shape[1]))
        rtol = float(np.fmax(rtol, evidence))
        norm = np.linalg.norm(f)
        r = np.linalg.norm(residual(a, u, self.source_on(grid), self.scheme))
        allowed = ROUNDING * np.linalg.norm(magnitude(a, u, self.scheme))
        if not r <= rtol * norm + allowed:
            yield f"the residual is {r / (norm or 1):.1e}, and rounding explains {allowed / (norm or 1):.1e} of it"
        edge = np.abs(np.concatenate([u[0], u[-1], u[:, 0], u[:, -1]])).max()
        if edge > 0:
            yield f"the solution is not zero on the boundary, but up to {edge:.1e}"
        out, total = outflow(a, u, self.scheme)
        if not abs(out - f.sum()) <= rtol * np.sqrt(f.size) * norm + ROUNDING * total:
            yield f"the flux is out of balance: {out:.9g} leaves, {f.sum():.9g} enters"
        sign = 1 if f.min() >= 0 else -1 if f.max() <= 0 else 0
        if sign and (sign * u).min() < -NEGATIVE * np.abs(u).max():
            relation = "≥" if sign > 0 else "≤"
            yield f"the maximum principle is violated: f {relation} 0, and u reaches {sign * (sign * u).min():.2e}"

    def symmetries(self, grid: Grid) -> Sequence[Symmetry]:
        """Those of the square, or of the rectangle, that leave the grid and the source as they are.

        Of a left grid, which reflections shift by a cell, that is the transposition alone.
        """
        turned = (False, True) if grid.shape[0] == grid.shape[1] and len(set(grid.sides)) == 1 else (False,)
        flipped = (False, True) if grid.kind == "vertices" else (False,)
        source = np.broadcast_to(self.source_on(grid) if self.source is not None else 0.0, grid.shape)
        maps = [
            Symmetry((1, 0) if turn else (0, 1), (first, second))
            for second in flipped
            for first in flipped
            for turn in turned
        ]
        return [each for each in maps if np.allclose(each.apply(source), source, rtol=1e-12, atol=0)]

    def drawn_by(self) -> dict[str, Any]:
        """The law of the coefficient; neither the source nor how it is solved."""
        return {name: self.parameters()[name] for name in ("law", "law_args")}

    def code(self) -> dict[str, str]:
        """The law, where it is the user's own."""
        return {} if self.law in (*LAWS, UNKNOWN) or self.law.endswith(".npy") else {"law": self.law}

    def parameters(self) -> dict[str, Any]:
        """As JSON, all arguments of the law with them."""
        arguments = {} if self.law == UNKNOWN else law_parameters(self.law, self.law_args)
        return super().parameters() | {"law_args": arguments}

    def attributes(self) -> dict[str, Any]:
        """What PDEBench's layout has names for, and what describes the law."""
        constant = not isinstance(self.source, np.ndarray)
        return {
            "source": UNKNOWN if self.source is None else "constant" if constant else "array",
            **({"beta": float(self.source)} if constant and self.source is not None else {}),
            "boundary_condition": BOUNDARY,
            "coefficient": "physical",
            "law": self.law,
            "law_parameters": json.dumps(self.parameters()["law_args"]),
            "law_description": law_description(self.law),
            "face_mean": self.scheme,
        }
