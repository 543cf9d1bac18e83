"""What a command does not need, it does not import: seconds of waiting for a table or a line of help."""

import os
import subprocess
import sys

import pytest

from data_gen import generate

HEAVY = {"torch", "transformers", "neuralop", "matplotlib", "xarray", "scipy.interpolate", "scipy.io", "dask"}
PROGRAM = """
import atexit, sys
atexit.register(lambda: print(*sys.modules, file=sys.stderr))
from pdebench_mano.cli import main
main()
"""


@pytest.mark.parametrize("words", ["--help", "train --help", "inspect small.hdf5 --card", "problems"])
def test_heavy_libraries_are_left_alone(words, tmp_path):
    generate(tmp_path / "small.hdf5", samples=3, resolution=5)
    command, options = [sys.executable, "-c", PROGRAM, *words.split()], {"cwd": tmp_path, "env": dict(os.environ)}
    ended = subprocess.run(command, capture_output=True, text=True, check=True, **options)
    assert ended.stdout
    loaded = set(ended.stderr.split())
    assert "typer" in loaded
    assert not HEAVY & loaded
