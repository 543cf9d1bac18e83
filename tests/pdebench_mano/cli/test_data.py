"""generate, inspect and convert as typed: one line for what is wrong, exit status 2, nothing overwritten."""

import json
import re
import shlex
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import h5py
import numpy as np
import pytest

from data_gen import read_info
from data_gen.verification import verify as findings
from pdebench_mano.cli import main
from pdebench_mano.machine.workers import Workers


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


OWN = """
from dataclasses import dataclass
import numpy as np
from data_gen import Field, Problem, Solution, build_problem

@dataclass(frozen=True)
class Poisson(Problem):
    name, equation = "poisson", "-Δu = f"
    inputs, outputs = (Field("source", "f"),), (Field("solution", "u"),)
    size: float = 1.0

    def draw(self, grid, rng, index):
        x, y = grid.mesh()
        return self.size * np.cos(rng.uniform(1, 4) * x + y)[None]

    def solve(self, a, grid, *, rtol=None):
        return build_problem("darcy", source=a[0]).solve(np.ones_like(a), grid, rtol=rtol)

class Left(Poisson):
    kind = "left"

    def solve(self, a, grid, *, rtol=None):
        return Solution(a[None], 0.0, "rtol", "none")

class Wrong(Poisson):
    def check(self, a, u, grid, evidence, rtol):
        return iter(())
"""


@pytest.fixture
def own(tmp_path):
    """A file of problems; gives their names."""
    (tmp_path / "own.py").write_text(OWN)
    return lambda name: f"{tmp_path}/own.py:{name}"


def test_a_problem_of_ones_own(run, own, tmp_path):
    out = tmp_path / "d.hdf5"
    words = ["--problem", own("Poisson"), "--problem-args", "size=2.5", "--resolution", "17x9"]
    assert generated(run, out, *words)[:2] == (0, f"{out} written: 3 samples of 17×9 vertices\n")
    assert generated(run, out, *words)[1].startswith(f"{out} is already complete")
    assert "parameters is" in generated(run, out, *words[:3], "size=2", *words[4:])[2]
    summary = json.loads(run("inspect", out, "--json")[1])
    assert (summary["problem"], summary["parameters"]) == (own("Poisson"), {"size": 2.5})
    assert summary["inputs"] == [{"name": "source", "symbol": "f", "positive": False}]
    for check in ("--verify", "--richardson"):
        status, _, error = run("inspect", out, check)
        assert (status, error.count("\n")) == (2, 1)
        assert "names code of its own" in error
        assert "--trust" in error
    status, text, _ = run("inspect", out, "--verify", "--richardson", "--trust")
    assert status == 0
    assert "all 3 samples" in text
    assert text.count("relative L2 error") == 3
    out = tmp_path / "left.hdf5"
    assert generated(run, out, "--problem", own("Left"))[1] == f"{out} written: 3 samples of 17×17 points\n"


@pytest.mark.parametrize(
    "option", ["--law=piecewise", "--law-args=k=1", "--source=1", "--mean=harmonic", "--method=cg"]
)
def test_options_of_another_problem_are_refused(run, own, tmp_path, option):
    status, _, error = generated(run, tmp_path / "d.hdf5", "--problem", own("Poisson"), option)
    name = option.partition("=")[0]
    assert status == 2
    assert error == f"pdebench-mano: {name} is no parameter of problem {own('Poisson')!r}: it has size\n"
    assert not (tmp_path / "d.hdf5").exists()


def test_what_is_typed_wrong_is_said_in_one_line(run, tmp_path):
    for words, message in (
        (["--resolution", "17by9"], "resolution must be N or NxM, got '17by9'"),
        (["--resolution", "17x9x9"], "resolution must be N or NxM, got '17x9x9'"),
        (["--problem", "stokes"], "problem 'stokes' is unknown: use darcy"),
        (["--law", "lognormal", "--problem-args", "law=piecewise"], "law is given twice"),
        (["--problem-args", "laws=piecewise"], "unexpected keyword argument 'laws'"),
    ):
        status, _, error = generated(run, tmp_path / "d.hdf5", *words)
        assert (status, error.count("\n")) == (2, 1)
        assert message in error
    assert list(tmp_path.iterdir()) == []


def test_darcys_options_and_problem_args_say_the_same(run, tmp_path):
    texts = [
        ["--law", "lognormal", "--law-args", "sigma=1.5", "--source", 2],
        ["--problem-args", "law=lognormal", "law_args={'sigma': 1.5}", "source=2.0"],
    ]
    for k, words in enumerate(texts):
        assert generated(run, tmp_path / f"{k}.hdf5", *words)[0] == 0
    assert (tmp_path / "0.hdf5").read_bytes() == (tmp_path / "1.hdf5").read_bytes()


def test_problems_are_listed_and_checked(run, own):
    entries = [json.loads(line) for line in run("problems", "--json")[1].splitlines()]
    (darcy,) = (entry for entry in entries if entry["name"] == "darcy")
    assert list(darcy) == ["name", "equation", "inputs", "outputs", "dimensions", "kind", "times", "parameters"]
    assert darcy["parameters"]["law"] == "piecewise"
    assert darcy["equation"] in run("problems")[1]
    status, text, _ = run("check-problem", "darcy", "--problem-args", "law=lognormal", "--resolution", "33×33")
    assert (status, len(re.findall(r"^holds  ", text, re.MULTILINE))) == (0, 5)
    status, text, _ = run("check-problem", own("Poisson"), "--json")
    clauses = [json.loads(line) for line in text.splitlines()]
    assert status == 0
    assert [clause["holds"] for clause in clauses] == [True, True, True, None, None]
    assert all(list(clause) == ["name", "holds", "detail"] for clause in clauses)
    status, text, _ = run("check-problem", own("Wrong"))
    assert status == 1
    assert "FAILS  wrong value: check does not find one value of the solution" in text


@pytest.mark.parametrize(
    "words",
    [
        ["--law", "lognormal", "--law-args", "sigma=1.5", "--resolution", "17x9", "--split", "0.5,0.25,0.25"],
        ["--source", "source.npy", "--mean", "harmonic", "--seed", 5, "--rtol", 1e-9],
        ["--problem", "helmholtz", "--problem-args", "omega=16", "law=rough", "--label-refinement", 2],
        ["--problem", "navier-stokes", "--problem-args", "times=[0.5, 1]", "viscosity=1e-2"],
    ],
)
def test_the_command_of_a_card_makes_the_samples_again(run, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    np.save("source.npy", np.ones((33, 33)))
    status, _, error = run("generate", "--samples", 4, "--resolution", 33, "--out", "d.hdf5", *words)
    assert status == 0, error
    digest = read_info("d.hdf5").digest
    status, text, _ = run("inspect", "d.hdf5", "--card")
    assert (status, text) == (0, Path("d.hdf5.md").read_text())
    (command,) = re.findall(r"```sh\npdebench-mano (.*)\n```", text)
    Path("d.hdf5").rename("first.hdf5")
    assert run(*shlex.split(command))[0] == 0
    assert read_info("d.hdf5").digest == digest


def test_a_lost_card_comes_back_and_another_is_left_alone(run, tmp_path):
    card = tmp_path / "d.hdf5.md"
    generated(run, tmp_path / "d.hdf5")
    text = card.read_text()
    card.unlink()
    generated(run, tmp_path / "d.hdf5")
    assert card.read_text() == text
    card.write_text("mine")
    generated(run, tmp_path / "d.hdf5")
    assert card.read_text() == "mine"


def test_a_card_is_no_json(run, tmp_path):
    generated(run, tmp_path / "d.hdf5")
    status, _, error = run("inspect", tmp_path / "d.hdf5", "--card", "--json")
    assert (status, "give one of the two" in error) == (2, True)


def test_a_file_that_needs_its_shards_says_so_where_it_is_made(run, tmp_path, monkeypatch):
    """Copied alone, it lost its values."""
    words = ("--shard-size", 2, "--scheduler", "tcp://here:1")
    out = tmp_path / "d.hdf5"
    with ThreadPoolExecutor(1) as executor:
        workers = Workers(executor, lambda: 1)
        monkeypatch.setattr("pdebench_mano.machine.workers.dask_workers", lambda address: nullcontext(workers))
        assert f"{out}.shards: copy or move both" in generated(run, out, *words)[1]
        assert "shards" not in generated(run, out, *words, "--merge")[1]
    (tmp_path / "elsewhere").mkdir()
    copy = shutil.copy(out, tmp_path / "elsewhere")
    assert run("inspect", copy, "--verify")[0] == 0
