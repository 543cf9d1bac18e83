"""Shapes are executed: every jaxtyping annotation of the three packages is checked while tests run."""

import os
from pathlib import Path

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

os.environ.setdefault("OMP_NUM_THREADS", "1")  # of PyTorch: every worker has one core, and so has what it starts
install_import_hook(["data_gen", "pdebench_mano", "baselines"], "beartype.beartype")

# no deadline: tests never time anything; the same examples each run, so that a failure can be met again
settings.register_profile("suite", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("suite")

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
