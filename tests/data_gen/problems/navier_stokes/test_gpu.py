"""The batched formulation, on the CPU or on a GPU where there is one, against the scheme of single samples."""

import numpy as np
import pytest
import torch

from data_gen import Grid, build_problem
from data_gen.problems import navier_stokes
from data_gen.problems.navier_stokes import gpu
from data_gen.samples import draw

DEVICE = "cuda" if torch.cuda.is_available() else "cpu:0"


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    """Two samples on 32² points."""
    monkeypatch.setattr(gpu, "POINTS_PER_BATCH", 2 * 32**2)


def samples(problem, grid, count=3):
    """Of one law, but of different strength, so that each takes another number of steps."""
    return np.stack([(1 + i) * draw(problem, grid, 0, i) for i in range(count)])


@pytest.mark.parametrize("shape", [(32, 32), (33, 18)])
@pytest.mark.parametrize(
    "parameters", [{}, {"refinement": 2}, {"dealiased": False}, {"viscosity": 1e-2, "forcing": 1.0}], ids=str
)
def test_both_formulations_are_one_scheme(shape, parameters):
    grid, problem = Grid(shape, "periodic"), build_problem("navier-stokes", times=(0.5, 1.0), **parameters)
    a = samples(problem, grid)
    for one, other in zip(problem.solve_batch(a, grid, device=DEVICE), map(problem.solve, a, [grid] * 3), strict=True):
        np.testing.assert_allclose(one.u, other.u, atol=1e-11)
        assert one.evidence == pytest.approx(other.evidence, rel=1e-3)
        assert one.accepted_by == other.accepted_by == "step"


def test_single_precision_is_single_and_close():
    grid = Grid((32, 32), "periodic")
    problem = build_problem("navier-stokes", times=(1.0,))
    rival = problem.rivals()[0]
    a = samples(problem, grid)
    batch, truth = rival.solve_batch(a, grid, device=DEVICE), [problem.solve(each, grid).u for each in a]
    scheme = rival._discretised(grid)
    w = scheme.start(np.ones((32, 17), complex))
    assert scheme.step(w, 0.1, scheme.decay(0.1)).dtype == np.complex64
    assert gpu.Batch(scheme, 1, torch.device(DEVICE)).step() is None
    for one, other, exact in zip(batch, map(rival.solve, a, [grid] * 3), truth, strict=True):
        np.testing.assert_allclose(one.u, other.u, atol=1e-5)
        assert np.abs(one.u - other.u).max() > 1e-8
        assert np.linalg.norm(one.u - exact) < 1e-2 * np.linalg.norm(exact)


@pytest.mark.parametrize("shape", [(32, 32), (33, 18)])
def test_what_lies_on_the_device_is_solved_for_as_what_does_not(shape):
    """Timed solvers sent every state through the memory of the CPU, which operators beside them did not."""
    grid = Grid(shape, "periodic")
    for rival in build_problem("navier-stokes", times=(0.5, 1.0)).rivals():
        a = samples(rival, grid)
        there = rival.trajectories_on_device(grid, device=DEVICE)
        found = there(torch.from_numpy(a).to(DEVICE)).cpu().numpy()
        for one, other in zip(found, rival.solve_batch(a, grid, device=DEVICE), strict=True):
            np.testing.assert_allclose(one, other.u, atol=1e-5)
        a[1] *= 1e6
        assert np.isfinite(there(torch.from_numpy(a).to(DEVICE)).cpu().numpy()).all((1, 2, 3, 4)).tolist() == [1, 0, 1]


def test_a_sample_does_not_depend_on_its_company(monkeypatch):
    monkeypatch.setattr(navier_stokes, "BATCHES", 1)
    grid, problem = Grid((32, 32), "periodic"), build_problem("navier-stokes", times=(1.0, 2.0))
    a = samples(problem, grid, 4)
    together = problem.solve_batch(a, grid, device=DEVICE)
    for order in ([3], [2, 0], [1, 3, 2]):
        for i, found in zip(order, problem.solve_batch(a[order], grid, device=DEVICE), strict=True):
            np.testing.assert_array_equal(found.u, together[i].u)
            assert found.evidence == together[i].evidence


def test_one_that_needs_more_steps_gets_them_and_one_that_fails_is_none():
    grid, problem = Grid((16, 16), "periodic"), build_problem("navier-stokes", times=(1.0,), turn=1.0)
    a = samples(problem, grid, 4)
    a[2] *= 1e6
    found = problem.solve_batch(a, grid, rtol=1e-7, device=DEVICE)
    assert [each is None for each in found] == [False, False, True, False]
    plain = problem.solve_batch(a, grid, rtol=1e-2, device=DEVICE)
    assert max(plain[i].evidence for i in (0, 1, 3)) > 1e-7
    for i in (0, 1, 3):
        assert found[i].evidence <= 1e-7
        np.testing.assert_allclose(found[i].u, problem.solve(a[i], grid, rtol=1e-7).u, atol=1e-11)
    assert problem.solve_batch(a[:1], grid, rtol=1e-16, device=DEVICE) == [None]
