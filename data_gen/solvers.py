"""Solvers of the five-point scheme A u = f; each accepts only what its residual proves.

- ``direct``: sparse LU with a symmetric ordering, and iterative refinement.
- ``cg``: conjugate gradients preconditioned by the constant-coefficient Laplacian, which sine
  transforms diagonalise (Concus & Golub 1973; "fast diagonalisation"). The condition number
  is at most max a / min a on any grid, so the number of iterations depends on the contrast alone.
- ``auto``: ``cg`` up to a contrast of `CG_CONTRAST`, else ``direct``.

A field is accepted if ‖f - Au‖ ≤ rtol ‖f‖, or if ‖f - Au‖ ≤ `FLOOR` ‖|A||u|‖, the floor of float64
arithmetic: to round each entry of the exact solution to float64 may change the residual by
ε/2 ‖|A||u|‖, ε = 2⁻⁵², and evaluating it by about as much again.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
import scipy.sparse.linalg as spla
from jaxtyping import Float
from scipy import fft

from data_gen.darcy import Mean, Source, check_coefficient, conductances, interior_source, matrix, residual_norms

Vertices = Float[np.ndarray, "n m"]
Method = Literal["auto", "direct", "cg"]

CG_CONTRAST = 300.0
CG_ITERATIONS = 1000
FLOOR = 4 * np.finfo(np.float64).eps


class NotConverged(np.linalg.LinAlgError):
    """A solve that missed its tolerance."""


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
    mean : {"arithmetic", "harmonic"}
        Mean that makes the face values of `a`.

    Returns
    -------
    (n, m) float64 array

    Raises
    ------
    ValueError
        If `a` is not positive and finite, or another argument is out of range.
    NotConverged
        If neither `rtol` nor the floor of float64 arithmetic is met.

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
    """As `solve`, with the residual and how it was reached."""
    a = np.asarray(a, dtype=np.float64)
    check_coefficient(a)
    if not 0 < rtol < 1:
        raise ValueError(f"rtol must lie between 0 and 1, got {rtol}")
    if method == "auto":
        method = choose(a)
    if method not in METHODS:
        raise ValueError(f"method must be one of auto, {', '.join(METHODS)}, got {method!r}")
    u = np.zeros(a.shape)
    u[1:-1, 1:-1], iterations = METHODS[method](a, interior_source(f, a.shape), rtol, mean)
    return accept(a, u, f, rtol, mean, method, iterations)


def accept(a: Vertices, u: Vertices, f: Source, rtol: float, mean: Mean, method: str, iterations: int) -> Solution:
    """Judge a field by its residual.

    Raises
    ------
    NotConverged
        If it meets neither criterion.
    """
    r, rhs, magnitude = residual_norms(a, u, f, mean)
    residual = r / rhs if rhs else r
    if r <= rtol * rhs:
        return Solution(u, residual, method, "rtol", iterations)
    if r <= FLOOR * magnitude:
        return Solution(u, residual, method, "floor", iterations)
    raise NotConverged(
        f"{method} reached a relative residual of {residual:.1e} after {iterations} iterations, not {rtol:g}"
    )


def choose(a: Vertices) -> str:
    """The method that ``auto`` takes, from the contrast max a / min a."""
    return "cg" if a.max() <= CG_CONTRAST * a.min() else "direct"


def direct(a: Vertices, f: np.ndarray, rtol: float, mean: Mean) -> tuple[np.ndarray, int]:
    """Sparse LU with minimum degree on A + Aᵀ, and up to three steps of refinement.

    Returns
    -------
    (n-2, m-2) array, int
        Solution at the interior vertices, and steps of refinement.
    """
    system = matrix(a, mean)
    lu = spla.splu(system, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    rhs = f.ravel()
    u = lu.solve(rhs)
    for step in range(3):
        r = rhs - system @ u
        if np.linalg.norm(r) <= rtol / 2 * np.linalg.norm(rhs):
            return u.reshape(f.shape), step
        u += lu.solve(r)
    return u.reshape(f.shape), 3


@lru_cache(maxsize=8)
def laplacian_symbol(n: int, m: int) -> np.ndarray:
    """Eigenvalues of the five-point -Δ on the (n-2, m-2) interior vertices of an (n, m) grid.

    λ_kl = 4(n-1)² sin²(πk/2(n-1)) + 4(m-1)² sin²(πl/2(m-1)), k, l ≥ 1; the eigenvectors are the
    columns of the DST-I (LeVeque 2007, §3.4).
    """
    lx, ly = (4 * (k - 1) ** 2 * np.sin(np.pi * np.arange(1, k - 1) / (2 * (k - 1))) ** 2 for k in (n, m))
    return lx[:, None] + ly


def poisson(n: int, m: int) -> Callable[[np.ndarray], np.ndarray]:
    """The inverse of the five-point -Δ on the interior of an (n, m) grid, by two sine transforms."""
    symbol = laplacian_symbol(n, m)

    def inverse(r: np.ndarray) -> np.ndarray:
        modes = fft.dstn(r, type=1, norm="ortho")
        modes /= symbol
        return fft.dstn(modes, type=1, norm="ortho", overwrite_x=True)

    return inverse


def cg(a: Vertices, f: np.ndarray, rtol: float, mean: Mean) -> tuple[np.ndarray, int]:
    """Conjugate gradients preconditioned by the inverse of the constant-coefficient Laplacian.

    Returns
    -------
    (n-2, m-2) array, int
        Solution at the interior vertices, and iterations.
    """
    cx, cy = conductances(a, mean)
    precondition = poisson(*a.shape)
    diagonal = cx[1:] + cx[:-1] + cy[:, 1:] + cy[:, :-1]
    west, north = cy[:, 1:-1].copy(), cx[1:-1]

    u = np.zeros_like(f)
    r = f.copy()
    target = 0.5 * rtol * np.linalg.norm(f)
    p, rz = np.zeros_like(f), np.inf
    for iteration in range(CG_ITERATIONS):
        if np.linalg.norm(r) <= target:
            return u, iteration
        z = precondition(r)
        rz, previous = np.vdot(r, z), rz
        p *= rz / previous
        p += z
        q = diagonal * p
        q[1:] -= north * p[:-1]
        q[:-1] -= north * p[1:]
        q[:, 1:] -= west * p[:, :-1]
        q[:, :-1] -= west * p[:, 1:]
        step = rz / np.vdot(p, q)
        u += step * p
        r -= step * q
    return u, CG_ITERATIONS


METHODS: dict[str, Callable[[np.ndarray, np.ndarray, float, Mean], tuple[np.ndarray, int]]] = {
    "direct": direct,
    "cg": cg,
}
