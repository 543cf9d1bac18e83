"""Pairs of fields that people bring, of an equation that nobody told, go the whole way: by commands, and in a suite."""

import json
import sys

import h5py
import numpy as np
import pytest
import scipy.io
from scipy.fft import idstn

from data_gen.recipe import unsolved
from pdebench_mano.benchmark.data import locate
from pdebench_mano.benchmark.data_table import Data
from pdebench_mano.benchmark.run import run_suite
from pdebench_mano.benchmark.suite import read_suite
from pdebench_mano.cli import main
from pdebench_mano.evaluation.evaluate import solvable
from pdebench_mano.evaluation.records import find_records, kind_of, read_record

N, POINTS, T = 20, 17, 0.01


def heat():
    """Initial temperatures and sources (N, 2, n, n) of any sign, and the temperatures that come of them at `T`.

    Every sine mode of u_t = Δu + q, u = 0 on the boundary, solves an equation of its own: c e + q (1 - e) / λ.
    """
    rng = np.random.default_rng(0)
    k = np.arange(1, POINTS - 1)
    rate = np.pi**2 * (k[:, None] ** 2 + k**2)
    start, source = rng.standard_normal((2, N, POINTS - 2, POINTS - 2)) / (1 + rate / 20) ** 1.5
    decay = np.exp(-rate * T)
    modes = [start, 30 * source, start * decay + 30 * source * (1 - decay) / rate]
    fields = np.zeros((3, N, POINTS, POINTS))
    fields[:, :, 1:-1, 1:-1] = idstn(np.stack(modes), type=1, axes=(2, 3))
    return np.moveaxis(fields[:2], 0, 1), fields[2]


def npz(path):
    a, u = heat()
    np.savez(path, a=a, u=u)


def pdebench(path):
    """A stationary file in PDEBench's layout, on the centres of cells."""
    a, u = heat()
    with h5py.File(path, "w") as file:
        file["nu"], file["tensor"] = np.exp(a[:, 0]).astype("f4"), u[:, None].astype("f4")
        file["x-coordinate"] = file["y-coordinate"] = ((np.arange(POINTS) + 0.5) / POINTS).astype("f4")
        file.attrs["beta"] = 1.0


def mat(path):
    """Vorticity in the layout of NavierStokes_V1e-5_N1200_T20.mat."""
    x = np.arange(16) / 16
    rng = np.random.default_rng(0)
    phase, times = 2 * np.pi * rng.random((N, 1, 1, 1)), np.arange(1.0, 4)
    state = lambda t: np.sin(2 * np.pi * (x[:, None, None] + x[:, None]) + phase) * np.exp(-0.1 * t)  # noqa: E731
    scipy.io.savemat(path, {"a": state(0.0)[..., 0], "u": state(times), "t": times[None]})


def command(*words):
    """Run the command line in this process."""
    sys.argv = ["pdebench-mano", *map(str, words)]
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 0


METRIC = """
def bias(prediction, truth):
    return (prediction - truth).mean((1, 2, 3))
"""
SMALL = ["--operator", "fno", "--operator-args", "width=4", "modes=4", "depth=1", "--epochs", 1, "--batch-size", 8]
FILES = {
    "heat.npz": (npz, ["--split", "0.8,0.1,0.1"], {"split": [0.8, 0.1, 0.1]}, 17, []),
    "darcy.hdf5": (pdebench, ["--split", "pdebench"], {"split": "pdebench"}, 17, []),
    "vorticity.mat": (mat, ["--split", "0.8,0.1,0.1"], {"split": [0.8, 0.1, 0.1]}, 16, ["--pairs", "step"]),
}


@pytest.mark.parametrize("name", FILES)
def test_from_a_file_to_a_report(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    make, split, said, points, pairs = FILES[name]
    make(tmp_path / name)
    (tmp_path / "own.py").write_text(METRIC)
    command("convert", name, "d.ours", *split)
    assert "no solver row: the " in capsys.readouterr().out
    command("inspect", "d.ours", "--verify")
    command("train", *SMALL, *pairs, "--data", "d.ours", "--out", "run")
    command("evaluate", "run", "--data", "d.ours", "--resolutions", points, "--metric", "own.py:bias")
    assert "no solver row: the " in capsys.readouterr().err
    record = read_record(*find_records(tmp_path / "run"))
    kinds = {kind_of(row, record) for row in record.evaluations}
    assert kinds == {"operator", "persistence"} if pairs else kinds == {"operator", "mean"}
    assert all("bias" in row.errors for row in record.evaluations)
    if name == "heat.npz":  # the page takes its time
        command("report", "run", "--out", "report")
        page = (tmp_path / "report" / "report.html").read_text()
        assert "bias" in page
        assert "No solver stands beside them: the equation is unknown." in page

    training = json.dumps({"epochs": 1, "batch_size": 8} | ({"pairs": "step"} if pairs else {}))
    table = "\n".join(f"{key} = {json.dumps(value)}" for key, value in {"train": name, **said}.items())
    options = "\n".join(f"{key} = {json.dumps(value)}" for key, value in json.loads(training).items())
    (tmp_path / "s.toml").write_text(
        f'title = "t"\nresolutions = [{points}]\nmean_solution = true\nmetrics = ["own.py:bias"]\n[data]\n{table}\n'
        f'[training]\n{options}\n[[models]]\noperator = "fno"\noperator_args = {{width = 4, modes = 4, depth = 1}}\n'
    )
    records = run_suite(read_suite("s.toml"), "out", folder=tmp_path)
    kinds = {kind_of(row, record) for record in records for row in record.evaluations}
    assert kinds == {"operator", "mean"} | ({"persistence"} if pairs else set())
    assert all("bias" in row.errors for record in records for row in record.evaluations)


def test_a_metric_of_ones_own_is_part_of_the_key(tmp_path, monkeypatch):
    """Another function of that name is another benchmark; without any, the key is what it was."""
    from pdebench_mano.benchmark.cases import suite_cases

    monkeypatch.chdir(tmp_path)
    suite = 'title = "t"\nresolutions = [9]\n{}[data]\ntrain = "d"\n[[models]]\noperator = "fno"\n'
    keys = []
    for metrics, content in (
        ("", ""),
        ('metrics = ["own.py:bias"]\n', METRIC),
        ('metrics = ["own.py:bias"]\n', METRIC + "#"),
    ):
        (tmp_path / "own.py").write_text(content)
        (tmp_path / "s.toml").write_text(suite.format(metrics))
        keys += [case.key for case in suite_cases(read_suite(tmp_path / "s.toml"), "d", "digests")]
    assert len(set(keys)) == 3


def test_a_suite_says_of_two_files_what_convert_takes(tmp_path):
    """What is told of both, and the split of the one that is trained on."""
    a, u = heat()
    np.savez(tmp_path / "one.npz", k=a[:15], T=u[:15])
    np.savez(tmp_path / "two.npz", k=a[15:], T=u[15:])
    about = {"inputs": ["k"], "outputs": ["T"], "axes": "scxy,sxy", "boundary": "u = 0", "grid": "vertices"}
    lines = []
    data = Data(train="one.npz", test="two.npz", split="0.8,0.2,0", **about)
    train, test, _ = locate(data, tmp_path / "data", tmp_path, lines.append)
    assert {name: len(rows) for name, rows in train.info.splits.items()} == {"train": 12, "val": 3}
    assert (test.info.splits, test.info.samples) == ({}, 5)
    assert train.info.attributes["boundary_condition"] == "u = 0"
    assert any(line.startswith("one.npz: axes: k (sample, channel, x, y)") for line in lines)
    again = []
    locate(data, tmp_path / "data", tmp_path, again.append)
    assert again == [], "what is converted is not converted again"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "half"}, "split must be fractions as"),
        ({"split": "0.5,0.5,0", "samples": {"train": 1, "val": 1, "test": 1}}, "give samples or split, not both"),
        ({"grid": "cells"}, "Input should be 'vertices', 'left' or 'periodic'"),
    ],
)
def test_what_a_suite_cannot_say_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Data(train="d.npz", **options)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({}, "the equation is unknown"),
        ({"source": 1.0}, "the boundary condition is unknown"),
        ({"source": 1.0, "boundary": "u = 0"}, ""),
        ({"source": 1.0, "boundary": "u = 0", "grid": "left"}, "darcy is solved on vertices, and its grid is left"),
    ],
)
def test_why_no_solver_stands_there(tmp_path, said, reason):
    """A source makes Darcy flow of arrays, a boundary condition what can be solved again."""
    a, u = heat()
    np.savez(tmp_path / "d.npz", a=np.exp(a[:, 0]), u=u)
    lines = []
    train, _, _ = locate(Data(train="d.npz", **said), tmp_path / "data", tmp_path, lines.append)
    last = f"no solver row: {reason}" if reason else "are source, boundary condition and units right?"
    assert lines[-1].endswith(last), "heat is no Darcy flow"
    assert unsolved(train.info.attributes) == reason
    assert solvable(train) == (not reason), "what is said is what is so"
