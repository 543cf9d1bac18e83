"""Two phases, told apart by the sign of a Gaussian random field."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from data_gen.laws.law import Coefficient, positive
from data_gen.laws.random_fields import GaussianRandomField


@dataclass(frozen=True)
class Piecewise:
    """Two phases, `high` where a Gaussian random field is ≥ 0 and `low` elsewhere (Li et al. 2021, §A.3.2).

    Parameters
    ----------
    high, low : float
        Values of the coefficient.
    alpha, tau : float
        Smoothness and inverse length scale of the field, covariance (-Δ + τ² I)^(-α).

    Raises
    ------
    ValueError
        If a value is not positive and finite.
    """

    face_mean = "geometric"

    high: float | int = 12.0
    low: float | int = 3.0
    alpha: float | int = 2.0
    tau: float | int = 3.0

    def __post_init__(self) -> None:
        positive(high=self.high, low=self.low)

    @cached_property
    def _field(self) -> GaussianRandomField:
        return GaussianRandomField(self.alpha, self.tau)

    def __call__(self, shape: tuple[int, int], rng: np.random.Generator) -> Coefficient:
        return np.where(self._field.sample(shape, rng) >= 0, float(self.high), float(self.low))
