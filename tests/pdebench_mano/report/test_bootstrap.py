"""Intervals against normal theory, where errors are the sum of an effect of the seed and one of the sample."""

import numpy as np
import pytest

from pdebench_mano.report.bootstrap import RESAMPLES, SAMPLES, difference, draws, interval

NORMAL = 2 * 1.959964
"""Width of a 95 % interval of a normal law, in standard deviations."""

TOLERANCE = 0.06
"""Two and a half standard deviations of the distance of two percentiles of as many resamples."""


def effects(seeds, samples, *, of_seeds=0.03, of_samples=0.2, rng=0):
    """Effects with exactly these standard deviations, divisors `seeds` and `samples`."""
    rng = np.random.default_rng(rng)
    drawn = rng.standard_normal(seeds), rng.standard_normal(samples)
    a, b = ((each - each.mean()) / (each.std() or 1) for each in drawn)
    return of_seeds * a, of_samples * b


def crossed(*sides, **options):
    a, b = effects(*sides, **options)
    return 1 + a[:, None] + b[None]


def width(found):
    return found.high - found.low


@pytest.mark.parametrize("of_seeds", [0.0, 0.02, 0.1])
def test_the_width_is_that_of_the_crossed_design(of_seeds):
    seeds, samples = 30, 120
    found = interval(crossed(seeds, samples, of_seeds=of_seeds))
    expected = NORMAL * np.sqrt(of_seeds**2 / seeds + 0.2**2 / samples)
    assert found.mean == pytest.approx(1)
    assert width(found) == pytest.approx(expected, rel=TOLERANCE)


def test_seeds_that_agree_leave_the_bootstrap_over_samples():
    (errors,) = crossed(1, 50)
    resamples = np.random.default_rng(np.random.SeedSequence(0, spawn_key=(SAMPLES,))).multinomial(
        50, np.full(50, 1 / 50), RESAMPLES
    )
    plain = np.percentile([np.repeat(errors, counts).mean() for counts in resamples], [2.5, 97.5])
    assert interval(np.tile(errors, (5, 1)))[1:] == pytest.approx(plain, rel=1e-12)
    assert interval(errors[None])[1:] == pytest.approx(plain, rel=1e-12)


def test_of_a_difference_the_samples_cancel_and_the_seeds_of_each_do_not():
    a, b = effects(25, 80)
    other, _ = effects(40, 80, of_seeds=0.05, rng=1)
    found = difference(1.5 + a[:, None] + b, 1 + other[:, None] + b)
    assert found.mean == pytest.approx(0.5)
    assert width(found) == pytest.approx(NORMAL * np.sqrt(0.03**2 / 25 + 0.05**2 / 40), rel=TOLERANCE)
    alone = difference((1.5 + b)[None], (1 + b)[None])
    assert width(alone) < 1e-12, "of one seed each, only the samples vary"


def test_intervals_cover_the_mean_of_the_population_and_those_over_samples_alone_do_not():
    """Crossed effects and noise, drawn 200 times: 95 % is within two standard errors of the share that is covered."""
    rng, covered = np.random.default_rng(5), np.zeros(2)
    for _ in range(200):
        a, b, noise = rng.normal(0, 0.05, (20, 1)), rng.normal(0, 0.2, (1, 60)), rng.normal(0, 0.05, (20, 60))
        errors = a + b + noise
        for which, each in enumerate((errors, errors[:1])):
            found = interval(each)
            covered[which] += found.low <= 0 <= found.high
    assert 0.92 <= covered[0] / 200 <= 0.98
    assert covered[1] / 200 < 0.85


def test_an_interval_is_the_same_every_time():
    errors = np.array([[0.1, 0.2, 0.4, 0.8], [0.2, 0.2, 0.3, 0.9]])
    assert interval(errors) == pytest.approx((0.3875, 0.175, 0.725))
    draws.cache_clear()
    assert interval(errors) == pytest.approx((0.3875, 0.175, 0.725))


def test_errors_that_are_not_finite_have_no_interval():
    assert np.isnan(interval(np.array([[0.1, np.inf, 0.3], [0.2, 0.1, 0.1]]))[1:]).all()
