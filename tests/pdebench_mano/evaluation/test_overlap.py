"""No sample that was trained on is tested on: each command refuses it, however another file of it was made."""

import runpy
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from data_gen import convert, generate
from pdebench_mano import RunConfig, train
from pdebench_mano.benchmark import leaderboard
from pdebench_mano.benchmark.run import run_suite
from pdebench_mano.benchmark.suite import read_suite
from pdebench_mano.cli import main
from pdebench_mano.evaluation.records import find_records, read_record, write_record

SPLIT = (0.5, 0.25, 0.25)
FNO = {"width": 4, "depth": 1, "modes": 4}
SUITE = """
title = "tiny"
resolutions = [9, 17]
{data}
[training]
resolution = 9
epochs = 1
[[models]]
operator = "fno"
operator_args = {{width = 4, depth = 1, modes = 4}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run on the first nine of twelve samples, and files that hold some of them."""
    folder = tmp_path_factory.mktemp("overlap")
    data = folder / "data.hdf5"
    generate(data, 12, 17, seed=3, split=SPLIT)
    generate(folder / "size.hdf5", 8, 17, seed=3, split=(0.0, 0.0, 1.0))
    generate(folder / "grid.hdf5", 12, 33, seed=3, split=(0.0, 0.0, 1.0))
    generate(folder / "mean.hdf5", 12, 17, seed=3, mean="harmonic", split=(0.0, 0.0, 1.0))
    generate(folder / "rtol.hdf5", 12, 17, seed=3, rtol=1e-6, split=(0.0, 0.0, 1.0))
    convert(data, folder / "copy.pt", split="train")
    convert(folder / "copy.pt", folder / "copy.hdf5", grid="vertices")
    config = RunConfig(operator="fno", operator_args=FNO, data=str(data), resolution=9, epochs=1)
    train(config, folder / "run", device="cpu")
    return folder


def command(*words):
    """Run the command line in this process."""
    sys.argv = ["pdebench-mano", *map(str, words)]
    with pytest.raises(SystemExit) as stopped:
        main()
    return stopped.value.code


def refused(capsys):
    lines = capsys.readouterr().err.strip().splitlines()
    return len(lines) == 1 and "was trained or validated on" in lines[0]


FILES = ["size", "grid", "mean", "rtol", "copy"]


@pytest.mark.parametrize("name", FILES)
def test_evaluate_refuses(folder, capsys, name):
    words = ["evaluate", folder / "run", "--data", folder / f"{name}.hdf5", "--resolutions", 17]
    assert command(*words, *["--split", "all"] * (name == "copy")) == 2
    assert refused(capsys)
    assert find_records(folder / "run") == []


def test_samples_of_another_seed_and_those_held_out_are_tested_on(folder, tmp_path):
    shutil.copytree(folder / "run", tmp_path / "run")
    generate(tmp_path / "other.hdf5", 3, 17, seed=4, split=(0.0, 0.0, 1.0))
    for data in (folder / "data.hdf5", tmp_path / "other.hdf5"):
        assert command("evaluate", tmp_path / "run", "--data", data, "--resolutions", 17) == 0


def test_a_file_without_a_test_split_is_refused_unless_asked_for(folder, tmp_path, capsys):
    generate(tmp_path / "other.hdf5", 3, 17, seed=4, split=(1.0, 0.0, 0.0))
    shutil.copytree(folder / "run", tmp_path / "run")
    words = ["evaluate", tmp_path / "run", "--data", tmp_path / "other.hdf5", "--resolutions", 17]
    assert command(*words) == 2
    assert "no test split: --split all" in capsys.readouterr().err
    assert command(*words, "--split", "all") == 0
    (path,) = find_records(tmp_path / "run")
    assert read_record(path).split == "all"
    assert command("report", tmp_path / "run", "--out", tmp_path / "report") == 0
    assert "all samples of a file without a test split" in (tmp_path / "report" / "report.html").read_text()


@pytest.mark.parametrize("name", FILES)
def test_a_benchmark_refuses_before_it_trains(folder, tmp_path, capsys, name):
    suite = tmp_path / "suite.toml"
    data = f'[data]\ntrain = "{folder / "data.hdf5"}"\ntest = "{folder / name}.hdf5"\n'
    suite.write_text(SUITE.format(data=data))
    assert command("benchmark", suite, "--out", tmp_path / "out") == 2
    assert refused(capsys)
    assert not (tmp_path / "out" / "runs").exists()


def recorded(folder, place):
    """The run with a record of its test samples."""
    shutil.copytree(folder / "run", place)
    assert command("evaluate", place, "--data", folder / "data.hdf5", "--resolutions", "9,17") == 0
    (path,) = find_records(place)
    return path, read_record(path)


def test_a_report_refuses_a_record_of_training_samples(folder, tmp_path, capsys):
    path, record = recorded(folder, tmp_path / "run")
    write_record(replace(record, samples=[5, 10, 11]), path)
    capsys.readouterr()
    assert command("report", tmp_path / "run", "--out", tmp_path / "report") == 2
    assert refused(capsys)


def test_a_record_of_other_weights_is_not_the_runs(folder, tmp_path, capsys):
    path, record = recorded(folder, tmp_path / "run")
    write_record(replace(record, weights="f" * 64), path)
    capsys.readouterr()
    assert command("report", tmp_path / "run", "--out", tmp_path / "report") == 2
    assert "is of other weights than" in capsys.readouterr().err


def test_data_that_were_replaced_are_not_what_the_run_was_trained_on(folder, tmp_path, capsys):
    shutil.copy(folder / "data.hdf5", tmp_path / "data.hdf5")
    config = RunConfig(operator="fno", operator_args=FNO, data=str(tmp_path / "data.hdf5"), resolution=9, epochs=1)
    train(config, tmp_path / "run", device="cpu")
    (tmp_path / "data.hdf5").unlink()
    generate(tmp_path / "data.hdf5", 12, 17, seed=8, split=SPLIT)
    assert command("report", tmp_path / "run", "--out", tmp_path / "report") == 2
    assert "is not what" in capsys.readouterr().err


def test_a_leaderboard_refuses_a_run_that_has_seen_its_samples(folder, tmp_path, monkeypatch, capsys):
    suite = tmp_path / "tiny.toml"
    suite.write_text(
        SUITE.format(data="[data.generate]\nsamples = 12\nresolution = 17\nseed = 3\nsplit = [0.5, 0.25, 0.25]\n")
    )
    run_suite(read_suite(suite), tmp_path / "tiny")
    monkeypatch.setattr(leaderboard, "PUBLISHED", tmp_path)
    publish = runpy.run_path(str(Path(__file__).parents[3] / "benchmarks" / "publish.py"))
    publish["samples"]("tiny").write(tmp_path / "tiny" / "samples.json")
    _, record = recorded(folder, tmp_path / "honest")
    assert command("leaderboard", "--suite", "tiny", "--add", tmp_path / "honest") == 0
    generate(tmp_path / "larger.hdf5", 16, 17, seed=3, split=(1.0, 0.0, 0.0))
    config = RunConfig(operator="fno", operator_args=FNO, data=str(tmp_path / "larger.hdf5"), resolution=9, epochs=1)
    train(config, tmp_path / "seen", device="cpu")
    write_record(replace(record, weights=""), tmp_path / "seen" / "records" / "copied.jsonl")
    capsys.readouterr()
    assert command("leaderboard", "--suite", "tiny", "--add", tmp_path / "seen") == 2
    assert refused(capsys)
