"""Sparse LU of the scheme, ordered by nested dissection, and what is accepted as a solution.

A wave is accepted if ‖F - A u‖ ≤ rtol ‖F‖, or if that residual is within the floor of float64 arithmetic, `FLOOR` times
`data_gen.problems.helmholtz.scheme.magnitude`, see `data_gen.problems.darcy.solvers`.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import scipy.sparse.linalg as spla
from jaxtyping import Complex, Float, Int

from data_gen.problem import NotConverged
from data_gen.problems.helmholtz.scheme import Scheme, load, magnitude, matrix, relative_residual

FLOOR = np.finfo(np.float64).eps
PIVOT = 0.01
"""A diagonal entry is the pivot unless it is smaller than this part of its column's largest."""

REFINEMENTS = 3
LEAF = 32
"""Vertices that are no longer dissected."""


class Verified(NamedTuple):
    """A wave at the vertices, and what speaks for it.

    Attributes
    ----------
    u : (n, m) complex array
    residual : float
        ‖F - A u‖ / ‖F‖, recomputed from `u`.
    accepted_by : {"rtol", "floor"}
        Which of the two criteria it met.
    """

    u: Complex[np.ndarray, "n m"]
    residual: float
    accepted_by: str


def solve(m: Float[np.ndarray, "n m"], omega: float, scheme: Scheme, rtol: float) -> Verified:
    """Solve A u = F by sparse LU and iterative refinement (Higham 2002, §12).

    Parameters
    ----------
    m : (n, m) array
        Squared slowness at the vertices, positive.
    omega, scheme : float, str
        See `data_gen.problems.helmholtz.scheme`.
    rtol : float
        Bound on ‖F - A u‖ / ‖F‖.

    Raises
    ------
    NotConverged
        If neither criterion is met.
    """
    A, F = matrix(m, omega, scheme), load(m.shape, omega, scheme).ravel()
    order = dissection(*m.shape)
    # permuted rows and columns alike, the matrix keeps its diagonal, which is what is divided by
    options = {"SymmetricMode": True}
    lu = spla.splu(A[order][:, order].tocsc(), permc_spec="NATURAL", diag_pivot_thresh=PIVOT, options=options)
    u, r = np.zeros(F.size, complex), F.astype(complex)
    for _ in range(1 + REFINEMENTS):
        u[order] += lu.solve(r[order])
        r = F - A @ u
        if np.linalg.norm(r) <= rtol / 2 * np.linalg.norm(F):
            break
    return accept(m, u.reshape(m.shape), omega, scheme, rtol)


def accept(
    m: Float[np.ndarray, "n m"], u: Complex[np.ndarray, "n m"], omega: float, scheme: Scheme, rtol: float
) -> Verified:
    """Judge a wave by its residual.

    Raises
    ------
    NotConverged
        If it meets neither criterion.
    """
    residual = relative_residual(m, u, omega, scheme)
    if residual <= rtol:
        return Verified(u, residual, "rtol")
    floor = FLOOR * np.linalg.norm(magnitude(m, u, omega, scheme)) / np.linalg.norm(load(m.shape, omega, scheme))
    if residual <= floor:
        return Verified(u, residual, "floor")
    raise NotConverged(f"the relative residual is {residual:.1e}, not {rtol:g}")


@lru_cache(maxsize=4)
def dissection(n: int, m: int) -> Int[np.ndarray, " nm"]:
    """The vertices of an (n, m) grid, numbered in C order, by nested dissection (George 1973).

    Two halves first, then the line between them, which alone couples them: so little is filled in.
    """
    return _dissected(np.arange(n * m).reshape(n, m))


def _dissected(numbers: Int[np.ndarray, "n m"]) -> Int[np.ndarray, " nm"]:
    if numbers.size <= LEAF:
        return numbers.ravel()
    longer = numbers if numbers.shape[0] >= numbers.shape[1] else numbers.T
    middle = len(longer) // 2
    return np.concatenate([_dissected(longer[:middle]), _dissected(longer[middle + 1 :]), longer[middle]])
