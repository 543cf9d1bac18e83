"""Evaluation and its baselines: exact where theory says so, refused where it would mislead."""

import numpy as np
import pytest
import torch

from baselines.coarse_solver import CoarseSolver
from baselines.mean_solution import MeanSolution
from baselines.upsampling import points, upsample
from data_gen import Grid, build_problem, generate, solve
from data_gen.problems.darcy.scheme import MEANS
from data_gen.samples import draw
from pdebench_mano.evaluation import evaluate as evaluation
from pdebench_mano.evaluation.beside import evaluate_labels, evaluate_rivals, evaluate_solver, validate_rivals
from pdebench_mano.evaluation.evaluate import evaluate, evaluate_upsampled, held_out
from pdebench_mano.fields.data import DarcyDataset
from pdebench_mano.fields.metrics import near_jumps, relative_l2

SCHEMES = *MEANS, "refined"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "darcy.hdf5"
    generate(path, 12, 33, seed=3, split=(0.5, 0.0, 0.5))
    return path


def field(n, grid, function):
    x = torch.from_numpy(points(n, grid))
    return function(x[:, None], x[None])[None, None]


class Wrong:
    """The coarse solution, wrong by a known factor."""

    grid = "vertices"

    def predict(self, a):
        return 1.25 * CoarseSolver(build_problem("darcy"), Grid((3, 3))).predict(a)


def test_upsampling_is_fourth_order_for_a_solution_that_vanishes_at_the_boundary():
    def bump(x, y):
        return torch.sin(torch.pi * x) * torch.sin(2 * torch.pi * y)

    fine = field(641, "vertices", bump)
    errors = [relative_l2(upsample(field(n, "vertices", bump), (641, 641)), fine).item() for n in (21, 41, 81)]
    assert np.log2(np.array(errors[:-1]) / errors[1:]) == pytest.approx(4, abs=0.1)


@pytest.mark.parametrize(("grid", "coarse", "fine"), [("vertices", 9, 25), ("left", 8, 32), ("vertices", 7, 5)])
def test_upsampling_continues_linear_fields_exactly_on_either_kind_of_grid(grid, coarse, fine):
    def plane(x, y):
        return 1 + 2 * x - 3 * y + x * y

    assert upsample(field(coarse, grid, plane), (fine, fine), grid) == pytest.approx(
        field(fine, grid, plane), abs=1e-12
    )


def test_the_solver_on_the_stored_grid_reproduces_the_labels(dataset):
    (row,) = evaluate_solver(dataset, [33], [33])
    assert max(row.errors["relative_l2"]) < 1e-5
    assert max(row.errors["residual"]) < 1e-3  # what rounding the solution to float32 leaves


def test_the_solver_takes_the_face_mean_of_the_labels(tmp_path):
    generate(tmp_path / "harmonic.hdf5", 2, 17, mean="harmonic", split=(0.0, 0.0, 1.0))
    (row,) = evaluate_solver(tmp_path / "harmonic.hdf5", [17], [17])
    assert max(row.errors["relative_l2"]) < 1e-5
    assert max(row.errors["residual"]) < 1e-3


def test_each_rival_stands_beside_refined_labels_and_the_one_to_quote_is_chosen_on_validation(tmp_path):
    """Inclusions of high contrast: harmonic means are the nearest to labels of a finer grid."""
    path = tmp_path / "d.hdf5"
    generate(path, 8, 33, law="inclusions", mean="auto", split=(0.5, 0.25, 0.25), label_refinement=4)
    rows = evaluate_rivals(path, [33], [33])
    errors = {row.model: row.mean() for row in rows}
    assert {row.kind for row in rows} == {"solver"}
    assert list(errors) == [f"solver, {mean}" for mean in SCHEMES]
    assert min(errors, key=errors.get) == "solver, harmonic"
    trials = validate_rivals(path, [17, 33])
    assert len(trials) == 10
    best = min(trials, key=lambda trial: trial["validation"])["configuration"]
    assert best == {"solver": "harmonic", "resolution": 33}
    (row,) = evaluate_rivals(path, [33], [33], schemes=["harmonic"])
    assert row.errors == rows[1].errors
    assert trials[3]["validation"] != pytest.approx(row.mean(), rel=1e-3), "these are the test samples"


def test_no_rival_solves_on_a_finer_grid_than_the_labels_were_solved_on(tmp_path):
    path = tmp_path / "d.hdf5"
    generate(path, 8, 17, mean="auto", split=(0.5, 0.25, 0.25), label_refinement=2)
    at = {n: [row.model.split(" at ")[0] for row in evaluate_rivals(path, [n], [17])] for n in (9, 17)}
    assert at == {9: [f"solver, {scheme}" for scheme in SCHEMES], 17: [f"solver, {mean}" for mean in MEANS]}
    tried = [tuple(trial["configuration"].values()) for trial in validate_rivals(path, [9, 17])]
    assert ("refined", 9) in tried
    assert ("refined", 17) not in tried


def test_a_solver_that_fails_is_left_out_in_a_line_and_ends_nothing(tmp_path, capsys):
    """Three points a side are too few for the rows of the sides."""
    generate(tmp_path / "w.hdf5", 3, 21, problem="helmholtz", omega=12, split=(0.0, 0.4, 0.6))
    rows = evaluate_rivals(tmp_path / "w.hdf5", [3, 11], [21])
    assert [(row.model, row.computed_at) for row in rows] == [("solver, five-point", 11), ("solver, fourth-order", 11)]
    trials = validate_rivals(tmp_path / "w.hdf5", [3, 11])
    assert [trial["configuration"]["resolution"] for trial in trials] == [11, 11]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert "solver, five-point on 3×3 points is left out: squared slowness m must be" in lines[0]


def test_rivals_are_chosen_by_nothing_where_there_are_no_validation_samples(dataset):
    assert validate_rivals(dataset, [17]) == []


def test_the_coarse_solver_improves_with_its_grid(dataset):
    means = [row.mean() for row in evaluate_solver(dataset, [5, 9, 17], [33])]
    assert means[0] > 1.5 * means[1] > 2 * means[2] > 0


def test_the_label_uncertainty_is_about_the_distance_to_labels_of_a_grid_four_times_as_fine(dataset):
    rows = evaluate_labels(dataset, 2, [9, 33])
    assert [(row.resolution, row.computed_at) for row in rows] == [(9, 65), (33, 65)]
    darcy = build_problem("darcy")
    for sample in range(2):
        label, finer = (solve(draw(darcy, Grid((n, n)), 3, 6 + sample)[0]) for n in (33, 129))
        for row, stride in zip(rows, (4, 1), strict=True):
            here = label[::stride, ::stride]
            error = np.linalg.norm(here - finer[:: 4 * stride, :: 4 * stride]) / np.linalg.norm(here)
            assert 0.4 * error < row.errors["relative_l2"][sample] < 2.5 * error


def test_upsampled_predictions_are_those_of_the_coarse_coefficient(dataset):
    (row,) = evaluate_upsampled(Wrong(), "wrong", dataset, 9, [33])
    test = DarcyDataset(dataset, "test")
    u = torch.stack([u for _, u in test])
    a = torch.stack([a for a, _ in DarcyDataset(dataset, "test", 9)])
    expected = relative_l2(upsample(Wrong().predict(a), (33, 33)), u)
    assert row.errors["relative_l2"] == pytest.approx(expected.tolist(), rel=1e-5)
    assert (row.resolution, row.computed_at) == (33, 9)


def test_only_finer_grids_are_upsampled_to(dataset):
    assert [row.resolution for row in evaluate_upsampled(Wrong(), "wrong", dataset, 17, [9, 17, 33])] == [17, 33]


def test_parts_of_the_error_add_up(dataset):
    for row in evaluate_upsampled(Wrong(), "wrong", dataset, 9, [17, 33]):
        whole = np.square(row.errors["relative_l2"])
        bands = [values for metric, values in row.errors.items() if metric.startswith("band")]
        assert np.square(bands).sum(0) == pytest.approx(whole, rel=1e-4)
        sides = [row.errors["near_jumps"], row.errors["elsewhere"]]
        assert np.square(sides).sum(0) == pytest.approx(whole, rel=1e-4)
        assert min(row.errors["near_jumps"]) > 0


def test_points_near_a_jump_are_those_within_a_fortieth_of_it():
    a = torch.full((1, 1, 121, 81), 3.0)
    a[..., 60:, :] = 12.0
    rows = near_jumps(a)[0, 0].all(1).nonzero()[:, 0]
    assert rows.tolist() == list(range(57, 63))
    smooth = torch.linspace(1, 4, 121)[None, None, :, None].expand(1, 1, 121, 81)
    assert not near_jumps(smooth).any()


def test_spectra_hold_the_energy_up_to_the_last_resolved_frequency(dataset):
    (row,) = evaluate(Wrong(), "wrong", dataset, [33])
    assert sum(row.spectra.truth) == pytest.approx(1, abs=1e-4)
    assert sum(row.spectra.prediction) == pytest.approx(1.25**2, rel=1e-4)
    assert sum(row.spectra.error) == pytest.approx(np.mean(np.square(row.errors["relative_l2"])), rel=1e-3)


def test_batches_bound_memory_and_change_nothing(dataset, monkeypatch):
    (whole,) = evaluate(Wrong(), "wrong", dataset, [17])
    monkeypatch.setattr(evaluation, "POINTS", 2 * 17**2)
    largest = 0

    class Watched(Wrong):
        def predict(self, a):
            nonlocal largest
            largest = max(largest, len(a))
            return super().predict(a)

    (parts,) = evaluate(Watched(), "wrong", dataset, [17])
    assert largest == 2
    assert parts.errors["relative_l2"] == pytest.approx(whole.errors["relative_l2"], rel=1e-6)


def test_the_test_split_is_evaluated_on_or_everything_without_one(dataset, tmp_path):
    assert list(held_out(dataset, [33])[0].samples) == list(range(6, 12))
    generate(tmp_path / "unsplit.hdf5", 3, 9, split=(1.0, 0.0, 0.0))
    (row,) = evaluate(Wrong(), "wrong", tmp_path / "unsplit.hdf5", [9])
    assert len(row.errors["relative_l2"]) == 3


def test_the_mean_solution_is_that_of_the_samples_it_is_given(dataset):
    train = DarcyDataset(dataset, "train", 17)
    mean = MeanSolution(train)
    expected = torch.stack([u for _, u in train]).double().mean(0)
    assert mean.predict(torch.ones(2, 1, 17, 17, dtype=torch.float64)) == pytest.approx(expected.expand(2, -1, -1, -1))


def test_another_kind_of_grid_is_refused(dataset):
    class Left(Wrong):
        grid = "left"

    with pytest.raises(ValueError, match=r"'left'.*'vertices'"):
        evaluate(Left(), "left", dataset, [33])


def test_a_resolution_that_is_no_stride_is_refused_before_anything_is_predicted(dataset):
    class Never(Wrong):
        def predict(self, a):
            raise AssertionError

    with pytest.raises(ValueError, match=r"resolution 20 .* 17, 33"):
        evaluate(Never(), "never", dataset, [33, 20])
