"""Solvers agree with each other, and return only what their residual proves."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_gen.laws.lognormal import LogNormal
from data_gen.laws.phases import Piecewise
from data_gen.laws.shapes import Inclusions
from data_gen.problems.darcy import solvers
from data_gen.problems.darcy.scheme import FACE_MEANS, MEANS, magnitude, matrix, relative_residual, residual
from data_gen.problems.darcy.solvers import NotConverged, estimated_iterations, solve, solve_verified

LAWS = [Piecewise(), LogNormal(1.0), LogNormal(3.0), Inclusions(100.0)]


@pytest.mark.parametrize("law", LAWS, ids=lambda law: type(law).__name__)
@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize("shape", [(65, 65), (40, 81)])
def test_methods_agree(law, mean, shape):
    a = law(shape, np.random.default_rng(3))
    f = np.random.default_rng(4).standard_normal(shape)
    for source in (1.0, f):
        direct, cg = (solve(a, source, method=method, mean=mean) for method in ("direct", "cg"))
        assert np.linalg.norm(direct - cg) <= 1e-9 * np.linalg.norm(direct)


@settings(max_examples=40, deadline=None)
@given(st.integers(3, 24), st.integers(3, 24), st.integers(0, 2**32 - 1), st.floats(0, 8), st.sampled_from(FACE_MEANS))
def test_any_positive_coefficient_is_solved(n, m, seed, contrast, mean):
    a = 10 ** np.random.default_rng(seed).uniform(0, contrast, (n, m))
    solution = solve_verified(a, mean=mean)
    assert solution.residual == relative_residual(a, solution.u, mean=mean)
    assert solution.residual <= 1e-10 or solution.accepted_by == "floor"
    assert solution.u.min() >= -1e-9 * solution.u.max()


def two_phase(n, contrast, rng):
    """Each vertex 1 or `contrast`."""
    return np.where(rng.random((n, n)) < 0.5, contrast, 1.0)


@pytest.mark.parametrize(
    "a",
    [
        pytest.param(two_phase(129, 1e6, np.random.default_rng(0)), id="point by point, two values"),
        pytest.param(10 ** np.random.default_rng(0).uniform(0, 6, (129, 129)), id="point by point, continuous"),
        pytest.param(Piecewise(1e6, 1.0)((129, 129), np.random.default_rng(0)), id="two phases"),
        pytest.param(Inclusions(1e6)((129, 129), np.random.default_rng(0)), id="discs"),
        pytest.param(Inclusions(1e-6)((129, 129), np.random.default_rng(0)), id="barriers"),
    ],
)
@pytest.mark.parametrize("mean", FACE_MEANS)
def test_contrast_of_a_million(a, mean):
    solution = solve_verified(a, mean=mean)
    floor = solvers.FLOOR * np.linalg.norm(magnitude(a, solution.u, mean))
    assert np.linalg.norm(residual(a, solution.u, 1.0, mean)) <= max(1e-10 * 127, floor)
    assert solution.accepted_by == ("rtol" if solution.residual <= 1e-10 else "floor")


def test_iterations_depend_on_the_contrast_and_not_on_the_grid():
    iterations = [
        solve_verified(Piecewise()((n, n), np.random.default_rng(0)), method="cg").iterations
        for n in (33, 65, 129, 257)
    ]
    assert max(iterations) <= 26


def test_scaled_preconditioner_is_chosen_where_it_pays(monkeypatch):
    for law, scaled in (
        (LogNormal(1.0), True),
        (LogNormal(0.25), True),
        (Piecewise(), False),
        (Inclusions(1e4), False),
    ):
        a = law((65, 65), np.random.default_rng(0))
        assert estimated_iterations(a, matrix(a), 1e-10)[1] is scaled
        taken = solve_verified(a, method="cg").iterations
        with monkeypatch.context() as patch:
            patch.setattr(solvers, "estimated_iterations", lambda *_: (0.0, not scaled))  # noqa: B023
            assert solve_verified(a, method="cg").iterations > taken


def test_an_average_is_that_of_two_solutions_with_the_worse_evidence():
    a = 10 ** np.random.default_rng(3).uniform(0, 3, (21, 34))
    one, two = (solve_verified(a, 2.0, mean=mean) for mean in ("arithmetic", "harmonic"))
    found = solve_verified(a, 2.0, mean="average")
    np.testing.assert_allclose(found.u, (one.u + two.u) / 2, rtol=1e-14, atol=0)
    assert found.residual == max(one.residual, two.residual)


def checkerboard(contrast):
    """Random vertices of 65² that conduct `contrast` times as well as the others."""
    return two_phase(65, contrast, np.random.default_rng(0))


@pytest.mark.parametrize("contrast", [1e12, 1e14, 1e16])
@pytest.mark.parametrize("mean", FACE_MEANS)
def test_the_floor_of_float64_is_no_excuse_for_a_field_that_solves_nothing(contrast, mean):
    """Some residuals of these were accepted at the floor: .017, 1.3, 919."""
    with suppress(NotConverged):
        assert solve_verified(checkerboard(contrast), mean=mean).residual <= 1e-6
    assert solve_verified(checkerboard(1e6), mean=mean).residual <= 1e-6


@pytest.mark.parametrize("method", ["direct", "cg"])
@pytest.mark.parametrize(("of_a", "of_f"), [(2.0**-700, 1.0), (1.0, 2.0**-700), (2.0**700, 2.0**700)])
@pytest.mark.parametrize("mean", FACE_MEANS)
def test_the_solution_scales_with_source_and_coefficient_to_the_last_bit(method, mean, of_a, of_f):
    """u(ca, df) = (d/c) u(a, f): squares of either used to vanish, and u = 0 had a residual of 0."""
    a = Piecewise()((17, 12), np.random.default_rng(0))
    scaled = solve_verified(of_a * a, of_f, method=method, mean=mean)
    unscaled = solve_verified(a, method=method, mean=mean)
    np.testing.assert_array_equal(scaled.u, unscaled.u * (of_f / of_a))
    assert scaled.residual == unscaled.residual


def test_a_missed_tolerance_raises(monkeypatch):
    monkeypatch.setattr(solvers, "CG_ITERATIONS", 5)
    with pytest.raises(NotConverged, match="after 5 iterations"):
        solve(Piecewise()((33, 33), np.random.default_rng(0)), method="cg")
    assert solve_verified(Piecewise()((33, 33), np.random.default_rng(0)), method="auto").method == "direct"


def test_no_source_no_solution():
    assert not solve(np.ones((9, 9)), 0.0).any()


@pytest.mark.parametrize(
    ("a", "options", "message"),
    [
        (np.full((9, 9), np.nan), {}, "finite"),
        (np.zeros((9, 9)), {}, "positive"),
        (-np.ones((9, 9)), {}, "positive"),
        (np.ones((9, 2)), {}, "n, m ≥ 3"),
        (np.ones((9, 9)), {"rtol": 0.0}, "rtol"),
        (np.ones((9, 9)), {"method": "magic"}, "auto, direct, cg"),
        (np.ones((9, 9)), {"f": np.ones((8, 9))}, "source f"),
        (np.ones((9, 9)), {"f": np.inf}, "source f"),
    ],
)
def test_bad_input_is_named(a, options, message):
    with pytest.raises(ValueError, match=message):
        solve(a, **options)
