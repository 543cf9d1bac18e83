"""The problem: what it draws, how it comes to coarser grids, what it refuses, what its check finds, its files."""

from dataclasses import replace

import h5py
import numpy as np
import pytest

from data_gen import Grid, build_problem, generate, read_info
from data_gen.contract import alterations, stored
from data_gen.problems.helmholtz import volume_means
from data_gen.problems.helmholtz.speeds import SPEEDS, unit_field
from data_gen.samples import draw
from data_gen.verification import verify


def distance(u, truth):
    """‖u - t‖ / ‖t‖."""
    return np.linalg.norm(u - truth) / np.linalg.norm(truth)


def test_speeds_lie_between_one_and_two_and_a_piecewise_one_has_two_values():
    grid = Grid((65, 65))
    for law in SPEEDS:
        m = np.stack([draw(build_problem("helmholtz", law=law), grid, 0, i) for i in range(4)])
        assert m.min() >= 0.25
        assert m.max() <= 1
        assert (len(np.unique(m)) == 2) == (law == "piecewise")
    assert set(np.unique(draw(build_problem("helmholtz", law="piecewise"), grid, 0, 0))) == {0.25, 1.0}


@pytest.mark.parametrize(("alpha", "tau"), [(4.0, 7.0), (2.0, 3.0)])
def test_the_field_behind_a_speed_has_mean_zero_and_variance_one(alpha, tau):
    grid = Grid((33, 33))
    fields = np.stack([unit_field(alpha, tau).sample((33, 33), np.random.default_rng(i)) for i in range(400)])
    assert (fields * grid.weights()).sum((1, 2)) == pytest.approx(0, abs=1e-2)
    assert (fields**2 * grid.weights()).sum((1, 2)).mean() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(("fine", "coarse"), [(421, 85), (421, 211), (421, 43), (13, 5), (9, 9)])
def test_control_volumes_keep_the_integral(fine, coarse):
    means, h = volume_means(fine, coarse), [Grid((n, 2)).weights().sum(1) for n in (fine, coarse)]
    np.testing.assert_allclose(h[1] @ means, h[0], atol=1e-15)
    np.testing.assert_allclose(means.sum(1), 1)
    assert (means >= 0).all()


def test_slowness_comes_to_a_coarser_grid_by_its_mean_and_waves_by_every_other_point():
    problem, grid, coarse = build_problem("helmholtz"), Grid((9, 13)), Grid((5, 7))
    field = np.random.default_rng(0).standard_normal((2, 9, 13))
    means = problem.restrict(field, grid, coarse, "input")
    inner, edge, corner = field[:, 1:4, 1:4], field[:, :2, 1:4], field[:, :2, :2]
    weights = np.array([0.25, 0.5, 0.25]), np.array([2, 1]) / 3
    np.testing.assert_allclose(means[:, 1, 1], np.einsum("cij,i,j", inner, weights[0], weights[0]))
    half = np.array([0.5, 0.5])
    np.testing.assert_allclose(means[:, 0, 1], np.einsum("cij,i,j", edge, half, weights[0]))
    np.testing.assert_allclose(means[:, 0, 0], np.einsum("cij,i,j", corner, half, half))
    np.testing.assert_array_equal(problem.restrict(field, grid, coarse, "output"), field[:, ::2, ::2])
    for what in ("input", "output"):
        with pytest.raises(ValueError, match="resolution 6 is no exact stride"):
            problem.restrict(field, grid, Grid((6, 7)), what)


def test_the_mean_of_a_piecewise_slowness_is_worth_several_samples_of_it():
    problem, grid, coarse = build_problem("helmholtz", law="piecewise"), Grid((161, 161)), Grid((33, 33))
    errors = {"mean": 0.0, "sample": 0.0}
    for i in range(3):
        m = draw(problem, grid, 0, i)
        truth = problem.restrict(problem.solve(m, grid).u, grid, coarse, "output")
        for way, what in (("mean", "input"), ("sample", "output")):
            errors[way] += distance(problem.solve(problem.restrict(m, grid, coarse, what), coarse).u, truth)
    assert errors["mean"] < 0.5 * errors["sample"]


def test_rivals_are_both_schemes_and_the_labels_beat_five_points():
    problem, grid = build_problem("helmholtz", omega=40), Grid((129, 129))
    rivals = {rival.scheme: rival for rival in problem.rivals()}
    assert set(rivals) == {"five-point", "fourth-order"}
    assert rivals["fourth-order"] == problem
    assert rivals["five-point"].order == 2
    m, coarse = draw(problem, grid, 0, 0), Grid((65, 65))
    truth = problem.solve(m, grid).u[..., ::2, ::2]
    errors = {name: distance(rival.solve(m[:, ::2, ::2], coarse).u, truth) for name, rival in rivals.items()}
    assert errors["fourth-order"] < 0.05 * errors["five-point"]


@pytest.mark.parametrize(("grid", "count"), [(Grid((33, 33)), 8), (Grid((33, 20)), 4)])
def test_symmetries_of_the_shape_take_solutions_to_solutions(grid, count):
    problem = build_problem("helmholtz", law="piecewise")
    m = draw(problem, grid, 0, 1)
    u = problem.solve(m, grid).u[0]
    maps = problem.symmetries(grid)
    assert len({(each.axes, each.flips) for each in maps}) == count
    for each in maps:
        image = np.stack([each.apply(part) for part in u])
        assert distance(problem.solve(each.apply(m[0])[None], grid).u[0], image) < 1e-10


def test_the_conjugate_is_no_solution():
    problem, grid = build_problem("helmholtz"), Grid((33, 33))
    m = draw(problem, grid, 0, 0)
    u = problem.solve(m, grid).u
    assert problem.residual(m, u, grid) < 1e-11
    assert problem.residual(m, u * np.array([1, -1])[:, None, None], grid) > 0.1


@pytest.mark.parametrize("scheme", ["five-point", "fourth-order"])
@pytest.mark.parametrize("law", SPEEDS)
def test_check_finds_what_is_wrong_and_nothing_else(law, scheme):
    problem, grid = build_problem("helmholtz", law=law, scheme=scheme, omega=40), Grid((85, 85))
    m = draw(problem, grid, 0, 0)
    found = problem.solve(m, grid)
    u = stored(found.u)
    assert list(problem.check(m, u, grid, found.evidence, problem.rtol)) == []
    for words, altered in alterations(problem, u):
        assert any(problem.check(m, stored(altered), grid, found.evidence, problem.rtol)), words
    (amplitude, balance) = problem.check(m, 1.2 * u, grid, found.evidence, problem.rtol)
    assert "the residual is" in amplitude
    assert "power is out of balance" in balance
    u[0, 0, 40, 41] += 1e-4 * np.abs(u).max()
    assert any(problem.check(m, u, grid, found.evidence, problem.rtol))


def test_a_label_of_another_frequency_law_or_medium_is_found():
    problem, grid = build_problem("helmholtz"), Grid((33, 33))
    m, other = (draw(problem, grid, 0, i) for i in (0, 1))
    found = problem.solve(m, grid)
    u = stored(found.u)
    for wrong, medium in (
        (replace(problem, omega=20.01), m),
        (replace(problem, scheme="five-point"), m),
        (problem, other),
    ):
        assert any(wrong.check(medium, u, grid, found.evidence, problem.rtol))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"omega": 0}, "omega must be a number of at least 12, .*, got 0"),
        ({"omega": -40.0}, "omega must be a number of at least 12"),
        ({"omega": 11}, "ends before the sides, got 11"),
        ({"omega": np.inf}, "got inf"),
        ({"law": "lognormal"}, "law must be one of smooth, piecewise, rough, got 'lognormal'"),
        ({"mean": "harmonic"}, "its arguments are omega, law, scheme"),
    ],
)
def test_parameters_out_of_range_are_named(parameters, message):
    with pytest.raises(ValueError, match=message) as caught:
        build_problem("helmholtz", **parameters)
    assert "\n" not in str(caught.value)


def test_labels_need_ten_points_a_wave_and_rivals_do_not(tmp_path):
    problem, grid = build_problem("helmholtz", omega=40), Grid((43, 43))
    for resolution in (43, 64):
        with pytest.raises(ValueError, match="resolution must be at least 65 for omega = 40, 10 points a wave"):
            generate(tmp_path / "d.hdf5", 2, resolution, problem=problem)
    assert not (tmp_path / "d.hdf5").exists()
    assert problem.solve(draw(problem, grid, 0, 0), grid).evidence < 1e-11
    problem.fits(Grid((65, 65)), 2)


@pytest.mark.parametrize(
    ("m", "rtol", "message"),
    [
        (np.zeros((1, 9, 9)), None, "must be positive"),
        (np.full((1, 9, 9), np.nan), None, "must be finite"),
        (np.full((1, 9, 9), 1 + 0j), None, "must be real"),
        (np.ones((1, 9, 8)), None, "shape of its grid"),
        (np.ones((1, 9, 9)), 2.0, "rtol must lie between 0 and 1, got 2"),
    ],
)
def test_bad_input_of_a_solve_is_named(m, rtol, message):
    with pytest.raises(ValueError, match=message):
        build_problem("helmholtz").solve(m, Grid((9, 9)), rtol=rtol)


def test_a_killed_file_and_one_of_two_workers_are_the_same_file(tmp_path):
    def kill(done, total):
        if done >= 4:
            raise KeyboardInterrupt

    arguments = {"samples": 6, "resolution": 33, "problem": "helmholtz", "law": "rough", "shard_size": 2}
    whole, killed, shared = (tmp_path / name for name in ("whole.hdf5", "killed.hdf5", "shared.hdf5"))
    info = generate(whole, **arguments)
    with pytest.raises(KeyboardInterrupt):
        generate(killed, **arguments, progress=kill)
    generate(killed, **arguments)
    generate(shared, **arguments, workers=2)
    assert whole.read_bytes() == killed.read_bytes() == shared.read_bytes()
    assert list(verify(whole)) == []
    assert read_info(whole).parameters == {"omega": 20.0, "law": "rough", "scheme": "fourth-order"} == info.parameters
    with h5py.File(whole) as file:
        assert file["tensor"].shape == (6, 2, 33, 33)
        assert file.attrs["restriction"] == "volume mean"
        assert file["quality/evidence"][:].max() <= 1e-11
