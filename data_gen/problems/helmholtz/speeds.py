"""Laws of random wave speeds c between 1 and 2, by a Gaussian field g of covariance (-Δ + τ²)^(-α) and unit variance.

=========== =================== ===== ====
law         c                   α     τ
=========== =================== ===== ====
smooth      1.5 + ½ tanh g      4     7
piecewise   2 where g ≥ 0, or 1 2     3
rough       1.5 + ½ tanh g      2     3
=========== =================== ===== ====

A piecewise speed is constant on the control volume of each vertex of the grid that it is drawn on.
"""

from functools import lru_cache

import numpy as np

from data_gen.laws.law import Coefficient, Law
from data_gen.laws.random_fields import GaussianRandomField

SLOWEST = 1.0
"""No speed is less."""


@lru_cache(maxsize=4)
def unit_field(alpha: float, tau: float) -> GaussianRandomField:
    """The field of mean zero and variance one, taken over the domain and over samples."""
    return GaussianRandomField(alpha, tau, 1 / GaussianRandomField(alpha, tau).deviation)


def smooth(shape: tuple[int, int], rng: np.random.Generator) -> Coefficient:
    """1.5 + ½ tanh g with α = 4, τ = 7."""
    return 1.5 + 0.5 * np.tanh(unit_field(4.0, 7.0).sample(shape, rng))


def piecewise(shape: tuple[int, int], rng: np.random.Generator) -> Coefficient:
    """2 where g ≥ 0, else 1, with α = 2, τ = 3."""
    return np.where(unit_field(2.0, 3.0).sample(shape, rng) >= 0, 2.0, 1.0)


def rough(shape: tuple[int, int], rng: np.random.Generator) -> Coefficient:
    """1.5 + ½ tanh g with α = 2, τ = 3."""
    return 1.5 + 0.5 * np.tanh(unit_field(2.0, 3.0).sample(shape, rng))


SPEEDS: dict[str, Law] = {"smooth": smooth, "piecewise": piecewise, "rough": rough}
