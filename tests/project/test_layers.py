"""The house: every module stands in a layer, none lies about, and mypy finds the packages where they are installed."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("data_gen", "pdebench_mano", "baselines")


def modules():
    """Names of all modules of the three packages."""
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            yield ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def test_every_module_stands_in_a_layer():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (lines,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    layers = {name for line in lines for name in re.split(r" *[|:] *", line)}
    outside = {name for name in modules() if not any(name == layer or name.startswith(f"{layer}.") for layer in layers)}
    assert outside == {"pdebench_mano", "pdebench_mano.__main__"}


def test_types_are_seen_from_another_folder(tmp_path):
    (tmp_path / "own.py").write_text("from pdebench_mano import load\nreveal_type(load)\n")
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--follow-imports=silent",
        "--cache-dir",
        str(tmp_path / "cache"),
        "own.py",
    ]
    seen = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "NormalizedOperator" in seen.stdout, seen.stdout + seen.stderr
