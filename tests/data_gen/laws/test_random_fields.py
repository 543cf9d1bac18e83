"""The random field is what it says: one function on every grid, with the stated covariance."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_gen.laws.random_fields import GaussianRandomField, cosine_series


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 20), st.integers(2, 20), st.integers(1, 30), st.integers(0, 99))
def test_one_seed_is_one_function_on_every_grid(n, m, refinement, seed):
    field = GaussianRandomField(modes=40)
    coarse = field.sample((n, m), np.random.default_rng(seed))
    fine = field.sample(((n - 1) * refinement + 1, (m - 1) * refinement + 1), np.random.default_rng(seed))
    np.testing.assert_allclose(fine[::refinement, ::refinement], coarse, atol=1e-14)


def test_series_is_the_sum_of_its_cosines():
    rng = np.random.default_rng(0)
    modes = rng.standard_normal((7, 5))
    x, y = np.linspace(0, 1, 4), np.linspace(0, 1, 9)
    cosines = [np.cos(np.pi * np.outer(points, np.arange(k))) for points, k in ((x, 7), (y, 5))]
    np.testing.assert_allclose(cosine_series(modes, (4, 9)), cosines[0] @ modes @ cosines[1].T, atol=1e-13)


@pytest.mark.parametrize(("alpha", "tau", "sigma"), [(2.0, 3.0, 1.0), (1.5, 10.0, 2.0)])
def test_covariance_is_the_closed_form_within_sampling_error(alpha, tau, sigma):
    samples, n, modes = 4000, 6, 24
    field = GaussianRandomField(alpha, tau, sigma, modes)
    rng = np.random.default_rng(1)
    g = np.stack([field.sample((n, n), rng).ravel() for _ in range(samples)])
    observed = g.T @ g / samples

    x = np.linspace(0, 1, n)
    k = np.arange(modes)
    phi = np.where(k > 0, np.sqrt(2), 1) * np.cos(np.pi * np.outer(x, k))
    eigenvalues = sigma**2 * (np.pi**2 * (k[:, None] ** 2 + k**2) + tau**2) ** -alpha
    eigenvalues[0, 0] = 0
    basis = np.einsum("ik,jl->ijkl", phi, phi).reshape(n * n, -1)
    expected = basis * eigenvalues.ravel() @ basis.T

    error = np.sqrt((np.outer(expected.diagonal(), expected.diagonal()) + expected**2) / samples)
    score = (observed - expected) / error
    assert np.abs(score).max() < 4.5
    assert 0.5 < np.mean(score**2) < 2


def test_mean_over_the_domain_is_zero_and_deviation_is_the_trace():
    field = GaussianRandomField(alpha=3.0, tau=5.0, sigma=7.0, modes=32)
    rng = np.random.default_rng(2)
    fields = np.stack([field.sample((65, 65), rng) for _ in range(600)])
    weights = np.ones(65)
    weights[[0, -1]] = 0.5
    quadrature = np.outer(weights, weights) / 64**2
    np.testing.assert_allclose((fields * quadrature).sum((1, 2)), 0, atol=1e-12)
    assert np.sqrt((fields**2 * quadrature).sum((1, 2)).mean()) == pytest.approx(field.deviation, rel=0.05)


@pytest.mark.parametrize("bad", [{"alpha": 1.0}, {"tau": -1.0}, {"sigma": 0.0}, {"modes": 1}, {"alpha": float("nan")}])
def test_parameters_that_make_no_field_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        GaussianRandomField(**bad)
