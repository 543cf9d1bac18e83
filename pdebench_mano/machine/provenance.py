"""What a number depends on beside its configuration: hardware, versions, and the suite's own source code."""

import hashlib
import platform
from functools import cache
from pathlib import Path

import torch

from data_gen.recipe import installed

ROOT = Path(__file__).parents[2]
PACKAGES = ("data_gen", "pdebench_mano", "baselines")


def environment() -> dict[str, str]:
    """Versions and hardware, as records and runs state them."""
    packages = ("pdebench-mano", "torch", "numpy", "scipy", "neuraloperator", "transformers")
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()
    return {"python": platform.python_version(), "device": device} | {
        package: installed(package) for package in packages
    }


@cache
def provenance() -> dict[str, str]:
    """`environment`, and the digest of the suite's own source code."""
    code = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            code.update(path.read_bytes())
    return environment() | {"source": code.hexdigest()[:12]}
