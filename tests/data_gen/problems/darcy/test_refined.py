"""The rival that refines what it sees: what it guesses between points, and what that gains."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from data_gen import Grid, build_problem
from data_gen.problems.darcy import refined
from data_gen.problems.darcy.refined import FACTOR, Refined, refine
from data_gen.samples import draw

SHAPES = array_shapes(min_dims=2, max_dims=2, min_side=3, max_side=9)
PHASES = SHAPES.flatmap(lambda shape: arrays(float, shape, elements=st.sampled_from([3.0, 12.0])))
SMOOTH = SHAPES.flatmap(lambda shape: arrays(float, shape, elements=st.floats(0.5, 2)))


def guess(a, factor=FACTOR):
    return refine(torch.from_numpy(np.array(a)), factor).numpy()


@given(PHASES, st.sampled_from([3, 5, 9]))
def test_a_guess_of_two_phases_has_those_and_treats_them_alike(a, factor):
    """At an even multiple it would not: shares of one half go to the smaller one."""
    fine = guess(a, factor)
    assert set(np.unique(fine)) == set(np.unique(a))
    np.testing.assert_array_equal(guess(15 - a, factor), 15 - fine)


@given(st.one_of(PHASES, SMOOTH))
def test_a_guess_keeps_what_is_seen_and_turns_with_it(a):
    fine = guess(a)
    np.testing.assert_allclose(fine[::FACTOR, ::FACTOR], a, rtol=1e-12)
    np.testing.assert_allclose(guess(a.T), fine.T, rtol=1e-9)
    np.testing.assert_allclose(guess(a[::-1]), fine[::-1], rtol=1e-9)


def test_a_guess_of_a_sample_does_not_depend_on_its_company():
    phases, smooth = np.full((5, 6), 3.0), 1 + np.random.default_rng(0).random((5, 6))
    phases[2:, 3:] = 12
    both = guess(np.stack([phases, smooth]))
    np.testing.assert_array_equal(both[0], guess(phases))
    np.testing.assert_allclose(both[1], guess(smooth), rtol=1e-12)


def error(problem, inputs, exact):
    n, stride = inputs.shape[-1], (exact.shape[-1] - 1) // (inputs.shape[-1] - 1)
    u, exact = problem.solve(inputs, Grid((n, n))).u[0, 0], exact[::stride, ::stride]
    return np.linalg.norm(u - exact) / np.linalg.norm(exact)


def test_where_the_coefficient_is_smooth_a_third_of_the_spacing_leaves_a_ninth_of_the_error():
    x, y = Grid((385, 385)).mesh()
    a = np.exp(np.sin(3 * x) * np.cos(2 * y))[None]
    problem = build_problem("darcy", mean="geometric", law="lognormal")
    exact = problem.solve(a, Grid((385, 385))).u[0, 0]
    own, better = (error(each, a[:, ::16, ::16], exact) for each in (problem, Refined(problem)))
    assert own / better == pytest.approx(9, rel=0.1)


@pytest.mark.parametrize(("law", "gain"), [("piecewise", 1.1), ("channels", 1.1), ("lognormal", 1.2)])
def test_it_errs_less_than_the_scheme_that_it_refines(law, gain):
    problem, fine = build_problem("darcy", law=law, mean="auto"), Grid((421, 421))
    errors = []
    for i in range(4):
        a = draw(problem, fine, 1, i)
        exact = problem.solve(a, fine).u[0, 0]
        errors.append([error(each, a[:, ::5, ::5], exact) for each in (problem, Refined(problem))])
    own, better = np.mean(errors, axis=0)
    assert own > gain * better


def test_a_device_has_the_solutions_of_one_after_another_in_batches_that_the_finer_grid_allows(monkeypatch):
    problem, grid = Refined(build_problem("darcy")), Grid((9, 9))
    sizes = []
    solving = type(problem.flow).on_device

    def on_device(self, finer, **options):
        solve = solving(self, finer, **options)
        return lambda a: (sizes.append(tuple(a.shape)), solve(a))[1]

    monkeypatch.setattr(type(problem.flow), "on_device", on_device)
    monkeypatch.setattr(refined, "samples_at_once", lambda finer: 2048 // finer.points)
    a = np.stack([draw(problem.flow, grid, 0, i) for i in range(5)])
    u = problem.on_device(grid)(torch.from_numpy(a))
    assert sizes == [(3, 1, 25, 25), (2, 1, 25, 25)]
    for each, solution in zip(a, u.numpy(), strict=True):
        np.testing.assert_allclose(solution, problem.solve(each, grid).u[0], rtol=1e-12, atol=1e-15)


def test_a_problem_without_a_solver_for_the_device_has_none_refined():
    assert Refined(build_problem("darcy", method="direct")).on_device(Grid((9, 9)), device="cuda") is None


@pytest.mark.parametrize(
    ("law", "mean"),
    [("piecewise", "geometric"), ("channels", "harmonic"), ("mixture", "harmonic"), ("unknown", "geometric")],
)
def test_its_mean_is_the_one_that_suits_the_law_whatever_made_the_labels(law, mean):
    *own, last = build_problem("darcy", law=law, mean="arithmetic").rivals()
    assert last.scheme == "refined"
    assert last.flow == next(each for each in own if each.scheme == mean)


def test_a_coefficient_that_is_none_is_refused():
    with pytest.raises(ValueError, match="coefficient"):
        Refined(build_problem("darcy")).solve(np.full((1, 5, 5), -1.0), Grid((5, 5)))
