"""What a command does not need, it does not import: seconds of waiting for a table or a line of help."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from data_gen import generate
from pdebench_mano.benchmark.leaderboard import PUBLISHED

FROZEN = Path(__file__).parents[2] / "frozen"
HEAVY = {"torch", "transformers", "neuralop", "matplotlib", "xarray", "scipy.interpolate", "scipy.io", "dask"}
LIGHT = [
    "--help",
    "train --help",
    "leaderboard",
    "inspect small.hdf5 --card",
    "problems",
    "generate --samples 2 --resolution 5 --out other.hdf5",
]
PROGRAM = """
import atexit, sys
sys.argv[0] = "pdebench-mano"
atexit.register(lambda: print(*sys.modules, file=sys.stderr))
from pdebench_mano.cli import main
main()
"""


def loaded(words, **options):
    """Modules that a command has imported when it ends, and what it printed."""
    command = [sys.executable, "-c", PROGRAM, *words.split()]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, **options)
    modules = set(ended.stderr.split())
    assert "typer" in modules
    return modules, ended.stdout


@pytest.mark.parametrize("words", LIGHT)
def test_heavy_libraries_are_left_alone(words, tmp_path):
    generate(tmp_path / "small.hdf5", samples=3, resolution=5)
    modules, printed = loaded(words, cwd=tmp_path)
    assert printed
    assert not HEAVY & modules


def test_a_report_of_a_run_and_of_a_benchmark_loads_no_network(tmp_path):
    shutil.copytree(FROZEN / "runs" / "fno", tmp_path / "run")
    (tmp_path / "suite" / "records").mkdir(parents=True)
    for case in ("baselines-*", "vit-seed0-*"):
        (path,) = (PUBLISHED / "darcy16" / "records").glob(case + ".jsonl")
        shutil.copy(path, tmp_path / "suite" / "records")
    modules, printed = loaded("report run suite --out page", cwd=tmp_path)
    assert "vit" in printed
    assert "arxiv.org/abs/2010.11929" in (tmp_path / "page" / "report.html").read_text()
    assert HEAVY & modules == {"matplotlib"}


def test_the_site_of_all_suites_loads_no_network():
    program = "import pdebench_mano.benchmark.site, sys; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert HEAVY & set(modules.split()) == {"matplotlib"}


def test_what_is_no_run_is_refused_before_pytorch_is_imported(tmp_path):
    program = PROGRAM.replace("main()", "sys.argv[1:] = ['report', 'nothing', '--out', 'page']\nmain()")
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert ended.returncode == 2
    assert "nothing is not a run folder" in ended.stderr
    assert "torch" not in ended.stderr.split()


@pytest.mark.parametrize("words", ["train --operator ", "train --regime ", "generate --law ", "benchmark "])
def test_names_are_completed_at_once(words):
    typed = f"pdebench-mano {words}"
    asked = {"COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" ")), "_PDEBENCH_MANO_COMPLETE": "complete_bash"}
    modules, printed = loaded("", env=os.environ | asked)
    assert len(printed.split()) > 3
    assert not HEAVY & modules
