"""Shapes are executed: every jaxtyping annotation of the three packages is checked while tests run."""

import os
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

install_import_hook(["data_gen", "pdebench_mano", "baselines"], "beartype.beartype")

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="session")
def golden():
    """Folder of the reference values."""
    return GOLDEN


@pytest.fixture(scope="session")
def third_party():
    """Folder of neuraloperator's small Darcy set, or skip, saying where it was looked for."""
    beside = Path(__file__).parents[2] / "shared" / "data" / "neuralop_darcy"
    folder = Path(os.environ.get("PDEBENCH_MANO_DATA", beside))
    if not (folder / "darcy_train_16.pt").exists():
        pytest.skip(f"third-party Darcy files not found in {folder} (set PDEBENCH_MANO_DATA)")
    return folder
