"""Write a dataset file: its header, its samples block by block, and the seal under both."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from data_gen.storage.files import atomic
from data_gen.storage.schema import (
    QUALITY,
    SCHEMA,
    SCHEMA_VERSION,
    UNKNOWN,
    Block,
    Header,
    digest,
    file_size,
    seal,
)


def write(path: Path, header: Header, blocks: Iterable[Block], scratch: Path | None = None) -> None:
    """Write a plain file, one block after another, so that memory does not grow with the number of samples.

    Raises
    ------
    ValueError
        If the blocks do not hold `header.samples` samples.
    """
    shape = (len(header.x), len(header.y))
    with atomic(path, scratch) as temporary, created(temporary, file_size(header.samples, shape)) as file:
        nu = file.create_dataset("nu", (header.samples, *shape), "<f4")
        tensor = file.create_dataset("tensor", (header.samples, 1, *shape), "<f4")
        write_header(file, header)
        quality, end = file["quality"], 0
        for block in blocks:
            rows = slice(end, end := end + len(block.nu))
            if end > header.samples:
                break
            nu[rows], tensor[rows] = block.nu, block.tensor
            for name, values in {**block.quality, "sha256": block.sha256}.items():
                quality[name][rows] = values
        if end != header.samples:
            raise ValueError(f"{path}: {header.samples} samples were announced, {end} came")
        write_seal(file, header)


def subset(header: Header, first: int, count: int) -> Header:
    """The header of a shard that holds the samples ``first`` … ``first + count - 1``."""
    return replace(header, samples=count, first=first, splits={})


@contextmanager
def created(path: Path, size: int) -> Iterator[h5py.File]:
    """A new file for which there is space: HDF5 itself does not survive a full disk."""
    with path.open("wb") as stream:
        os.posix_fallocate(stream.fileno(), 0, size)
    with h5py.File(path, "w") as file:
        yield file


def write_header(file: h5py.File, header: Header) -> None:
    """Everything but the samples: coordinates, scales, groups, attributes."""
    scales = {
        "sample": header.first + np.arange(header.samples, dtype="<i8"),
        "channel": np.arange(1, dtype="<i8"),
        "x-coordinate": np.asarray(header.x, dtype="<f8"),
        "y-coordinate": np.asarray(header.y, dtype="<f8"),
    }
    for name, values in scales.items():
        file.create_dataset(name, data=values).make_scale(name)

    def attach(dataset: h5py.Dataset, *names: str) -> None:
        for axis, name in enumerate(names):
            dataset.dims[axis].attach_scale(file[name])

    attach(file["nu"], "sample", "x-coordinate", "y-coordinate")
    attach(file["tensor"], "sample", "channel", "x-coordinate", "y-coordinate")
    file["nu"].attrs["long_name"] = "coefficient a"
    file["tensor"].attrs["long_name"] = "solution u"
    for name, dtype in QUALITY.items():
        fill = np.nan if dtype == "<f8" else b""
        attach(file.create_dataset(f"quality/{name}", (header.samples,), dtype, fillvalue=fill), "sample")
    file.create_group("splits")
    for name, indices in header.splits.items():
        file.create_dataset(f"splits/{name}", data=np.asarray(indices, dtype="<i8")).make_scale(name)

    source: str = UNKNOWN
    if isinstance(header.source, np.ndarray):
        source = "array"
        attach(file.create_dataset("source/f", data=header.source.astype("<f8")), "x-coordinate", "y-coordinate")
    elif header.source is not None:
        source = "constant"
        file.attrs["beta"] = float(header.source)
    file.attrs.update({"schema": SCHEMA, "schema_version": SCHEMA_VERSION, "grid": header.grid, "source": source})
    file.attrs.update(header.attributes)


def write_seal(file: h5py.File, header: Header) -> None:
    """Add the digest, once all samples are there."""
    file.attrs["digest"] = digest(header.grid, header.splits, file["quality/sha256"][:])
    file.attrs["seal"] = seal(file)
