"""The scheme: second order, symmetric positive definite, conservative."""

import numpy as np
import pytest
import scipy.sparse.linalg as spla
from hypothesis import given, settings
from hypothesis import strategies as st

from data_gen.laws import build_law
from data_gen.problems.darcy.scheme import (
    FACE_MEANS,
    MEANS,
    apply,
    magnitude,
    matrix,
    outflow,
    relative_residual,
    residual,
)
from data_gen.problems.darcy.solvers import solve

PI = np.pi


def vertices(n, m):
    """Coordinates of an (n, m) grid."""
    return np.meshgrid(np.linspace(0, 1, n), np.linspace(0, 1, m), indexing="ij")


def manufactured(n, m):
    """a, f and u with -∇·(a∇u) = f: u = sin πx sin 2πy, a = 2 + cos πx · y."""
    x, y = vertices(n, m)
    a = 2 + np.cos(PI * x) * y
    u = np.sin(PI * x) * np.sin(2 * PI * y)
    flow_x = -PI * np.sin(PI * x) * y * PI * np.cos(PI * x) * np.sin(2 * PI * y)
    flow_y = np.cos(PI * x) * 2 * PI * np.sin(PI * x) * np.cos(2 * PI * y)
    return a, a * 5 * PI**2 * u - flow_x - flow_y, u


def observed_order(errors):
    """Slope of log error against log spacing, halved each time."""
    return -np.polyfit(np.arange(len(errors)), np.log2(errors), 1)[0]


@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize("aspect", [(1, 1), (1, 2), (3, 1)])
def test_scheme_is_second_order(mean, aspect):
    errors = []
    for k in (8, 16, 32, 64):
        a, f, u = manufactured(k * aspect[0] + 1, k * aspect[1] + 1)
        errors.append(np.linalg.norm(solve(a, f, mean=mean) - u) / np.linalg.norm(u))
    assert observed_order(errors) == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("case", [0, 1])
def test_golden_solutions_at_second_order(golden, case):
    with np.load(golden / "darcy_smooth.npz") as archive:
        reference = dict(archive)
    errors = []
    for n in (17, 33, 65, 129):
        x, y = vertices(n, n)
        a = np.exp(np.sin(2 * PI * x) * np.cos(2 * PI * y)) if case == 0 else 1 + x + 2 * y**2
        f = 1.0 if case == 0 else np.sin(PI * x) * np.exp(y)
        truth = reference[f"case{case}/u{n}"]
        errors.append(np.linalg.norm(solve(a, f) - truth) / np.linalg.norm(truth))
    assert 1.9 < observed_order(errors) < 2.1


@pytest.mark.parametrize("method", ["direct", "cg"])
def test_poisson_on_65(method):
    assert solve(np.ones((65, 65)), method=method).max() == pytest.approx(0.0736571854907924, abs=1e-12)


def test_harmonic_mean_keeps_the_flux_across_a_jump_exactly():
    """In one dimension, -(a u')' = 0 between 0 and 1 with a jump midway between vertices has a piecewise linear u."""
    n = 10
    x = np.linspace(0, 1, n)
    a = np.where(x < 0.5, 1.0, 9.0)
    flux = 1 / (0.5 / 1 + 0.5 / 9)
    u = np.where(x < 0.5, flux * x, 1 - flux * (1 - x) / 9)
    strip = (np.outer(v, np.ones(4)) for v in (a, u))
    np.testing.assert_allclose(apply(*strip, "harmonic"), 0, atol=1e-11)


def test_geometric_mean_of_a_checkerboard_is_what_it_conducts_as_a_whole():
    """Dykhne 1971: two phases that are mixed alike conduct √(ab); on the finest board every face lies between them."""
    board = np.where(np.indices((17, 12)).sum(0) % 2, 2.0, 18.0)
    np.testing.assert_allclose(solve(board, mean="geometric"), solve(np.full((17, 12), 6.0)), rtol=1e-9)


@pytest.mark.parametrize(
    ("law", "arguments", "better", "factor"),
    [
        ("piecewise", {}, "geometric", 0.7),
        ("piecewise", {}, "average", 0.7),
        ("inclusions", {"contrast": 1e3}, "harmonic", 0.4),
        ("lognormal", {"sigma": 2.0}, "geometric", 0.6),
    ],
)
def test_a_mean_that_suits_the_law_is_nearer_to_the_equation(law, arguments, better, factor):
    """At 43², against a grid 8 times as fine."""
    errors = {better: 0.0, "arithmetic": 0.0}
    for seed in range(2):
        fine = build_law(law, arguments)((337, 337), np.random.default_rng(seed))
        truth = solve(fine, mean="average", rtol=1e-8)[::8, ::8]
        for mean in errors:
            errors[mean] += float(np.linalg.norm(solve(fine[::8, ::8], mean=mean) - truth) / np.linalg.norm(truth))
    assert errors[better] < factor * errors["arithmetic"]


coefficients = st.tuples(st.integers(3, 9), st.integers(3, 9), st.integers(0, 2**32 - 1), st.floats(0, 6))


@settings(max_examples=40, deadline=None)
@given(coefficients, st.sampled_from(FACE_MEANS))
def test_matrix_is_the_scheme_and_symmetric_positive_definite(case, mean):
    n, m, seed, contrast = case
    rng = np.random.default_rng(seed)
    a = 10 ** rng.uniform(0, contrast, (n, m))
    u = np.zeros((n, m))
    u[1:-1, 1:-1] = rng.standard_normal((n - 2, m - 2))
    dense = matrix(a, mean).toarray()
    scale = np.abs(dense).max()
    np.testing.assert_allclose(dense @ u[1:-1, 1:-1].ravel(), apply(a, u, mean).ravel(), atol=1e-13 * scale * 5)
    np.testing.assert_array_equal(dense, dense.T)
    np.linalg.cholesky(dense)
    np.testing.assert_allclose(
        np.abs(dense) @ np.abs(u[1:-1, 1:-1].ravel()), magnitude(a, u, mean).ravel(), rtol=1e-12, atol=1e-12 * scale
    )


@settings(max_examples=30, deadline=None)
@given(coefficients, st.sampled_from(FACE_MEANS))
def test_fluxes_balance_to_round_off_for_any_field(case, mean):
    n, m, seed, contrast = case
    rng = np.random.default_rng(seed)
    a, u = 10 ** rng.uniform(0, contrast, (n, m)), rng.standard_normal((n, m))
    out, total = outflow(a, u, mean)
    scheme = apply(a, u, mean)
    assert abs(out - scheme.sum()) <= 1e-13 * (total + np.abs(magnitude(a, u, mean)).sum())


def test_what_flows_out_is_what_the_source_gives():
    rng = np.random.default_rng(0)
    a, f = rng.uniform(1, 9, (33, 41)), rng.standard_normal((33, 41))
    out, total = outflow(a, solve(a, f, rtol=1e-13))
    assert out == pytest.approx(f[1:-1, 1:-1].sum(), abs=1e-11 * total)


def test_residual_sees_a_single_wrong_value():
    a = np.random.default_rng(0).uniform(1, 9, (17, 17))
    u = solve(a)
    assert relative_residual(a, u) < 1e-10
    u[8, 8] *= 1 + 1e-6
    assert relative_residual(a, u) > 1e-7
    assert np.count_nonzero(np.abs(residual(a, u)) > 1e-8) == 5


def test_largest_eigenvalue_is_bounded_by_gershgorin():
    a = np.random.default_rng(0).uniform(1, 9, (20, 20))
    A = matrix(a)
    top = spla.eigsh(A.tocsc(), k=1, return_eigenvectors=False)[0]
    assert top <= 2 * A.diagonal().max()
