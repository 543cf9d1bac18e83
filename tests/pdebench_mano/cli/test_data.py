"""generate, inspect and convert as typed: one line for what is wrong, exit status 2, nothing overwritten."""

import json
import re
import sys

import h5py
import numpy as np
import pytest

from data_gen import read_info
from data_gen.verification import verify as findings
from pdebench_mano.cli import main


@pytest.fixture
def run(capsys, monkeypatch):
    """Run ``pdebench-mano …``; gives exit status, stdout and stderr."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["pdebench-mano", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            main()
        out = capsys.readouterr()
        return end.value.code or 0, out.out, out.err

    return run


def generated(run, out, *words):
    """Generate three samples at 17²."""
    return run("generate", "--samples", 3, "--resolution", 17, "--out", out, *words)


def test_generate_inspect_verify(run, tmp_path):
    out = tmp_path / "d.hdf5"
    options = [
        "--seed",
        4,
        "--law",
        "lognormal",
        "--law-args",
        "sigma=1.5",
        "tau=3",
        "--mean",
        "harmonic",
        "--source",
        2,
    ]
    status, text, _ = generated(run, out, *options)
    assert (status, text) == (0, f"{out} written: 3 samples of 17×17 vertices\n")
    assert generated(run, out, *options)[:2] == (0, f"{out} is already complete: 3 samples of 17×17 vertices\n")
    status, text, error = generated(run, out, *options, "--rtol", 1e-9)
    assert status == 2
    assert "rtol is 1e-10 there, 1e-09 here" in error
    status, text, _ = run("inspect", out, "--verify", "--richardson", "--json")
    summary, *estimates = map(json.loads, text.splitlines())
    assert (status, summary["verified"], summary["beta"], len(estimates)) == (0, True, 2.0, 3)
    assert json.loads(summary["law_parameters"]) == {"sigma": 1.5, "alpha": 2.0, "tau": 3}
    assert all(0 < estimate["relative_l2"] < 1 for estimate in estimates)


def test_verify_lists_offending_samples_and_exits_1(run, tmp_path):
    out = tmp_path / "d.hdf5"
    generated(run, out)
    with h5py.File(out, "r+") as file:
        file["tensor"][1, 0, 8, 8] = np.nan
        file["nu"][2, 8, 8] += 1
    status, text, _ = run("inspect", out, "--verify")
    assert status == 1
    assert re.findall(r"^sample (\d+): ", text, re.MULTILINE)[0] == "1"
    assert {finding.sample for finding in findings(out)} == {1, 2}
    status, text, _ = run("inspect", out, "--verify", "--json")
    assert {json.loads(line)["sample"] for line in text.splitlines()} == {1, 2}


def test_own_source_and_law(run, tmp_path):
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n"
        "def law(shape, rng, k=3):\n    return k + rng.random(shape)\n"
        "def source(x, y):\n    return 1 + x * y\n"
    )
    np.save(tmp_path / "f.npy", np.ones((17, 17)))
    for k, source in enumerate((f"{tmp_path}/mine.py:source", f"{tmp_path}/f.npy")):
        out = tmp_path / f"{k}.hdf5"
        words = ["--law", f"{tmp_path}/mine.py:law", "--law-args", "k=2", "--source", source]
        assert generated(run, out, *words)[0] == 0
        info = read_info(out)
        assert json.loads(info.attributes["law_parameters"]) == {"k": 2}
        assert (info.source, info.attributes["source"]) == (None, "array")
        assert list(findings(out)) == []


def test_convert_there_and_back(run, tmp_path):
    generated(run, tmp_path / "d.hdf5")
    assert run("convert", tmp_path / "d.hdf5", tmp_path / "d.pt")[0] == 0
    assert run("convert", tmp_path / "d.pt", tmp_path / "e.hdf5", "--source", 1, "--boundary", "u = 0")[0] == 0
    assert list(findings(tmp_path / "e.hdf5")) == []
    assert read_info(tmp_path / "e.hdf5").equation == read_info(tmp_path / "d.hdf5").equation
