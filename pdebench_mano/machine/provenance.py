"""What a number depends on beside its configuration: hardware, versions, and the suite's own source code."""

import hashlib
import platform
import subprocess
from functools import cache
from pathlib import Path

import torch

from data_gen.recipe import installed
from data_gen.storage import UNKNOWN

ROOT = Path(__file__).parents[2]
PACKAGES = ("data_gen", "pdebench_mano", "baselines")


def environment() -> dict[str, str]:
    """Versions and hardware, as records and runs state them."""
    packages = ("pdebench-mano", "torch", "numpy", "scipy", "neuraloperator", "transformers")
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else cpu()
    return {"python": platform.python_version(), "device": device} | {
        package: installed(package) for package in packages
    }


@cache
def cpu() -> str:
    """The processor, as precisely as the system names it."""
    about = Path("/proc/cpuinfo")
    named = (
        [line.partition(":")[2] for line in about.read_text().splitlines() if line.startswith("model name")]
        if about.exists()
        else []
    )
    return named[0].strip() if named else platform.processor() or platform.machine()


@cache
def commit() -> str:
    """The commit of a checkout, with a + where files differ from it; "unknown" where the code is installed."""

    def git(*words: str) -> str:
        command = ["git", "-C", str(ROOT), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")) != ROOT:
            return UNKNOWN
        changed = git("status", "--porcelain", "--untracked-files=no", "--", *PACKAGES)
        return git("rev-parse", "--short=12", "HEAD") + "+" * bool(changed)
    except (OSError, subprocess.CalledProcessError):
        return UNKNOWN


@cache
def provenance() -> dict[str, str]:
    """`environment`, and the digest of the suite's own source code."""
    code = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            code.update(path.read_bytes())
    return environment() | {"source": code.hexdigest()[:12]}
