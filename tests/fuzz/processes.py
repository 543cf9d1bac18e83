"""Commands in processes of their own, forked from one that has imported everything, and what they leave."""

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import torch

from pdebench_mano.cli import main

MEASURED = {"seconds", "memory", "commit"}
"""Keys of values that a clock, a device or the checkout gave, in which somebody may commit meanwhile."""

DRAWN = {".png", ".svg", ".html"}
"""Suffixes of what a report draws of all else."""


def start(words: Sequence[str], folder: Path, errors: Path) -> int:
    """Begin a command in a folder, as the leader of a group of its own; returns the number of its process."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        os.setsid()
        os.chdir(folder)
        os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.argv = ["pdebench-mano", *words]
        main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def end(process: int, seconds: float | None = None, group: bool = True) -> int:
    """The exit status of a process, negative where a signal ended it; it is killed if it takes longer."""
    began = time.monotonic()
    while (ended := os.waitpid(process, os.WNOHANG))[0] == 0:
        if seconds is not None and time.monotonic() - began > seconds:
            (os.killpg if group else os.kill)(process, signal.SIGKILL)
            return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        time.sleep(0.002)
    return os.waitstatus_to_exitcode(ended[1])


def content(folder: Path) -> dict[str, Any]:
    """Everything in a folder, by its path, without measured times; figures and pages only by name."""
    return {str(path.relative_to(folder)): read(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def read(path: Path) -> Any:
    """What is in a file."""
    known = {".pt": weights, ".csv": rows, ".json": documents, ".jsonl": documents, ".npz": arrays, ".hdf5": samples}
    if path.name == "checkpoint.pt" or path.suffix in DRAWN:
        return None
    return known.get(path.suffix, Path.read_bytes)(path)


def weights(path: Path) -> dict[str, bytes]:
    """The bits of all tensors."""
    return {name: value.numpy().tobytes() for name, value in tensors(torch.load(path, weights_only=True))}


def rows(path: Path) -> str:
    """A table without columns of measured times."""
    table = pd.read_csv(path)
    return str(table.drop(columns=[name for name in table if MEASURED & {*name.split("_")} or "[" in name]).to_csv())


def arrays(path: Path) -> dict[str, bytes]:
    """The bits of the arrays of an archive."""
    with np.load(path) as archive:
        return {name: values.tobytes() for name, values in archive.items()}


def samples(path: Path) -> dict[str, Any]:
    """The bits of all that a dataset file holds, and its attributes."""
    found: dict[str, Any] = {}

    def add(name: str, item: h5py.Dataset | h5py.Group) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item[()].tobytes()

    with h5py.File(path) as file:
        file.visititems(add)
        return found | {f"{name}=": repr(value) for name, value in file.attrs.items()}


def documents(path: Path) -> list[Any]:
    """The JSON documents of a file, one, or one a line, without measured times."""
    lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
    return [unmeasured(json.loads(line)) for line in lines]


def tensors(value: Any, name: str = "") -> list[tuple[str, torch.Tensor]]:
    """All tensors in nested dictionaries and lists, by their path."""
    if isinstance(value, torch.Tensor):
        return [(name, value.detach().cpu())]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    return [each for key, part in items for each in tensors(part, f"{name}.{key}")]


def unmeasured(value: Any) -> Any:
    """Plain data without what a clock gave."""
    if isinstance(value, dict):
        return {key: unmeasured(each) for key, each in value.items() if key not in MEASURED}
    return [unmeasured(each) for each in value] if isinstance(value, list) else value


def differences(here: dict[str, Any], there: dict[str, Any]) -> list[str]:
    """The paths that only one has, or whose contents differ."""
    return sorted(path for path in here.keys() | there.keys() if here.get(path, ...) != there.get(path, ...))


def afresh(whole: Path, folder: Path) -> Path:
    """A copy of a folder, in place of an earlier one."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole, folder)
    return folder
