"""Conservative five-point finite differences for Darcy flow.

    -∇·(a ∇u) = f   in (0, 1)²,      u = 0   on the boundary,

on the vertices (i/(n-1), j/(m-1)). The flux through the face between two vertices is the mean of
`a` there times the difference of `u` (LeVeque 2007, §2.15), so what leaves one cell enters the
next: discrete fluxes balance to round-off, and the matrix is symmetric positive definite for any
a > 0. Every mean is second order for smooth `a`. Where `a` jumps they differ:

- arithmetic, (p + q)/2: media side by side, flow along them. It is too conductive at a jump that the flow crosses.
- harmonic, 2pq/(p + q): media in series. It keeps the normal flux across a jump that lies midway between vertices, and
  is the best at high contrast, where little flows through what hardly conducts.
- geometric, √(pq): what two phases that are mixed alike conduct as a whole in two dimensions (Dykhne 1971).
- average: no mean of coefficients but of solutions, those with arithmetic and with harmonic means, whose errors at
  jumps have opposite signs. Two solves.

Relative errors at 85² against the equation (`benchmarks/face_means.py` measures them again), least first:

- piecewise (12/3): average .0037, geometric .0038, harmonic .0046, arithmetic .0084
- channels, contrast 10³: harmonic .017, average .026, geometric .044, arithmetic .055
- inclusions, contrast 10³: harmonic .028, average .080, geometric .127, arithmetic .142
- channels, contrast 10⁻³ (barriers): harmonic .095, average .199, geometric .332, arithmetic .383
- log-normal, σ = 2: average and geometric .0022, harmonic .0025, arithmetic .0049

So each law names its own (`face_mean`): harmonic for channels and inclusions, geometric for piecewise and log-normal
coefficients, where the average is no better by more than .0001 and takes two solves.
"""

from typing import Literal

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float

Mean = Literal["arithmetic", "harmonic", "geometric", "average"]
Vertices = Float[np.ndarray, "n m"]
Interior = Float[np.ndarray, "n-2 m-2"]
Source = float | int | np.ndarray

FACE_MEANS: tuple[Mean, ...] = ("arithmetic", "harmonic", "geometric")
AVERAGED: tuple[Mean, ...] = ("arithmetic", "harmonic")
"""The means whose solutions make that of "average"."""
MEANS: tuple[Mean, ...] = (*FACE_MEANS, "average")


def check_coefficient(a: np.ndarray) -> None:
    """Raise ValueError unless `a` is an (n, m) array, n, m ≥ 3, of positive finite values."""
    if a.ndim != 2 or min(a.shape) < 3:
        raise ValueError(f"coefficient a must be an (n, m) array with n, m ≥ 3, got shape {a.shape}")
    if not np.isfinite(a).all():
        raise ValueError("coefficient a must be finite, got NaN or infinite values")
    if not a.min() > 0:
        raise ValueError(f"coefficient a must be positive, its minimum is {a.min():g}")


def interior_source(f: Source, shape: tuple[int, int]) -> np.ndarray:
    """The source at the (n-2, m-2) interior vertices, from a number or an (n, m) array.

    Raises
    ------
    ValueError
        If an array `f` is not of `shape`, or a value is not finite.
    """
    f = np.asarray(f, dtype=np.float64)
    if f.ndim and f.shape != shape:
        raise ValueError(f"source f must be a number or an array of shape {shape}, got shape {f.shape}")
    if not np.isfinite(f).all():
        raise ValueError("source f must be finite, got NaN or infinite values")
    return np.ascontiguousarray(np.broadcast_to(f, shape)[1:-1, 1:-1])


def conductances(a: Vertices, mean: Mean = "arithmetic") -> tuple[np.ndarray, np.ndarray]:
    """Face values of `a` divided by the squared spacing, for the faces that the interior vertices see.

    Returns
    -------
    (n-1, m-2) and (n-2, m-1) arrays
        Across the faces normal to x and to y.

    Raises
    ------
    ValueError
        If `mean` is not one of `FACE_MEANS`.
    """
    if mean not in FACE_MEANS:
        raise ValueError(f"mean must be one of {', '.join(FACE_MEANS)}, got {mean!r}")
    n, m = a.shape
    pairs = ((a[:-1, 1:-1], a[1:, 1:-1], n), (a[1:-1, :-1], a[1:-1, 1:], m))
    if mean == "harmonic":
        cx, cy = ((k - 1) ** 2 * 2 / (1 / p + 1 / q) for p, q, k in pairs)
    elif mean == "geometric":
        cx, cy = ((k - 1) ** 2 * np.sqrt(p) * np.sqrt(q) for p, q, k in pairs)
    else:
        cx, cy = ((k - 1) ** 2 / 2 * (p + q) for p, q, k in pairs)
    return cx, cy


def apply(a: Vertices, u: Vertices, mean: Mean = "arithmetic") -> Interior:
    """Evaluate -∇·(a ∇u) at the interior vertices.

    Parameters
    ----------
    a, u : (n, m) arrays
        Coefficient and solution at the vertices; the boundary values of `u` are used as they are.
    mean : {"arithmetic", "harmonic", "geometric"}
        Mean that makes the face values of `a`.

    Returns
    -------
    (n-2, m-2) array, in units of a·u per unit area.

    Examples
    --------
    >>> x = np.linspace(0, 1, 5)
    >>> u = np.outer(x * (1 - x), np.ones(5))
    >>> apply(np.ones((5, 5)), u)[1]        # -d²/dx² x(1-x) = 2
    array([2., 2., 2.])
    """
    cx, cy = conductances(a, mean)
    fx, fy = cx * np.diff(u[:, 1:-1], axis=0), cy * np.diff(u[1:-1], axis=1)
    return -np.diff(fx, axis=0) - np.diff(fy, axis=1)


def matrix(a: Vertices, mean: Mean = "arithmetic") -> sp.dia_array:
    """The symmetric positive definite matrix of the scheme, interior vertices in C order.

    Returns
    -------
    ((n-2)(m-2), (n-2)(m-2)) sparse array, by diagonals, the main one first
    """
    cx, cy = conductances(a, mean)
    n, m = cx.shape[0] - 1, cy.shape[1] - 1
    offsets = [0, m, -m, 1, -1] if m > 1 else [0, m, -m]
    data = np.empty((5, n, m))
    np.negative(cx[:-1], out=data[1])
    np.negative(cx[1:], out=data[2])
    np.negative(cy[:, :-1], out=data[3])
    np.negative(cy[:, 1:], out=data[4])
    np.negative(data[1:].sum(0), out=data[0])
    data[3, :, 0] = data[4, :, -1] = 0
    return sp.dia_array((data.reshape(5, -1)[: len(offsets)], offsets), shape=(n * m, n * m))


def residual(a: Vertices, u: Vertices, f: Source = 1.0, mean: Mean = "arithmetic") -> Interior:
    """f + ∇·(a ∇u) at the interior vertices."""
    return interior_source(f, a.shape) - apply(a, u, mean)


def magnitude(a: Vertices, u: Vertices, mean: Mean = "arithmetic") -> Interior:
    """|A||u|: bounds, times the unit round-off, what rounding `u` does to the residual."""
    cx, cy = conductances(a, mean)
    v = np.abs(u)
    fx, fy = cx * (v[1:, 1:-1] + v[:-1, 1:-1]), cy * (v[1:-1, 1:] + v[1:-1, :-1])
    return fx[1:] + fx[:-1] + fy[:, 1:] + fy[:, :-1]


def relative_residual(a: Vertices, u: Vertices, f: Source = 1.0, mean: Mean = "arithmetic") -> float:
    """‖f - Au‖ / ‖f‖ over the interior vertices; ‖Au‖ itself where f = 0.

    Parameters
    ----------
    a, u : (n, m) arrays
        Coefficient and solution at the vertices.
    f : float or (n, m) array
        Source.
    mean : {"arithmetic", "harmonic", "geometric"}
        Mean that makes the face values of `a`.
    """
    norm = float(np.linalg.norm(interior_source(f, a.shape)))
    return float(np.linalg.norm(residual(a, u, f, mean))) / (norm or 1.0)


def outflow(a: Vertices, u: Vertices, mean: Mean = "arithmetic") -> tuple[float, float]:
    """Flow out through the boundary, and the sum of the magnitudes that cancel in it.

    The discrete divergence theorem: inner faces cancel, so that the sum of Au over all interior
    vertices is the flow through the outermost faces. For a discrete solution it is the sum of f.
    """
    cx, cy = conductances(a, mean)
    faces = (
        (cx[0], u[1, 1:-1], u[0, 1:-1]),
        (cx[-1], u[-2, 1:-1], u[-1, 1:-1]),
        (cy[:, 0], u[1:-1, 1], u[1:-1, 0]),
        (cy[:, -1], u[1:-1, -2], u[1:-1, -1]),
    )
    flow = sum(float(np.sum(c * (inner - outer))) for c, inner, outer in faces)
    return flow, sum(float(np.sum(c * (np.abs(inner) + np.abs(outer)))) for c, inner, outer in faces)
