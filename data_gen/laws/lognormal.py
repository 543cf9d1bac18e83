"""Smooth coefficients, whose logarithm is a Gaussian random field."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from data_gen.laws.law import Coefficient, positive
from data_gen.laws.random_fields import GaussianRandomField


@dataclass(frozen=True)
class LogNormal:
    """a = exp(g), g a Gaussian random field of standard deviation `sigma`.

    Parameters
    ----------
    sigma : float
        Root mean square of log a over the domain and over samples.
    alpha, tau : float
        Smoothness and inverse length scale of the field, covariance ∝ (-Δ + τ² I)^(-α).

    Raises
    ------
    ValueError
        If `sigma` is not positive and finite.
    """

    face_mean = "geometric"

    sigma: float | int = 1.0
    alpha: float | int = 2.0
    tau: float | int = 3.0

    def __post_init__(self) -> None:
        positive(sigma=self.sigma)

    @cached_property
    def _field(self) -> GaussianRandomField:
        unit = GaussianRandomField(self.alpha, self.tau)
        return GaussianRandomField(self.alpha, self.tau, self.sigma / unit.deviation)

    def __call__(self, shape: tuple[int, int], rng: np.random.Generator) -> Coefficient:
        return np.exp(self._field.sample(shape, rng))
