"""Finite differences for the Helmholtz equation with absorbing sides: five points, or nine at fourth order.

    -Δu - ω² m u = f   in (0, 1)²,      ∂ₙu = iω √m u   on the sides,

on the vertices (i/(n-1), j/(m-1)). In one dimension -u'' = g, ∂ₙu = q becomes K u - B q = M g with

    K = (-1, 2, -1)/h,  (1, -1)/h at an end;      B = 1 at the ends, and 0 elsewhere;

    M = h,                h/2 at an end               five-point: half cells at the boundary, order 2
    M = h (1, 10, 1)/12,  h (7, 6, -1)/24 at an end   fourth-order: Numerov's rows

(the row at an end is Taylor's expansion of (u₀ - u₁)/h up to h³). Their products make the scheme in the plane, of which
the second has the nine-point Laplacian (LeVeque 2007, §3.5),

    A = K⊗M + M⊗K - ω² (M⊗M) m - iω (B⊗M + M⊗B) √m,      A u = (M⊗M) f.

The source f is a Gaussian of integral one and width s = 1/ω about the centre. With half cells A is complex symmetric,
so that power balances to round-off and source and receiver may change places; at fourth order it is not symmetric at
the sides, and the balance of power, of order h⁴ where m is smooth, is evidence for a solution.
"""

from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
import scipy.sparse as sp
from jaxtyping import Complex, Float, Num

Scheme = Literal["five-point", "fourth-order"]
SCHEMES: tuple[Scheme, ...] = ("five-point", "fourth-order")
SMALLEST = 5
"""Least points a side: the row of an end reaches two points inwards, and not beyond the middle."""

Slowness = Float[np.ndarray, "n m"]
Wave = Complex[np.ndarray, "n m"]


class Axis(NamedTuple):
    """The (n, n) matrices of a scheme on n points, sparse or tensors: stiffness K, mass M, boundary B."""

    K: Any
    M: Any
    B: Any


def check_slowness(m: Num[np.ndarray, "*any"], shape: tuple[int, ...]) -> None:
    """Raise ValueError unless `m` is a real array of `shape`, five points a side, of positive finite values."""
    if m.shape != shape or len(shape) != 2 or min(shape) < SMALLEST:
        needed = f"an array of the shape of its grid, {shape}, with {SMALLEST} points a side or more"
        raise ValueError(f"squared slowness m must be {needed}, got shape {m.shape}")
    if np.iscomplexobj(m):
        raise ValueError("squared slowness m must be real, got complex values")
    if not np.isfinite(m).all():
        raise ValueError("squared slowness m must be finite, got NaN or infinite values")
    if not m.min() > 0:
        raise ValueError(f"squared slowness m must be positive, its minimum is {m.min():g}")


@lru_cache(maxsize=16)
def axis(n: int, scheme: Scheme) -> Axis:
    """The matrices of `scheme` on n points.

    Examples
    --------
    >>> axis(5, "fourth-order").M.toarray()[:2] * 4 * 24
    array([[ 7.,  6., -1.,  0.,  0.],
           [ 2., 20.,  2.,  0.,  0.]])
    """
    h, ends = 1 / (n - 1), [0, -1]
    near = np.eye(n, k=1) + np.eye(n, k=-1)
    K, M, B = 2 * np.eye(n) - near, np.eye(n), np.zeros((n, n))
    K[ends, ends], B[ends, ends] = 1, 1
    if scheme == "five-point":
        M[ends, ends] = 1 / 2
    else:
        M = (10 * M + near) / 12
        M[0, :3] = M[-1, :-4:-1] = np.array([7, 6, -1]) / 24
    return Axis(sp.csr_array(K / h), sp.csr_array(h * M), sp.csr_array(B))


def matrix(m: Slowness, omega: float, scheme: Scheme) -> sp.csr_array:
    """The matrix A of the scheme, vertices in C order.

    Returns
    -------
    (nm, nm) complex sparse array
    """
    x, y = (axis(n, scheme) for n in m.shape)
    laplacian = sp.kron(x.K, y.M) + sp.kron(x.M, y.K)
    sides = (sp.kron(x.B, y.M) + sp.kron(x.M, y.B)) @ sp.diags_array(1j * omega * np.sqrt(m).ravel())
    return sp.csr_array(laplacian - sides - sp.kron(x.M, y.M) @ sp.diags_array(omega**2 * m.ravel()))


def apply(m: Slowness, u: Wave, omega: float, scheme: Scheme) -> Wave:
    """A u, as `matrix` has it, from products with the one-dimensional matrices.

    Parameters
    ----------
    m, u : (n, m) arrays
        Squared slowness and wave at the vertices.
    omega : float
        Angular frequency ω.
    scheme : {"five-point", "fourth-order"}

    Returns
    -------
    (n, m) array, in units of u
    """
    x, y = (axis(n, scheme) for n in m.shape)
    return terms(x, y, u, 1j * omega * np.sqrt(m) * u, omega**2 * m * u)


def magnitude(m: Slowness, u: Wave, omega: float, scheme: Scheme) -> Slowness:
    """Terms of A u without their signs, ≥ |A||u|: bounds, times the unit round-off, what rounding does to A u."""
    x, y = (Axis(*(abs(each) for each in axis(n, scheme))) for n in m.shape)
    v = np.abs(u)
    return terms(x, y, v, -omega * np.sqrt(m) * v, -(omega**2) * m * v)


def terms(x: Axis, y: Axis, u: Any, leaving: Any, inertia: Any) -> Any:
    """(K⊗M + M⊗K) u - (B⊗M + M⊗B) leaving - (M⊗M) inertia, of arrays or tensors (…, n, m)."""
    along_y = u @ y.K.T - leaving @ y.B.T - inertia @ y.M.T
    return (x.K @ u - x.B @ leaving) @ y.M.T + x.M @ along_y


@lru_cache(maxsize=4)
def source(shape: tuple[int, int], omega: float) -> Float[np.ndarray, "n m"]:
    """f = exp(-|x - (½, ½)|²/2s²)/(2πs²), s = 1/ω, at the vertices."""
    x, y = (omega / np.sqrt(2 * np.pi) * np.exp(-((omega * (np.linspace(0, 1, n) - 0.5)) ** 2) / 2) for n in shape)
    return np.outer(x, y)


@lru_cache(maxsize=4)
def load(shape: tuple[int, int], omega: float, scheme: Scheme) -> Float[np.ndarray, "n m"]:
    """The right-hand side (M⊗M) f."""
    x, y = (axis(n, scheme) for n in shape)
    return x.M @ source(shape, omega) @ y.M.T


def relative_residual(m: Slowness, u: Wave, omega: float, scheme: Scheme) -> float:
    """‖F - A u‖ / ‖F‖, F = (M⊗M) f."""
    F = load(m.shape, omega, scheme)
    return float(np.linalg.norm(F - apply(m, u, omega, scheme)) / np.linalg.norm(F))


def power(m: Slowness, u: Wave, omega: float) -> tuple[float, float]:
    """What leaves through the sides, ∮ ω√m |u|² ds, and what the source gives, Im ∫ f u dx, by the trapezoidal rule.

    They are equal for every solution: the imaginary part of the equation tested with u.
    """
    x, y = (axis(n, "five-point").M.diagonal() for n in m.shape)
    density = omega * np.sqrt(m) * np.abs(u) ** 2
    leaving = y @ (density[0] + density[-1]) + x @ (density[:, 0] + density[:, -1])
    return float(leaving), float(x @ (source(m.shape, omega) * u.imag) @ y)
