"""Where tensors live."""

import os
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cache
from itertools import count
from pathlib import Path

import torch

from data_gen.storage import locked

_held = ExitStack()
"""Locks of this process, which the system opens when it ends, however it does."""


def chosen(name: torch.device | str | None = None) -> torch.device:
    """The device of that name; without one, CUDA where there is one, else the CPU.

    Raises
    ------
    ValueError
        If this machine has no such device.
    """
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
        there = device.type in ("cpu", "cuda")
    except (RuntimeError, AssertionError):
        there = False
    if not there:
        raise ValueError(f"device must be cpu, or cuda where there is one, got {str(name)!r}") from None
    return device


def use_own_gpu() -> None:
    """Let this thread compute on a GPU of this process's own, where there are GPUs.

    Of those it sees, which ``CUDA_VISIBLE_DEVICES`` may say, it takes one that fewest other processes have taken.
    """
    if torch.cuda.is_available():
        torch.cuda.set_device(_own_gpu())


@cache
def _own_gpu() -> int:
    names = [str(torch.cuda.get_device_properties(i).uuid) for i in range(torch.cuda.device_count())]
    return take(names, Path(tempfile.gettempdir()) / f"pdebench-mano-{os.getuid()}")


def take(names: Sequence[str], folder: Path) -> int:
    """Take one of several things for this process, until it ends: the first of those that fewest have taken.

    Parameters
    ----------
    names : sequence of str
        What they are called in all processes of this machine.
    folder : Path
        Where it is noted who has taken what; it is made.

    Returns
    -------
    int
        Its position in `names`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    places = ((position, folder / f"{name}-{others}") for others in count() for position, name in enumerate(names))
    return next(position for position, lock in places if _took(lock))


def _took(lock: Path) -> bool:
    try:
        _held.enter_context(locked(lock))
    except FileExistsError:
        return False
    return True
