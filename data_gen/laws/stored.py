"""Coefficients that are not drawn, but read from a file of numbers."""

import numpy as np

from data_gen.laws.law import Coefficient


class Stored:
    """Coefficients from a ``.npy`` file: sample i is ``values[i]``.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or it holds anything but an array (samples, n, m) of numbers.
    """

    def __init__(self, path: str) -> None:
        self.values = read_array(path, "law")
        if self.values.ndim != 3:
            raise ValueError(f"law {path!r} must hold an array (samples, n, m), got shape {self.values.shape}")

    def __getitem__(self, i: int) -> Coefficient:
        return np.asarray(self.values[i], dtype=np.float64)


def read_array(path: str, what: str) -> np.ndarray:
    """The numbers in a ``.npy`` file, mapped into memory.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or it is another kind of file.
    """
    try:
        values = np.lib.format.open_memmap(path, mode="r")
    except FileNotFoundError:
        raise FileNotFoundError(f"{what} {path!r}: no such file") from None
    except ValueError as error:
        raise ValueError(f"{what} {path!r} is no .npy file of numbers") from error
    if not np.issubdtype(values.dtype, np.number):
        raise ValueError(f"{what} {path!r} is no .npy file of numbers")
    return values
