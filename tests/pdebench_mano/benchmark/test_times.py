"""The times of a suite: of the operators that it has records of, trained or not. No test reads a clock."""

import dataclasses
import shutil

import pytest
import torch

from data_gen import generate
from pdebench_mano.benchmark.run import run_suite
from pdebench_mano.benchmark.suite import read_suite
from pdebench_mano.benchmark.times import time_suite
from pdebench_mano.cli.benchmark import time_and_report
from pdebench_mano.evaluation.records import find_records, read_record, write_record
from pdebench_mano.evaluation.timing import Stopwatch, Timing, architecture, read_times, throughput, write_times
from pdebench_mano.machine.provenance import commit
from pdebench_mano.report.worth import with_times, worth

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
training.precision = "bfloat16"

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
    solved = [*((f"solver, {mean}", n) for mean in MEANS for n in (5, 9, 17)), ("solver, refined", 5)]
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


def test_untrained_operators_stand_for_weights_that_are_not_there(folder, measured, tmp_path):
    """In the precision that the records say: on another machine, which has the records alone, float32 took longer."""
    suite, said = read_suite(folder / "suite.toml"), []
    trained = list(time_suite(suite, folder / "out", CPU, folder=folder))
    assert {each.precision for each in trained if each.name == "unet"} == {"bfloat16"}
    shutil.copytree(folder / "out" / "records", tmp_path / "records")
    assert list(time_suite(suite, tmp_path, CPU, folder=folder, say=said.append)) == trained
    assert said[0] == (
        f"{tmp_path / 'runs'} has no weights of other, unet: untrained operators, which take as long, stand for them"
    )
    asked = len(measured)
    assert list(time_suite(suite, tmp_path, CPU, folder=folder)) == trained
    assert len(measured) == asked, "what was timed is not timed again"


def test_weights_are_timed_where_one_of_the_runs_of_a_model_has_them(folder, tmp_path):
    shutil.copytree(folder / "out", tmp_path / "out")
    for run in (tmp_path / "out" / "runs").glob("*-seed0-*"):
        (run / "best.pt").unlink()
    suite, said = read_suite(folder / "suite.toml"), []
    list(time_suite(suite, tmp_path / "out", CPU, folder=folder, say=said.append))
    assert said[0].startswith(f"{tmp_path / 'out' / 'runs'} has no weights of other: ")


GENERATED = """
title = "made"
resolutions = [5, 9]
rivals = [5, 9]
tune_epochs = 1

[data.generate]
samples = 8
resolution = 9
split = [0.5, 0.5, 0.0]
test_samples = 3
test_seed = 1

[training]
resolution = 5
epochs = 1

[[models]]
operator = "unet"
operator_args = {width = 4}
training.precision = "bfloat16"
tune.lr = [1e-3, 2e-3]
"""


def as_before(path):
    """An earlier version's record said nothing of the precision that errors bear."""
    record = read_record(path)
    rows = [dataclasses.replace(row, precision="") for row in record.evaluations]
    write_record(dataclasses.replace(record, evaluations=rows), path)


def test_a_published_suite_is_timed_in_a_new_folder_as_a_whole(tmp_path, monkeypatch):
    """Records were not taken over: there was nothing to time. The samples to train on are not made."""
    (tmp_path / "suite.toml").write_text(GENERATED)
    suite, published = read_suite(tmp_path / "suite.toml"), tmp_path / "published"
    run_suite(suite, published)
    for path in find_records(published):
        as_before(path)
    records = [read_record(path) for path in find_records(published)]
    known = list(time_suite(suite, published, CPU))
    elsewhere = [dataclasses.replace(each, device="another", precision="bfloat16") for each in known]
    write_times([each for each in elsewhere if (each.kind, each.resolution) == ("operator", 5)], published)
    reported = []
    monkeypatch.setattr("pdebench_mano.report.write_report", lambda paths, *_: reported.extend(paths))
    time_and_report(tmp_path / "suite.toml", tmp_path / "new", published=published)
    times = read_times(tmp_path / "new")
    assert [(each.name, each.resolution, each.precision) for each in times if each.kind == "operator"] == [
        ("unet", 5, "bfloat16"),
        ("unet", 9, "float32"),
    ], "in the precision that was found for the weights, or that of the errors of records"
    assert reported == find_records(tmp_path / "new")
    taken = [read_record(path) for path in reported]
    assert sorted(taken, key=lambda each: each.key) == sorted(records, key=lambda each: each.key)
    (made,) = {architecture(each.configuration) for each in taken if each.configuration}
    assert {each.architecture for each in times} == {made, ""}
    assert {each.device for each in times} == {CPU.name}
    found = worth(taken, times)
    assert [(each.model, each.resolution, each.device, each.operator_ms) for each in found] == [
        ("unet", n, CPU.name, 1.0) for n in (5, 9)
    ]
    filled = [
        row for each in taken for row in with_times(each, times).evaluations if row.kind in ("operator", "solver")
    ]
    assert {row.seconds for row in filled} == {1e-3}
    assert len([*(tmp_path / "published" / "data").glob("*.hdf5")]) == 2
    assert len([*(tmp_path / "new" / "data").glob("*.hdf5")]) == 1
    with pytest.raises(ValueError, match="holds no record of suite: run it without --time first"):
        time_and_report(tmp_path / "suite.toml", tmp_path / "fresh")
    assert not (tmp_path / "fresh").exists()
