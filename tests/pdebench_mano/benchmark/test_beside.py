"""Commands on one folder at the same time: a benchmark beside others of other models, its times, and its report."""

import fcntl
import os
import shlex
import subprocess
import sys
from contextlib import ExitStack

import pytest

from data_gen.storage import locked
from pdebench_mano.benchmark import run as benchmark
from pdebench_mano.cli import main
from pdebench_mano.evaluation.records import find_records, read_record
from pdebench_mano.evaluation.timing import stopwatch, throughput
from pdebench_mano.report.page import LOCK

OWN = """
import sys

from torch import nn


class Held(nn.Conv2d):
    '''Says that it is trained, and goes on when told so.'''

    begun = False

    def __init__(self, in_channels, out_channels):
        super().__init__(in_channels, out_channels, 1)

    def forward(self, a):
        if self.training and not self.begun:
            self.begun = True
            print("begun", flush=True)
            sys.stdin.readline()
        return super().forward(a)
"""

SUITE = """
title = "tiny"
resolutions = [9]

[data.generate]
samples = 12
resolution = 9
split = [0.5, 0.25, 0.25]

[training]
epochs = 1
batch_size = 4

[[models]]
operator = "own.py:Held"
name = "held"

[[models]]
operator = "unet"
operator_args = {width = 4}
"""

BENCHMARK = "benchmark suite.toml --out out"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The folder that commands are typed in."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "suite.toml").write_text(SUITE)
    return tmp_path


def run(words):
    """Run the command line in this process; returns the exit status."""
    sys.argv = ["pdebench-mano", *shlex.split(words)]
    with pytest.raises(SystemExit) as stopped:
        main()
    return stopped.value.code


def test_a_benchmark_runs_beside_one_of_other_models_and_leaves_it_what_it_has_made(place, capsys, monkeypatch):
    """A model that another command had trained meanwhile was evaluated again, and its record replaced."""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    command = [sys.executable, "-m", "pdebench_mano", *BENCHMARK.split()]
    with subprocess.Popen(command, text=True, **pipes) as first:
        assert "begun\n" in first.stdout
        assert run(f"{BENCHMARK} --only unet") == 0
        made = {path: path.read_bytes() for path in find_records(place / "out")}
        assert sorted(read_record(path).model for path in made) == ["baselines", "unet"]
        monkeypatch.setattr(stopwatch, "ROUND", 0.0)
        monkeypatch.setattr(throughput, "PASS", 0.0)
        assert run(f"{BENCHMARK} --time --only unet") == 0
        capsys.readouterr()
        assert run(f"{BENCHMARK} --only held") == 2
        said = capsys.readouterr().err
        assert "1 of 1 cases failed: held, seed 0: FileExistsError: out/runs/held-" in said
        assert "is in use by another process: try again when it has ended" in said
        _, errors = first.communicate("go on\n")
    assert first.returncode == 0, errors
    records = find_records(place / "out")
    assert sorted(read_record(path).model for path in records) == ["baselines", "held", "unet"]
    assert {path: path.read_bytes() for path in made} == made


def test_a_report_is_written_after_that_of_another_process(place, monkeypatch):
    """A benchmark that had trained for hours ended without one."""
    assert run(f"{BENCHMARK} --only unet") == 0
    (place / "out" / "report.html").unlink()
    flock, another = fcntl.flock, ExitStack()
    another.enter_context(locked(place / "out" / LOCK, place / "out"))

    def meanwhile(stream, how):
        if not how & fcntl.LOCK_NB:
            another.close()
        flock(stream, how)

    monkeypatch.setattr(fcntl, "flock", meanwhile)
    assert run(f"{BENCHMARK} --only unet") == 0
    assert (place / "out" / "report.html").exists()


def test_what_stands_beside_is_not_recorded_again_where_another_command_has(place, monkeypatch):
    """Data may take hours to make, and who waits for them comes to the same references."""
    make = benchmark.make

    def meanwhile(*files):
        make(*files)
        monkeypatch.undo()
        monkeypatch.chdir(place)
        assert run(f"{BENCHMARK} --only unet") == 0
        for path in find_records(place / "out"):
            os.utime(path, ns=(0, 0))

    monkeypatch.setattr(benchmark, "make", meanwhile)
    assert run(f"{BENCHMARK} --only unet") == 0
    assert {read_record(path).model: path.stat().st_mtime_ns for path in find_records(place / "out")} == {
        "baselines": 0,
        "unet": 0,
    }
