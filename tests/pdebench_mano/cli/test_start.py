"""What a command does not need, it does not import: seconds of waiting for a table or a line of help."""

import os
import subprocess
import sys

import pytest

from data_gen import generate

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


@pytest.mark.parametrize("words", ["train --operator ", "train --regime ", "generate --law ", "benchmark "])
def test_names_are_completed_at_once(words):
    typed = f"pdebench-mano {words}"
    asked = {"COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" ")), "_PDEBENCH_MANO_COMPLETE": "complete_bash"}
    modules, printed = loaded("", env=os.environ | asked)
    assert len(printed.split()) > 3
    assert not HEAVY & modules
