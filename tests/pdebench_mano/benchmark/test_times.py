"""The times of a suite: of what lies in its folder, and of nothing else. No test reads a clock."""

import dataclasses

import pytest
import torch

from data_gen import generate
from pdebench_mano.benchmark.run import run_suite
from pdebench_mano.benchmark.suite import read_suite
from pdebench_mano.benchmark.times import time_suite
from pdebench_mano.evaluation.timing import Stopwatch, Timing, read_times, throughput
from pdebench_mano.machine.provenance import commit

SUITE = """
title = "tiny"
resolutions = [9, 17]
seeds = [0, 1]
budgets = [{epochs = 1}, {epochs = 2, seeds = [0]}]
coarse_solver = [5]

[data]
train = "darcy.hdf5"

[training]
resolution = 9
batch_size = 4

[[models]]
operator = "unet"
operator_args = {width = 4}

[[models]]
name = "other"
operator = "orthogonal-mlp"
operator_args = {resolution = 9, width = 8}
resolutions = [9]
seeds = [0]
"""
CPU = Stopwatch(torch.device("cpu"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a finished suite in ``out``."""
    folder = tmp_path_factory.mktemp("suite")
    generate(folder / "darcy.hdf5", 12, 17, seed=4, split=(0.5, 0.25, 0.25))
    (folder / "suite.toml").write_text(SUITE)
    run_suite(read_suite(folder / "suite.toml"), folder / "out", folder=folder)
    return folder


@pytest.fixture(autouse=True)
def measured(monkeypatch):
    """What was asked to be timed; all of it takes a millisecond."""
    asked = []

    def measure(contender, watch):
        asked.append((contender.about.name, contender.about.resolution, contender.largest))
        rest = {"rtol": None, "batch": 1, "latency_ms": 1.0, "throughput_ms": 1.0, "spread": 0.0, "repeats": 5}
        return Timing(**contender.about._asdict(), **rest, busy=False, commit=commit())

    monkeypatch.setattr(throughput, "measure", measure)
    return asked


MEANS = ("arithmetic", "harmonic", "geometric", "average")


def names(asked):
    return [(name, n) for name, n, _ in asked]


def test_a_model_is_timed_once_where_it_is_evaluated_and_solvers_where_they_stand_beside_it(folder, measured):
    suite = read_suite(folder / "suite.toml")
    times = list(time_suite(suite, folder / "out", CPU, folder=folder))
    solved = [(f"solver, {mean}", n) for mean in MEANS for n in (5, 9, 17)]
    assert names(measured) == [("other", 9), ("unet", 9), ("unet", 17), *solved, ("labels", 17)]
    assert read_times(folder / "out") == times
    assert {largest for name, _, largest in measured if name not in ("unet", "other")} == {1}
    measured.clear()
    assert list(time_suite(suite, folder / "out", CPU, folder=folder)) == times
    assert measured == []


def test_what_is_not_in_the_folder_is_not_timed_and_nothing_is_trained(folder, measured, tmp_path, monkeypatch):
    monkeypatch.setattr("pdebench_mano.benchmark.cases.train", None)
    suite = read_suite(folder / "suite.toml")
    list(time_suite(suite, tmp_path, CPU, folder=folder))
    assert names(measured) == [*((f"solver, {mean}", n) for mean in MEANS for n in (9, 17)), ("labels", 17)]
    measured.clear()
    again = dataclasses.replace(CPU, repeats=99)
    list(time_suite(suite, folder / "out", again, folder=folder, only=["other"]))
    assert names(measured)[:2] == [("other", 9), ("solver, arithmetic", 5)]
    with pytest.raises(ValueError, match="no model is called fno: this suite has unet, other"):
        time_suite(suite, folder / "out", CPU, folder=folder, only=["fno"])
