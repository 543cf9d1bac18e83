"""What the package exports: every name is there, and none is imported before it is asked for."""

import subprocess
import sys
from importlib.metadata import version

import pytest

import pdebench_mano


def test_every_name_is_there_and_listed():
    assert dir(pdebench_mano) == sorted(pdebench_mano.__all__)
    for name in pdebench_mano.__all__:
        assert getattr(pdebench_mano, name) is not None
    assert pdebench_mano.__version__ == version("pdebench-mano")
    with pytest.raises(AttributeError, match="has no attribute 'mano_'"):
        _ = pdebench_mano.mano_


def test_torch_is_imported_when_it_is_needed():
    code = "import sys, data_gen, pdebench_mano.training.options, pdebench_mano.benchmark.suite; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "xarray", "matplotlib", "scipy.io"} & set(loaded)
