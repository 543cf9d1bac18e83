"""What the laws of random coefficients have in common: their type, and the check of their parameters."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

Coefficient = Float[np.ndarray, "n m"]
Law = Callable[[tuple[int, int], np.random.Generator], np.ndarray]
"""One that knows which mean of its values suits a face says so by an attribute `face_mean`."""


def positive(**values: float | int) -> None:
    """Raise ValueError unless each parameter, given by its name, is positive and finite."""
    for name, value in values.items():
        if not (isinstance(value, int | float | np.number) and 0 < value < np.inf):
            raise ValueError(f"{name} must be positive and finite, got {value!r}")
