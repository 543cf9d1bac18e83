"""The scheme: exact where the flow is known, conservative, of order 4 in time."""

from itertools import pairwise

import numpy as np
import pytest

from data_gen import Grid, build_problem
from data_gen.problem import NotConverged
from data_gen.problems.navier_stokes.fourier import analysed, evaluated, resampled, wavenumbers
from data_gen.problems.navier_stokes.scheme import Scheme, intervals

PI = np.pi


def waves(grid, numbers):
    """Σ cos 2π(kx + ly + phase), another phase for each."""
    x, y = grid.mesh()
    return sum(np.cos(2 * PI * (k * x + l * y) + i) for i, (k, l) in enumerate(numbers))  # noqa: E741


@pytest.mark.parametrize("shape", [(24, 24), (32, 27)])
@pytest.mark.parametrize("numbers", [[(1, 1), (1, -1)], [(3, 4), (5, 0), (-4, 3), (0, 5)]])
def test_waves_of_one_length_decay_and_do_not_interact(shape, numbers):
    """Taylor & Green 1937: w is a function of ψ."""
    grid, viscosity = Grid(shape, "periodic"), 2e-3
    problem = build_problem("navier-stokes", viscosity=viscosity, forcing=0.0, times=(0.5, 1.25))
    w = waves(grid, numbers)
    u = problem.solve(w[None], grid).u[:, 0]
    square = sum(k**2 for k in numbers[0])
    exact = [np.exp(-4 * PI**2 * square * viscosity * t) * w for t in problem.times]
    np.testing.assert_allclose(u, exact, atol=1e-12)


def test_from_rest_the_force_drives_a_laminar_flow():
    grid, viscosity = Grid((16, 12), "periodic"), 1e-3
    problem = build_problem("navier-stokes", viscosity=viscosity, times=(1.0, 4.0))
    x, y = grid.mesh()
    f, rate = 0.1 * (np.sin(2 * PI * (x + y)) + np.cos(2 * PI * (x + y))), 8 * PI**2 * viscosity
    u = problem.solve(np.zeros((1, 16, 12)), grid, rtol=1e-12).u[:, 0]
    np.testing.assert_allclose(u, [f * (1 - np.exp(-rate * t)) / rate for t in problem.times], atol=1e-13)


@pytest.mark.parametrize(("dealiased", "conserved"), [(True, True), (False, False)])
def test_advection_conserves_energy_and_enstrophy_where_no_product_is_aliased(dealiased, conserved):
    scheme = Scheme((30, 24), 0.0, 0.0, dealiased)
    w = scheme.start(analysed(np.random.default_rng(0).standard_normal((30, 24))))
    k, l = wavenumbers(scheme.shape)  # noqa: E741
    stream = w / np.maximum(k**2 + l**2, 1)
    gained, *fields = (evaluated(c, scheme.shape) for c in (scheme.tendency(w), w, stream))
    for field in fields:
        change = abs((field * gained).mean()) / np.sqrt((field**2).mean() * (gained**2).mean())
        assert (change < 1e-14) == conserved


def test_an_unforced_flow_is_the_same_seen_in_a_mirror():
    """(x, y) → (y, x) reverses the sign of w; the two grids have their sides exchanged."""
    problem = build_problem("navier-stokes", viscosity=1e-3, forcing=0.0, times=(1.0,))
    grid, turned = Grid((32, 20), "periodic"), Grid((20, 32), "periodic")
    w = problem.draw(grid, np.random.default_rng(0), 0)
    u, v = problem.solve(w, grid).u, problem.solve(-w.transpose(0, 2, 1), turned).u
    np.testing.assert_allclose(v[0, 0].T, -u[0, 0], atol=1e-12)
    assert np.abs(u[0, 0] - w[0]).max() > 0.1


@pytest.mark.parametrize("viscosity", [1e-5, 1e-2])
def test_order_4_in_time(viscosity):
    scheme, ends = Scheme((32, 32), viscosity, 0.1), []
    problem = build_problem("navier-stokes")
    w = scheme.start(analysed(4 * problem.draw(Grid((32, 32), "periodic"), np.random.default_rng(1), 0)[0]))
    for count in (8, 16, 32, 64):
        end, decay = w, scheme.decay(1 / count)
        for _ in range(count):
            end = scheme.step(end, 1 / count, decay)
        ends.append(end)
    errors = [np.linalg.norm(a - b) for a, b in pairwise(ends)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(4, abs=0.4)
    assert np.log2(errors[1] / errors[2]) == pytest.approx(4, abs=0.2)


def test_the_estimated_error_is_the_error():
    problem, grid = build_problem("navier-stokes", times=(0.5, 1.0)), Grid((24, 24), "periodic")
    w = 4 * problem.draw(grid, np.random.default_rng(1), 0)
    coarse, fine = problem.solve(w, grid, rtol=1e-4), problem.solve(w, grid, rtol=1e-9)
    assert fine.evidence <= 1e-9
    error = np.linalg.norm(coarse.u - fine.u) / np.linalg.norm(fine.u)
    assert coarse.evidence == pytest.approx(error, rel=0.3)


def test_stopping_between_units_of_time_changes_nothing():
    grid, often = Grid((16, 16), "periodic"), (0.25, 1.0, 1.5, 2.0)
    w = build_problem("navier-stokes").draw(grid, np.random.default_rng(0), 0)
    u, v = (build_problem("navier-stokes", times=times).solve(w, grid, rtol=1e-9).u for times in (often, (2.0,)))
    np.testing.assert_allclose(u[-1], v[0], atol=1e-8)
    assert intervals((0.25, 2.5)) == [(0.25, True), (0.75, False), (1.0, False), (0.5, True)]


def test_what_is_not_stable_ends_and_is_said():
    grid = Grid((16, 16), "periodic")
    w = build_problem("navier-stokes").draw(grid, np.random.default_rng(0), 0)
    with pytest.raises(NotConverged, match="does not stay finite, or takes more than 10000 steps"):
        build_problem("navier-stokes").solve(1e6 * w, grid)
    with pytest.raises(NotConverged, match="does not stay finite"):
        build_problem("navier-stokes", courant=100.0, turn=100.0).solve(100 * w, grid)
    with pytest.raises(NotConverged, match=r"estimated as .*, more than 1e-16"):
        build_problem("navier-stokes", times=(0.1,)).solve(w, grid, rtol=1e-16)


def test_between_grids_what_both_resolve_is_kept():
    grids = [Grid(shape, "periodic") for shape in ((12, 9), (30, 16), (7, 8))]
    coarse, fine, other = (1 + waves(grid, [(1, 2), (-3, 3), (0, 1)]) for grid in grids)
    np.testing.assert_allclose(resampled(coarse, (30, 16)), fine, atol=1e-14)
    np.testing.assert_allclose(resampled(fine, (7, 8)), other, atol=1e-14)
    beyond = waves(grids[1], [(6, 0), (0, 5), (4, -4)])
    np.testing.assert_allclose(resampled(fine + beyond, (7, 8)), other, atol=1e-14)
    assert resampled(fine, (30, 16)) is fine
