"""Solvers of the five-point scheme A u = f; each accepts only what its residual proves.

- ``direct``: sparse LU with a symmetric ordering, and iterative refinement.
- ``cg``: conjugate gradients preconditioned by the constant-coefficient Laplacian L, which sine
  transforms diagonalise ("fast diagonalisation"), either as it is or as S L S, S² = diag A / diag L
  (Concus & Golub 1973).
- ``auto``: ``cg`` where its estimated iterations are few enough to be the faster, else ``direct``;
  and ``direct`` where ``cg`` misses the tolerance.

A field is accepted if ‖f - Au‖ ≤ rtol ‖f‖, or if ‖f - Au‖ ≤ `FLOOR` ‖|A||u|‖, the floor of float64
arithmetic: to round each entry of the exact solution to float64 may change the residual by
ε/2 ‖|A||u|‖, ε = 2⁻⁵², and `FLOOR` = ε allows for as much again in evaluating it. At the floor, too,
the residual must be `FLOOR_RTOL` ‖f‖ or less: where the contrast is 10¹² and more, the floor itself
lies so high that a field may be there and solve nothing.

Coefficient and source are divided by powers of two first, which changes no bit of the solution, and lets squares
of values of any unit be summed in float64.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spla
from jaxtyping import Float
from scipy import fft

from data_gen.problem import NotConverged
from data_gen.problems.darcy.scheme import (
    AVERAGED,
    MEANS,
    Mean,
    Source,
    apply,
    check_coefficient,
    interior_source,
    magnitude,
    matrix,
    relative_residual,
)

Vertices = Float[np.ndarray, "n m"]
Method = Literal["auto", "direct", "cg"]

FLOOR = np.finfo(np.float64).eps
FLOOR_RTOL = 1e-6
CG_ITERATIONS = 1000
CG_ESTIMATE = 150
CG_STARTS = 4
SAFETY = 0.7


class Solution(NamedTuple):
    """A field at the vertices, and what speaks for it.

    Attributes
    ----------
    u : (n, m) array
        Solution, zero on the boundary.
    residual : float
        ‖f - Au‖ / ‖f‖, recomputed from `u`.
    method : str
        The solver that produced it.
    accepted_by : {"rtol", "floor"}
        Which of the two criteria it met.
    iterations : int
        Of conjugate gradients, or steps of refinement.
    """

    u: np.ndarray
    residual: float
    method: str
    accepted_by: str
    iterations: int


def solve(
    a: Vertices, f: Source = 1.0, *, method: str = "auto", rtol: float = 1e-10, mean: Mean = "arithmetic"
) -> Vertices:
    """Solve -∇·(a ∇u) = f, u = 0 on the boundary, by the five-point scheme.

    Parameters
    ----------
    a : (n, m) array
        Positive coefficient at the vertices of [0, 1]², boundary included.
    f : float or (n, m) array
        Source; boundary values of an array are not used.
    method : {"auto", "direct", "cg"}
        Solver, see the module.
    rtol : float
        Bound on ‖f - Au‖ / ‖f‖ over the interior vertices.
    mean : {"arithmetic", "harmonic", "geometric", "average"}
        Mean that makes the face values of `a`, or "average" for that of the arithmetic and the harmonic solution; which
        suits which coefficient is said in `data_gen.problems.darcy.scheme`.

    Returns
    -------
    (n, m) float64 array

    Raises
    ------
    ValueError
        If `a` is not positive and finite, or another argument is out of range.
    NotConverged
        If `rtol` is missed, and the floor of float64 arithmetic, or where it lies too high.

    Examples
    --------
    >>> u = solve(np.ones((65, 65)))
    >>> round(float(u.max()), 12)
    0.073657185491
    """
    return solve_verified(a, f, method=method, rtol=rtol, mean=mean).u


def solve_verified(
    a: Vertices, f: Source = 1.0, *, method: str = "auto", rtol: float = 1e-10, mean: Mean = "arithmetic"
) -> Solution:
    """As `solve`, with the residual and how it was reached.

    Of an average that is the larger of the two residuals, and "floor" where either solution needed it.

    Raises
    ------
    ValueError, NotConverged
        As `solve`.
    """
    a = np.asarray(a, dtype=np.float64)
    check_coefficient(a)
    if not 0 < rtol < 1:
        raise ValueError(f"rtol must lie between 0 and 1, got {rtol}")
    if method not in ("auto", *METHODS):
        raise ValueError(f"method must be one of auto, {', '.join(METHODS)}, got {method!r}")
    if mean not in MEANS:
        raise ValueError(f"mean must be one of {', '.join(MEANS)}, got {mean!r}")
    if mean == "average":
        return average([solve_verified(a, f, method=method, rtol=rtol, mean=each) for each in AVERAGED])
    interior_source(f, a.shape)
    unit, unit_of_f = power_of_four(a), power_of_four(f)
    a, f = a / unit, f / unit_of_f
    A, rhs = matrix(a, mean), interior_source(f, a.shape)

    def attempt(method: str) -> Solution:
        u = np.zeros(a.shape)
        u[1:-1, 1:-1], iterations = METHODS[method](a, A, rhs, rtol, mean)
        found = accept(a, u, f, rtol, mean, method, iterations)
        u = found.u * unit_of_f / unit
        if not np.isfinite(u).all():
            raise NotConverged(f"{method} found a solution beyond the range of float64")
        return found._replace(u=u)

    if method != "auto":
        return attempt(method)
    if estimated_iterations(a, A, rtol)[0] <= CG_ESTIMATE:
        with suppress(NotConverged):
            return attempt("cg")
    return attempt("direct")


def power_of_four(values: Source) -> float:
    """That below the largest |value|, of which the geometric mean of two takes the root; one where all are zero."""
    exponent = int(np.frexp(np.abs(values).max())[1])
    return 2.0 ** (exponent - 1 - (exponent - 1) % 2)


def average(solutions: Sequence[Solution]) -> Solution:
    """The mean of several solutions, with what is worst of their evidence."""
    worst = max(solutions, key=lambda each: each.residual)
    floor = any(each.accepted_by == "floor" for each in solutions)
    u = np.mean([each.u for each in solutions], axis=0)
    iterations = sum(each.iterations for each in solutions)
    return Solution(u, worst.residual, worst.method, "floor" if floor else "rtol", iterations)


def accept(a: Vertices, u: Vertices, f: Source, rtol: float, mean: Mean, method: str, iterations: int) -> Solution:
    """Judge a field by its residual.

    Raises
    ------
    NotConverged
        If it meets neither criterion.
    """
    value = relative_residual(a, u, f, mean)
    if value <= rtol:
        return Solution(u, value, method, "rtol", iterations)
    norm = np.linalg.norm(interior_source(f, a.shape))
    at_floor = value * norm <= FLOOR * np.linalg.norm(magnitude(a, u, mean))
    if at_floor and value <= FLOOR_RTOL:
        return Solution(u, value, method, "floor", iterations)
    high = f": the floor of float64 arithmetic, which lies above {FLOOR_RTOL:g}" if at_floor else ""
    raise NotConverged(
        f"{method} reached a relative residual of {value:.1e} after {iterations} iterations, not {rtol:g}{high}"
    )


def direct(
    a: Vertices, A: sp.dia_array, f: Float[np.ndarray, "n-2 m-2"], rtol: float, mean: Mean
) -> tuple[np.ndarray, int]:
    """Sparse LU with minimum degree on A + Aᵀ, and up to three steps of refinement.

    Returns
    -------
    (n-2, m-2) array, int
        Solution at the interior vertices, and steps of refinement.

    Raises
    ------
    NotConverged
        If a pivot is zero, which only rounding can make it.
    """
    try:
        lu = spla.splu(A.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    except RuntimeError as error:
        raise NotConverged(f"direct: {error}") from error
    rhs = f.ravel()
    u = lu.solve(rhs)
    for step in range(3):
        r = rhs - apply(a, np.pad(u.reshape(f.shape), 1), mean).ravel()
        if np.linalg.norm(r) <= rtol / 2 * np.linalg.norm(rhs):
            return u.reshape(f.shape), step
        u += lu.solve(r)
    return u.reshape(f.shape), 3


@lru_cache(maxsize=8)
def inverse_symbol(n: int, m: int) -> Float[np.ndarray, "{n}-2 {m}-2"]:
    """Reciprocal eigenvalues of the five-point -Δ on the interior of an (n, m) grid.

    λ_kl = 4(n-1)² sin²(πk/2(n-1)) + 4(m-1)² sin²(πl/2(m-1)), k, l ≥ 1; the eigenvectors are the
    columns of the DST-I (LeVeque 2007, §3.4).
    """
    lx, ly = (4 * (k - 1) ** 2 * np.sin(np.pi * np.arange(1, k - 1) / (2 * (k - 1))) ** 2 for k in (n, m))
    return 1 / (lx[:, None] + ly)


def cg(
    a: Vertices, A: sp.dia_array, f: Float[np.ndarray, "n-2 m-2"], rtol: float, mean: Mean
) -> tuple[np.ndarray, int]:
    """Conjugate gradients preconditioned by the constant-coefficient Laplacian, scaled where that helps.

    The preconditioner is applied in float32, at half the cost; residuals and search directions are
    float64, so that it may change the number of iterations by one, and the accuracy not at all. A
    recursive residual that has drifted from the true one makes it start again from the latter.

    Returns
    -------
    (n-2, m-2) array, int
        Solution at the interior vertices, and iterations.
    """
    n, m = a.shape
    b = f.ravel()
    scale = scaling(A) if estimated_iterations(a, A, rtol)[1] else np.ones(1)
    inverse = (inverse_symbol(n, m) / (4 * (n - 1) * (m - 1))).astype(np.float32)
    modes = np.empty(f.shape, np.float32)

    u, p, z, r = (np.zeros(b.size) for _ in range(4))
    tolerance, iteration = rtol * np.sqrt(dot(b, b)), 0
    for _ in range(CG_STARTS):
        r[:] = b - apply(a, np.pad(u.reshape(f.shape), 1), mean).ravel()
        rr, rz = dot(r, r), np.inf
        if rr <= tolerance**2:
            break
        p[:] = 0
        while rr > (SAFETY * tolerance) ** 2 and iteration < CG_ITERATIONS:
            iteration += 1
            np.multiply(r, scale / np.sqrt(rr), out=z)
            modes[:] = z.reshape(f.shape)
            modes = fft.dstn(modes, type=1, overwrite_x=True)
            modes *= inverse
            modes = fft.dstn(modes, type=1, overwrite_x=True)
            np.multiply(modes.ravel(), scale, out=z)
            rz, previous = dot(r, z), rz
            p *= rz / previous
            p += z
            q = A @ p
            step = rz / dot(p, q)
            u += np.multiply(p, step, out=z)
            r -= np.multiply(q, step, out=q)
            rr = dot(r, r)
    return u.reshape(f.shape), iteration


def scaling(A: sp.dia_array) -> Float[np.ndarray, " n"]:
    """1/S, S² = diag A up to a factor: S⁻¹ A S⁻¹ has a constant diagonal."""
    return np.sqrt(A.data[0].mean() / A.data[0])


def estimated_iterations(a: Vertices, A: sp.dia_array, rtol: float) -> tuple[float, bool]:
    """About how many iterations of ``cg`` a coefficient will take, and whether with the scaled preconditioner.

    Unscaled, the condition number is at most κ = max a / min a, and so the iterations
    ½√κ ln(2/rtol). Where `a` takes but a few values its eigenvalues cluster at those, and about 100
    iterations suffice at any κ. Scaled, S⁻¹AS⁻¹ = L + Q, where for smooth `a` Q is the potential
    Δ√a/√a; 8 + 4√(mean Q) fits what was observed for log-normal, two-phase and
    white-noise coefficients within a factor of two (contrasts 2 to 10⁶, 65² to 129²).
    """
    n, m = a.shape
    unscaled = 0.5 * np.sqrt(a.max() / a.min()) * np.log(2 / rtol)
    if len(np.unique(a.ravel()[:: -(-a.size // 1000)])) <= 10:
        unscaled = min(unscaled, 100.0)
    s = scaling(A) * np.sqrt(2 * ((n - 1) ** 2 + (m - 1) ** 2) / A.data[0].mean())
    boundary = 2 * ((n - 1) ** 2 * (m - 2) + (m - 1) ** 2 * (n - 2))
    scaled = 8 + 4 * np.sqrt(max(0.0, (dot(s, A @ s) - boundary) / s.size))
    return min(unscaled, scaled), bool(scaled < unscaled)


def dot(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> float:
    """Inner product in one thread, so that it is the same number on every machine load."""
    return float(np.einsum("i,i->", x, y))


METHODS: dict[str, Callable[[np.ndarray, sp.dia_array, np.ndarray, float, Mean], tuple[np.ndarray, int]]] = {
    "direct": direct,
    "cg": cg,
}
