"""Intervals of mean errors, which vary with the seed of a training and with the samples that it is tested on.

The errors of a model are a table, seeds by samples, and both its rows and its columns are a few of many. A resample
draws seeds with replacement and samples with replacement, independently, and takes the mean of what lies in the drawn
rows and columns (the bootstrap of data in two levels, Efron & Tibshirani 1993, ch. 8, crossed as by Owen 2007, "The
pigeonhole bootstrap"); the interval is that of the percentiles (ch. 13). Without the seeds, differences look surer than
they are (Bouthillier et al. 2021, arXiv 2103.03098).

For errors y[i, j] = m + a[i] + b[j] of s seeds and n samples, the mean of a resample has the variance
var(a)/s + var(b)/n, with variances whose divisors are s and n: few seeds give intervals that are too narrow, their part
by √((s-1)/s), and one seed says nothing of seeds.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

RESAMPLES = 2000
LEVEL = 0.95

SAMPLES, SEEDS, OTHER_SEEDS = range(3)
"""Streams of random numbers: all models share the draws of the samples, and none of another's seeds."""


class Interval(NamedTuple):
    """A mean, and the ends of its interval."""

    mean: float
    low: float
    high: float


def interval(errors: Float[np.ndarray, "seeds samples"]) -> Interval:
    """The mean of errors; what has no seeds is one row."""
    return _percentiles(errors.mean(), resampled(errors, SEEDS))


def difference(errors: Float[np.ndarray, "seeds samples"], reference: Float[np.ndarray, "others samples"]) -> Interval:
    """The mean of errors less that of a reference on the same samples, paired: one draw of samples serves both."""
    return _percentiles(errors.mean() - reference.mean(), resampled(errors, SEEDS) - resampled(reference, OTHER_SEEDS))


def resampled(errors: Float[np.ndarray, "seeds samples"], stream: int) -> Float[np.ndarray, " resamples"]:
    """Means over resampled seeds and samples; `stream` draws the seeds."""
    seeds, samples = errors.shape
    with np.errstate(invalid="ignore"):  # an error that is not finite makes means that are not
        by_seed = draws(samples, SAMPLES) @ errors.T
        return (draws(seeds, stream) * by_seed).sum(1)


@lru_cache(maxsize=16)
def draws(count: int, stream: int) -> Float[np.ndarray, "resamples {count}"]:
    """How often each of `count` is drawn in a resample of as many, over `count`; the same in every call."""
    rng = np.random.default_rng(np.random.SeedSequence(0, spawn_key=(stream,)))
    return rng.multinomial(count, np.full(count, 1 / count), RESAMPLES) / count


def _percentiles(mean: float, means: Float[np.ndarray, " resamples"]) -> Interval:
    with np.errstate(invalid="ignore"):
        low, high = np.percentile(means, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return Interval(float(mean), float(low), float(high))
