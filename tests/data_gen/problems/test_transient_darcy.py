"""Transient Darcy flow: the exponential of its matrix on the way, and Darcy flow in the end."""

import numpy as np
import pytest
from scipy.linalg import eigh

from data_gen import Grid, build_problem
from data_gen.problem import NotConverged
from data_gen.problems.darcy.scheme import matrix


def drawn(problem, n):
    """A coefficient on n² vertices."""
    grid = Grid((n, n))
    return problem.draw(grid, np.random.default_rng(0), 0), grid


@pytest.mark.parametrize("times", [(0.001, 0.002, 0.003), (1e-6, 0.01, 0.011)])
def test_solutions_are_those_of_the_matrix_exponential(times):
    problem = build_problem("transient-darcy", law="lognormal", source=2.0, times=times)
    a, grid = drawn(problem, 9)
    rates, modes = eigh(matrix(a[0]).toarray())
    forced = modes.T @ np.full(rates.size, 2.0)
    for t, u in zip(times, problem.solve(a, grid).u, strict=True):
        truth = modes @ (-np.expm1(-rates * t) / rates * forced)
        assert np.linalg.norm(u[0, 1:-1, 1:-1].ravel() - truth) < 1e-9 * np.linalg.norm(truth)


@pytest.mark.parametrize("mean", ["arithmetic", "harmonic", "geometric"])
def test_the_steady_state_is_darcy_flow(mean):
    problem = build_problem("transient-darcy", mean=mean, times=(0.02, 0.3))
    a, grid = drawn(problem, 33)
    label = build_problem("darcy", mean=mean).solve(a, grid).u[0, 0]
    early, late = (np.linalg.norm(u[0] - label) / np.linalg.norm(label) for u in problem.solve(a, grid).u)
    assert late < 1e-9
    assert early > 0.01


def test_contours_that_disagree_are_no_solution():
    problem = build_problem("transient-darcy")
    with pytest.raises(NotConverged, match="two contours are"):
        problem.solve(*drawn(problem, 9), rtol=1e-12)
