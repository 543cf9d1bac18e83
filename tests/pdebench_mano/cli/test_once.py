"""A dataset file is opened and checked once by a command, and a file of the user's own executed once."""

import json
import os
import shlex
import sys
from collections import Counter
from pathlib import Path

import pytest
from h5py._hl import files

from data_gen import generate
from data_gen.card import write_card
from pdebench_mano.cli import main

FNO = (
    "--operator fno --operator-args width=4 depth=1 modes=4 --data darcy.hdf5 --resolution 9 --epochs 1 --batch-size 4"
)

SUITE = """
title = "tiny"
resolutions = [9, 17]
seeds = [0, 1]
mean_solution = true
coarse_solver = [5, 9]

[data]
train = "darcy.hdf5"

[training]
resolution = 9
epochs = 1
batch_size = 4

[[models]]
operator = "fno"
operator_args = {width = 4, depth = 1, modes = 4}
tune.lr = [1e-3, 1e-2]
"""

OWN = """
from pathlib import Path

from torch import nn

with Path("executed").open("a") as log:
    log.write("once\\n")


class Own(nn.Conv2d):
    def __init__(self, in_channels, out_channels):
        super().__init__(in_channels, out_channels, 3, padding=1)
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a dataset, a suite and an operator, to work in."""
    monkeypatch.chdir(tmp_path)
    generate("darcy.hdf5", 12, 17, split=(0.5, 0.25, 0.25))
    write_card(Path("darcy.hdf5"))
    Path("suite.toml").write_text(SUITE)
    Path("own.py").write_text(OWN)
    return tmp_path


@pytest.fixture
def opened(monkeypatch):
    """How often each file was opened."""
    count, open_file = Counter(), files.make_fid

    def counting(name, *arguments, **named):
        count[Path(os.fsdecode(name)).name] += 1
        return open_file(name, *arguments, **named)

    monkeypatch.setattr(files, "make_fid", counting)
    return count


def command(words):
    sys.argv = ["pdebench-mano", *shlex.split(words)]
    with pytest.raises(SystemExit) as stopped:
        main()
    assert not stopped.value.code


@pytest.mark.parametrize(
    "words",
    [
        "inspect darcy.hdf5 --verify --richardson",
        "convert darcy.hdf5 new.pt --split test",
        "generate --samples 12 --resolution 17 --split 0.5,0.25,0.25 --out darcy.hdf5",
        f"train {FNO} --out new",
        "evaluate run --data darcy.hdf5 --resolutions 5,9,17",
        "report run --out new",
        "benchmark suite.toml --out new",
    ],
    ids=lambda words: words.split()[0],
)
def test_a_dataset_is_opened_once(place, opened, words):
    command(f"train {FNO} --out run")
    opened.clear()
    command(words)
    assert opened["darcy.hdf5"] == 1


def test_a_dataset_is_opened_once_for_the_times_of_a_suite(place, opened, monkeypatch):
    """Data and records were looked up for the report, and again for the times."""
    command("benchmark suite.toml --out new")
    opened.clear()
    monkeypatch.setattr("pdebench_mano.cli.timing.show", lambda times: None)
    command("benchmark suite.toml --out new --time")
    assert opened["darcy.hdf5"] == 1


def test_an_operator_of_ones_own_is_executed_once(place):
    command("train --operator own.py:Own --data darcy.hdf5 --resolution 9 --epochs 1 --out run")
    assert Path("executed").read_text() == "once\n"
    assert json.loads(Path("run/summary.json").read_text())["parameters"] == 10
