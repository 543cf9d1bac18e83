"""Real fields on periodic grids as Fourier series.

    w(x, y) = Σ c[k, l] exp(2πi(kx + ly)),      c[-k, -l] = conj c[k, l],

kept as `scipy.fft.rfft2` keeps them, (n, m//2 + 1) with l ≥ 0 alone, but divided by the number of points: then the
coefficients of a function are the same on every grid that resolves it, and to go to another grid is to copy them.
"""

import numpy as np
from jaxtyping import Complex, Float
from scipy import fft

Coefficients = Complex[np.ndarray, "*any n half"]
Values = Float[np.ndarray, "*any n m"]
Shape = tuple[int, ...]


def resolved(shape: Shape) -> tuple[int, int]:
    """The largest wavenumbers K, L below those of Nyquist, n/2 and m/2, which have no phase.

    Examples
    --------
    >>> resolved((64, 33))
    (31, 16)
    """
    n, m = shape
    return (n - 1) // 2, (m - 1) // 2


def wavenumbers(shape: Shape) -> tuple[Float[np.ndarray, "n 1"], Float[np.ndarray, "1 half"]]:
    """k and l of each coefficient, in cycles per side."""
    n, m = shape
    return fft.fftfreq(n, 1 / n)[:, None], np.arange(m // 2 + 1.0)[None]


def analysed(w: Values) -> Coefficients:
    """The coefficients of fields."""
    return fft.rfft2(w, norm="forward")


def evaluated(c: Coefficients, shape: Shape) -> Values:
    """The fields that coefficients on a grid of this shape belong to."""
    return fft.irfft2(c, s=shape, norm="forward")


def transferred(c: Coefficients, shape: Shape, other: Shape) -> Complex[np.ndarray, "*any k other"]:
    """The coefficients on a grid of another shape: those that both grids resolve, zero beyond."""
    K, L = np.minimum(resolved(shape), resolved(other))
    k = np.arange(-K, K + 1)  # from the end of the axis, where negative wavenumbers are
    result = np.zeros((*c.shape[:-2], other[0], other[1] // 2 + 1), c.dtype)
    result[..., k, : L + 1] = c[..., k, : L + 1]
    return result


def resampled(w: Values, other: Shape) -> Float[np.ndarray, "*any k l"]:
    """Fields on a grid of another shape: truncated to what a coarser one resolves, interpolated to a finer one."""
    shape = w.shape[-2:]
    return w if shape == tuple(other) else evaluated(transferred(analysed(w), shape, other), other)
