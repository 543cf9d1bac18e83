"""The files that a dataset is made from: shards of its samples, and how far some of its labels are off.

Each is a complete file that appears atomically in one folder, and is known by its name.
"""

import json
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from data_gen import storage
from data_gen.recipe import Recipe
from data_gen.samples import make_block
from data_gen.uncertainty import label_uncertainties, measured

KEPT = ("accepted_by", "solver", "sha256")

READERS = 4
"""Shards that are read, and their checksums compared, at the same time."""

_ENDED = object()


def shard_path(folder: Path, first: int) -> Path:
    """Where the shard that begins with sample `first` lies."""
    return folder / f"{first:09d}.hdf5"


def complete_shards(folder: Path) -> list[Path]:
    """The shards in `folder`, in the order of their samples; not those that are being written, which are hidden."""
    return sorted(folder.glob("[!.]*.hdf5"))


def make_shard(recipe: Recipe, folder: Path, first: int, count: int) -> int:
    """Write one shard into `folder`, atomically; returns the number of samples."""
    with threadpool_limits(1):
        block = make_block(recipe, first, count)
    storage.write(shard_path(folder, first), storage.subset(recipe.header(), first, count), [block])
    return count


def measured_path(folder: Path, i: int) -> Path:
    """Where the label uncertainty of sample `i` lies."""
    return folder / f"{i:09d}.json"


def measurements(folder: Path) -> list[Path]:
    """The measured labels in `folder`."""
    return sorted(folder.glob("[0-9]*.json"))


def measure_labels(recipe: Recipe, folder: Path, numbers: Sequence[int]) -> int:
    """Write the label uncertainty of some samples into `folder`, each atomically; returns the samples made, 0."""
    with threadpool_limits(1):
        values = label_uncertainties(recipe, numbers)
    for i, value in zip(numbers, values, strict=True):
        storage.write_text(measured_path(folder, i), json.dumps(value))
    return 0


def measured_labels(recipe: Recipe, folder: Path) -> dict[str, Any]:
    """What the file says of its labels' uncertainty: mean over the samples that were measured, and their number.

    Raises
    ------
    ValueError
        If what was measured of one is damaged.
    """
    values = [_measurement(measured_path(folder, i)) for i in measured(recipe)]
    if not values:
        return {}
    return {"label_uncertainty": float(f"{np.mean(values):.3g}"), "label_uncertainty_samples": len(values)}


def _measurement(path: Path) -> float:
    text = path.read_text()
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{path} is damaged: it holds no number; remove it and generate again") from None


def in_order(paths: Sequence[Path], made: Iterator[None]) -> Iterator[storage.Block]:
    """The shards in the order of their samples, each as soon as it is there.

    Raises
    ------
    FileNotFoundError, ValueError
        If one has vanished, or is damaged.
    """
    waiting, ahead = deque(paths), deque[Future[storage.Block]]()
    with ThreadPoolExecutor(READERS) as readers:
        while waiting or ahead:
            while waiting and len(ahead) < READERS and waiting[0].exists():
                ahead.append(readers.submit(_read_shard, waiting.popleft()))
            if ahead:
                yield ahead.popleft().result()
            elif next(made, _ENDED) is _ENDED and not waiting[0].exists():
                raise FileNotFoundError(f"{waiting[0]} has vanished; generate again")
        deque(made, maxlen=0)


def _read_shard(path: Path) -> storage.Block:
    with storage.open_hdf5(path) as file:
        names = {"evidence": storage.evidence_of(file), **{name: file["quality"][name][:] for name in KEPT}}
        block = storage.Block(file["nu"][:], file["tensor"][:], names)
    if not np.array_equal(block.sha256, names["sha256"]):
        raise ValueError(f"{path} is damaged (its checksums differ); remove it and generate again")
    return block
