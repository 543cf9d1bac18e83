"""The wheel holds the three packages and nothing else, and works where it is installed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import pdebench_mano
from pdebench_mano.machine.provenance import provenance

ROOT = Path(__file__).parents[2]
PACKAGES = ("data_gen", "pdebench_mano", "baselines")


def run(*command, **options):
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, **options)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy, so that the source tree stays clean."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", source / "dist", source)
    (path,) = (source / "dist").glob("*.whl")
    return path


def test_it_holds_every_file_of_the_packages_and_no_other(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        licence = [name for name in archive.namelist() if name.endswith("licenses/LICENSE")]
    files = (path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file())
    assert names == {path.relative_to(ROOT).as_posix() for path in files if "__pycache__" not in path.parts}
    assert {f"{package}/py.typed" for package in PACKAGES} <= names
    assert "pdebench_mano/benchmark/suites/demo.toml" in names
    assert "pdebench_mano/benchmark/published/darcy43/records/baselines-1f368f75.jsonl" in names
    assert licence


def test_installed_elsewhere_it_shows_the_leaderboard_and_runs_the_quick_demo(wheel, tmp_path):
    site = tmp_path / "site"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "install", "--quiet", "--no-deps", "--target", site, wheel)
    options = {"cwd": tmp_path, "env": os.environ | {"PYTHONPATH": str(site)}}
    found = run(sys.executable, "-c", "import pdebench_mano; print(pdebench_mano.__file__)", **options)
    assert Path(found.strip()).is_relative_to(site), "the installed package is the one that runs"
    program = (sys.executable, site / "bin" / "pdebench-mano")
    assert run(*program, "--version", **options) == f"{pdebench_mano.__version__}\n"
    assert run(*program, "leaderboard", "--json", **options).count("\n") > 100
    assert "upsampled mano" in run(*program, "demo", "--quick", **options)
    assert (tmp_path / "demo" / "report.html").exists()
    source = "from pdebench_mano.machine.provenance import provenance; print(provenance()['source'])"
    assert run(sys.executable, "-c", source, **options) == f"{provenance()['source']}\n", "the same code has one digest"


KILLED = """
import os, sys
from data_gen import generate
stop = lambda done, total: done >= 4 and os.kill(os.getpid(), 9)
generate(sys.argv[2], 12, 33, problem=sys.argv[1], split=(0.5, 0.25, 0.25), shard_size=2, progress=stop)
"""


@pytest.mark.parametrize(("name", "resolutions"), [("Reaction", "17,33"), ("Heat", "11,33")])
def test_installed_elsewhere_it_serves_a_problem_of_ones_own(wheel, tmp_path, name, resolutions):
    """By commands alone: generated, killed and resumed, verified, trained on, evaluated beside its solver, reported."""
    site = tmp_path / "site"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "install", "--quiet", "--no-deps", "--target", site, wheel)
    shutil.copy(Path(__file__).with_name("own_problems.py"), tmp_path / "own.py")
    options = {"cwd": tmp_path, "env": os.environ | {"PYTHONPATH": str(site)}}

    def command(*words):
        return run(sys.executable, site / "bin" / "pdebench-mano", *words, **options)

    problem, split = f"own.py:{name}", ("--split", "0.5,0.25,0.25")
    killed = subprocess.run([sys.executable, "-c", KILLED, problem, "data.hdf5"], check=False, **options)
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / "data.hdf5.shards").exists()
    generate = ("generate", "--problem", problem, "--samples", 12, "--resolution", 33, *split, "--out")
    for out in ("data.hdf5", "whole.hdf5"):
        command(*generate, out)
    digests = {json.loads(command("inspect", f"{each}.hdf5", "--json"))["digest"] for each in ("data", "whole")}
    assert len(digests) == 1, "the killed and resumed file has the content of the other"
    checked = command("inspect", "data.hdf5", "--verify", "--richardson", "--trust", "--json")
    assert json.loads(checked.splitlines()[0])["verified"]
    assert "FAILS" not in command("check-problem", problem)
    coarse = resolutions.partition(",")[0]
    training = ("--data", "data.hdf5", "--resolution", coarse, "--epochs", 1, "--batch-size", 4, "--trust")
    symmetries = ("--symmetries",) if name == "Reaction" else ()
    operators = {"fno": ("width=4", "modes=4", "depth=1")} | ({"unet": ("width=4",)} if name == "Reaction" else {})
    for operator, sizes in operators.items():
        command("train", "--operator", operator, "--operator-args", *sizes, *training, *symmetries, "--out", operator)
        rows = command("evaluate", operator, "--data", "data.hdf5", "--resolutions", resolutions, "--trust", "--json")
        errors = {(row["model"], row["resolution"]): row["relative_l2"] for row in map(json.loads, rows.splitlines())}
        assert errors["coarse solver", 33] < 0.1 * errors[operator, 33], "a solver knows more than an epoch teaches"
    command("report", *operators, "--out", "report")
    assert f"own.py:{name}" in (tmp_path / "report" / "report.html").read_text()
