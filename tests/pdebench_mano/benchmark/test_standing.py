"""References of a suite in shares: stopped, resumed, shared among workers, they are those of one run."""

import dataclasses
import math
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from data_gen import generate
from pdebench_mano.benchmark import standing
from pdebench_mano.benchmark.references import Share, read_share, write_share
from pdebench_mano.benchmark.run import run_suite
from pdebench_mano.benchmark.suite import read_suite
from pdebench_mano.evaluation.records import Evaluation, Spectra, find_records, read_record, write_record
from pdebench_mano.machine.workers import Workers

SUITE = """
title = "tiny"
resolutions = [9, 17]
rivals = [5, 9]
mean_solution = true

[data]
train = "darcy.hdf5"

[training]
resolution = 9
epochs = 1
batch_size = 4

[[models]]
operator = "fno"
operator_args = {width = 4, modes = 4, depth = 1}
"""
SHARES = 10
"""Five schemes on two grids."""


@pytest.fixture
def suite(tmp_path, monkeypatch):
    """A suite with rivals, in the folder of its data, which is where commands are typed."""
    monkeypatch.chdir(tmp_path)
    generate("darcy.hdf5", 12, 17, seed=4, split=(0.5, 0.25, 0.25))
    return read_suite(write(SUITE))


def write(text):
    """The file of a suite."""
    path = Path("suite.toml")
    path.write_text(text)
    return path


def references(out):
    """Rows, trials and samples of the one record of references."""
    (record,) = (each for each in map(read_record, find_records(Path(out))) if each.model == "baselines")
    return dataclasses.replace(record, commands=[], environment={})


@contextmanager
def two_threads():
    """Workers in this process."""
    with ThreadPoolExecutor(2) as executor:
        yield Workers(executor, lambda: 2)


def test_solvers_that_were_stopped_go_on_and_leave_what_one_run_leaves(suite, monkeypatch):
    """A quarter of an hour of solving was lost with the command."""
    run_suite(suite, "whole")
    share_of, asked = standing.share_of, []

    def stopped(references, scheme, grid, *rest):
        asked.append((scheme, grid))
        if len(asked) == 4:
            raise KeyboardInterrupt
        return share_of(references, scheme, grid, *rest)

    monkeypatch.setattr(standing, "share_of", stopped)
    with pytest.raises(KeyboardInterrupt):
        run_suite(suite, "parts")
    shares = [*Path("parts/runs").glob("*.json")]
    assert len(shares) == 3
    write_share(dataclasses.replace(read_share(shares[0]), source="another version", rows=[]), shares[0])
    run_suite(suite, "parts")
    assert len(asked) == SHARES + 2, "asked again are that which was stopped and that of another version alone"
    assert references("parts") == references("whole")
    assert not [*Path("parts/runs").glob("baselines*")], "the record holds them"


def test_references_alone_are_shared_by_workers_and_told_of_in_one_line(suite):
    run_suite(suite, "whole")
    Path("parts/records").mkdir(parents=True)
    for path in find_records(Path("whole")):
        if read_record(path).model == "fno":
            Path("parts/records", path.name).write_bytes(path.read_bytes())
    said = []
    run_suite(suite, "parts", workers=two_threads, say=said.append)
    assert said == ["[1/1] references"]
    assert references("parts") == references("whole")


def test_a_solver_that_cannot_be_asked_fails_the_references_alone(suite, monkeypatch):
    share_of = standing.share_of

    def broken(references, scheme, *rest):
        return 1 / 0 if scheme == "harmonic" else share_of(references, scheme, *rest)

    monkeypatch.setattr(standing, "share_of", broken)
    expected = r"1 of 2 cases failed: references: solver, harmonic at [59]²: ZeroDivisionError: division by zero"
    with pytest.raises(ValueError, match=expected):
        run_suite(suite, "out", workers=two_threads)
    assert [read_record(path).model for path in find_records(Path("out"))] == ["fno"]


def test_references_from_before_a_solver_are_kept_and_said_to_lack_it(suite):
    """Published references were shown without it, and nothing said so."""
    suite = read_suite(write(SUITE.replace('train = "darcy.hdf5"', "generate = {samples = 12, resolution = 17}")))
    run_suite(suite, "out")
    (path,) = Path("out/records").glob("baselines*.jsonl")
    whole, said = read_record(path), []
    run_suite(suite, "out", say=said.append)
    assert not said
    older = [row for row in whole.evaluations if row.model != "solver, refined"]
    write_record(dataclasses.replace(whole, evaluations=older), path)
    run_suite(suite, "out", say=said.append)
    assert [line for line in said if str(path) in line] == [
        f"{path} is from before solver, refined: to make it anew, remove it and add --fresh"
    ]
    path.unlink()
    run_suite(suite, "out")
    assert references("out").evaluations == whole.evaluations


def test_a_share_comes_back_and_what_is_something_else_is_named(tmp_path):
    path = tmp_path / "share.json"
    row = Evaluation("solver, average", 9, 5, {"relative_l2": [0.1, math.inf]}, Spectra([1.0], [1.0], [0.5]))
    share = Share([row], [{"configuration": {"solver": "average", "resolution": 5}, "validation": 0.1}], "this")
    write_share(share, path)
    assert read_share(path) == share
    path.write_text('{"rows": 1}')
    with pytest.raises(ValueError, match=r"share\.json is damaged, or another program's: rows: Input should be"):
        read_share(path)
