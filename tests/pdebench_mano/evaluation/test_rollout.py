"""Rollouts and their evaluation: exact where theory says so, beside persistence, the mean and the solver."""

import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from baselines.coarse_solver import CoarseSolver
from baselines.upsampling import upsample
from data_gen import generate
from data_gen.problems.navier_stokes import NavierStokes
from data_gen.problems.navier_stokes.fourier import resampled
from pdebench_mano import RunConfig, load, rollout, train
from pdebench_mano.evaluation.assess import assess
from pdebench_mano.evaluation.beside import evaluate_labels, evaluate_persistence, evaluate_rivals, evaluate_solver
from pdebench_mano.evaluation.evaluate import evaluate, evaluate_upsampled
from pdebench_mano.evaluation.in_time import TrainingMean, time_until
from pdebench_mano.evaluation.records import read_examples, read_record, write_record
from pdebench_mano.fields.data import Dataset
from pdebench_mano.fields.metrics import relative_l2
from pdebench_mano.fields.names import FLUCTUATION, UNTIL
from pdebench_mano.fields.steps import Rollouts

OWN = Path(__file__).parents[2] / "project" / "own_problems.py"


@pytest.fixture(scope="module")
def heat(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "heat.hdf5"
    generate(path, 12, 16, problem=f"{OWN}:Heat", split=(0.5, 0.0, 0.5))
    return Dataset(path, trust=True)


@pytest.fixture(scope="module")
def flow(tmp_path_factory):
    """Flow that 16² points do not resolve."""
    path = tmp_path_factory.mktemp("data") / "flow.hdf5"
    options = {"viscosity": 1e-3, "times": [0.5, 1.0, 1.5]}
    generate(path, 4, 32, problem="navier-stokes", problem_args=options, split=(0.25, 0.25, 0.5))
    return Dataset(path)


class Diffusion:
    """One exact step of `Heat`, of which a user's own rule might be wrong by a factor."""

    grid = "periodic"

    def __init__(self, factor=1.0):
        self.factor = factor

    def predict(self, a):
        k = [torch.fft.fftfreq(n, 1 / n, dtype=torch.float64) for n in a.shape[-2:]]
        decay = torch.exp(-0.05 * 4 * torch.pi**2 * (k[0][:, None] ** 2 + k[1] ** 2) * 0.1)
        return self.factor * torch.fft.ifft2(torch.fft.fft2(a.double()) * decay).real


def test_an_exact_step_has_no_error_and_a_wrong_one_that_of_its_powers(heat):
    (row,) = evaluate(Diffusion(), "exact", heat, [16], start=0.0)
    assert max(row.errors["relative_l2"]) < 1e-5
    assert row.times == [0.1, 0.2, 0.3]
    (row,) = evaluate(Diffusion(1.1), "wrong", heat, [16], start=0.0)
    expected = [1.1**k - 1 for k in (1, 2, 3)]
    for sample in row.per_time["relative_l2"]:
        assert sample == pytest.approx(expected, rel=1e-4)
    assert row.per_time["spectrum_error"][0] == pytest.approx(expected, rel=1e-4), "amplitudes grow as the field does"
    until = 0.1 * (1 + (0.2 - expected[0]) / (expected[1] - expected[0]))
    assert row.errors[UNTIL] == pytest.approx([until] * 6, rel=1e-4)
    (row,) = evaluate(Diffusion(1.1), "wrong", heat, [16], start=0.1)
    assert row.times == [0.2, 0.3]
    assert row.per_time["relative_l2"][0] == pytest.approx(expected[:2], rel=1e-4)


def test_errors_are_stacked_over_times(heat):
    (row,) = evaluate(Diffusion(1.1), "wrong", heat, [16], start=0.0)
    with h5py.File(heat.path) as file:
        sizes = np.linalg.norm(file["tensor"][6:, :, 0], axis=(2, 3))
    errors = np.array(row.per_time["relative_l2"]) * sizes
    stacked = np.linalg.norm(errors, axis=1) / np.linalg.norm(sizes, axis=1)
    assert row.errors["relative_l2"] == pytest.approx(stacked.tolist(), rel=1e-4)
    bands = [values for metric, values in row.errors.items() if metric.startswith("band")]
    assert np.square(bands).sum(0) == pytest.approx(stacked**2, rel=1e-4)


def test_a_rollout_is_the_step_again_and_again():
    a = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    step = Diffusion(1.05)
    states = rollout(step, a, 3)
    torch.testing.assert_close(states[:, 2], step.predict(step.predict(step.predict(a))))
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        rollout(step, a, 0)


@pytest.mark.parametrize("start", [0.0, 0.2])
def test_the_solver_begins_with_the_stored_state_and_ends_with_those_after_it(heat, start):
    (row,) = evaluate_solver(heat, [16], [16], start=start)
    assert max(row.errors["relative_l2"]) < 1e-5
    assert (row.kind, row.times) == ("solver", [t for t in (0.1, 0.2, 0.3) if t > start])


def test_a_solver_that_cannot_begin_with_a_state_is_left_out(tmp_path):
    generate(tmp_path / "heated.hdf5", 2, 8, problem=f"{OWN}:Heated", split=(0.0, 0.0, 1.0))
    data = Dataset(tmp_path / "heated.hdf5", trust=True)
    (row,) = evaluate_solver(data, [8], [8], start=0.0)
    assert max(row.errors["relative_l2"]) < 1e-5
    assert evaluate_solver(data, [8], [8], start=0.5) == []


def test_rivals_solve_on_truncated_states_and_are_interpolated_by_their_fourier_series(flow):
    rows = evaluate_rivals(flow, [16], [32], start=0.5)
    assert [row.times for row in rows] == [[1.0, 1.5]] * 2
    with h5py.File(flow.path) as file:
        states = file["tensor"][2:, :, 0].astype(float)
    coarse = resampled(states[:, 0], (16, 16))[:, None]
    for rival, row in zip(flow.problem.rivals(), rows, strict=True):
        solver = CoarseSolver(rival, flow.grid, steps=2)
        u = solver.predict(torch.from_numpy(coarse).float()).double().numpy()
        there = resampled(u, (32, 32))
        error = relative_l2(*map(torch.from_numpy, (there, states[:, 1:])))
        assert row.errors["relative_l2"] == pytest.approx(error.tolist(), rel=1e-4)
        assert 1e-3 < min(error) < max(error) < 0.2


def test_periodic_fields_are_interpolated_by_their_fourier_series():
    w = torch.randn(1, 1, 15, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    fine = upsample(w, (45, 32), "periodic")
    torch.testing.assert_close(fine[..., ::3, ::2], w, msg="it passes through the values")
    w = torch.from_numpy(resampled(w.numpy(), (11, 9)))
    torch.testing.assert_close(upsample(w, (24, 20), "periodic"), torch.from_numpy(resampled(w.numpy(), (24, 20))))


def test_persistence_is_the_state_at_the_start(heat):
    (row,) = evaluate_persistence(heat, [8], start=0.1)
    with h5py.File(heat.path) as file:
        u = file["tensor"][6:, :, 0, ::2, ::2]
    expected = [np.linalg.norm(u[:, 0] - u[:, k], axis=(1, 2)) / np.linalg.norm(u[:, k], axis=(1, 2)) for k in (1, 2)]
    np.testing.assert_allclose(row.per_time["relative_l2"], np.stack(expected, 1), rtol=1e-4)
    assert row.kind == "persistence"


def test_the_training_mean_at_each_time_is_as_far_as_the_fluctuation(heat):
    config = RunConfig(operator="fno", data=str(heat.path), pairs="step")
    mean = TrainingMean(config, heat)
    truths = Rollouts(heat, "test", start=0.1)
    with h5py.File(heat.path) as file:
        expected = file["tensor"][sorted(mean.samples), 1:, 0].mean(0)
    np.testing.assert_allclose(mean.on(truths)[0], expected, atol=1e-5)

    class Mean(Diffusion):
        def predict(self, a):
            return mean.on(truths).expand(len(a), -1, -1, -1)

    (row,) = evaluate_upsampled(Mean(), "mean solution", heat, 16, [16], kind="mean", start=0.1, mean=mean)
    assert np.array(row.per_time[FLUCTUATION]) == pytest.approx(1.0, abs=1e-5)
    assert row.errors[FLUCTUATION] == pytest.approx([1.0] * 6, abs=1e-5)


def test_a_time_that_is_good_ends_where_the_error_crosses_the_threshold():
    errors = torch.tensor([[0.1, 0.3], [0.1, 0.15], [0.4, 0.5], [0.1, torch.nan], [torch.inf, torch.inf]])
    assert time_until(errors, 10.0, [11.0, 12.0]).tolist() == pytest.approx([1.5, 2.0, 0.5, 1.0, 0.0])


def test_limits_of_labels_come_to_coarser_grids_as_the_problem_brings_them(flow):
    """Both rows compare the same series, truncated alike: those on 16² are no more off than those on 32²."""
    rows = evaluate_labels(flow, 1, [16, 32], start=0.0)
    assert [row.kind for row in rows] == ["labels"] * 2
    coarse, fine = (row.errors["relative_l2"][0] for row in rows)
    assert 0 < coarse < 1.05 * fine


def test_a_run_of_steps_is_assessed_from_a_start_and_remembered(heat, tmp_path):
    options = {"operator": "fno", "operator_args": {"width": 4, "modes": 4, "depth": 1}, "data": str(heat.path)}
    train(RunConfig(**options, epochs=1, pairs="step", resolution=8), tmp_path / "run", device="cpu", trust=True)
    path = assess(tmp_path / "run", heat, [8, 16], start=0.1)
    assert path.name.endswith("-from-0.1.jsonl")
    assert path != assess(tmp_path / "run", heat, [8, 16])
    record = read_record(path)
    rows = {(row.kind, row.resolution): row for row in record.evaluations}
    assert rows.keys() >= {(kind, n) for kind in ("operator", "persistence", "solver") for n in (8, 16)}
    operator = load(tmp_path / "run", device="cpu")
    a, u = Rollouts(heat, "test", 16, start=0.1).batch(range(6))
    error = relative_l2(operator.predict(a, steps=2).flatten(1, 2), u)
    assert rows["operator", 16].errors["relative_l2"] == pytest.approx(error.tolist(), rel=1e-4)
    fields = read_examples(path)
    assert fields["times"].tolist() == pytest.approx([0.2, 0.3])
    np.testing.assert_array_equal(fields["truths"][:, -1], fields["truth"])
    write_record(record, tmp_path / "again.jsonl")
    assert (tmp_path / "again.jsonl").read_bytes() == path.read_bytes()
    assert "--start 0.1" in record.commands[1]
    assert all(command.endswith(" --trust") for command in record.commands), "what names code of one's own needs it"


def test_records_without_times_say_nothing_of_them(tmp_path):
    generate(tmp_path / "darcy.hdf5", 12, 9)
    options = {"operator": "fno", "operator_args": {"width": 4, "modes": 4, "depth": 1}, "epochs": 1}
    train(RunConfig(**options, data=str(tmp_path / "darcy.hdf5")), tmp_path / "run", device="cpu")
    path = assess(tmp_path / "run", tmp_path / "darcy.hdf5", [9])
    assert not any({"times", "per_time"} & row.keys() for row in json.loads(path.read_text())["evaluations"])
    with pytest.raises(ValueError, match=r"start=0.5 needs an operator trained with pairs='step', not 'final'"):
        assess(tmp_path / "run", tmp_path / "darcy.hdf5", [9], start=0.5)


def test_a_rival_that_blows_up_is_left_out_in_a_line(flow, monkeypatch, capsys):
    calm, other = flow.problem.rivals()
    stormy = replace(other, forcing=1e30)
    monkeypatch.setattr(NavierStokes, "rivals", lambda self: (calm, stormy))
    rows = evaluate_rivals(flow, [16], [32], start=0.5)
    assert [row.model for row in rows] == [f"solver, {calm.scheme}"]
    assert "on 16×16 points is left out: the solution does not stay finite" in capsys.readouterr().err
