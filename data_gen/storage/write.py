"""Write a dataset file: its header, its samples block by block, and the seal under both."""

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from data_gen.storage.files import atomic, flush_early
from data_gen.storage.schema import (
    COEFFICIENT,
    COORDINATES,
    QUALITY,
    SCHEMAS,
    SOLUTION,
    Block,
    Header,
    digest,
    file_size,
    seal,
)


def write(
    path: Path,
    header: Header,
    blocks: Iterable[Block],
    scratch: Path | None = None,
    measured: Callable[[], dict[str, Any]] = dict,
) -> None:
    """Write a plain file, one block after another, so that memory does not grow with the number of samples.

    `scratch` is the folder of the temporary file; `measured` gives attributes that are known once all blocks are there.

    Raises
    ------
    ValueError
        If the blocks do not hold `header.samples` samples.
    """
    with atomic(path, scratch) as temporary, created(temporary, file_size(header)) as file:
        nu, tensor = (file.create_dataset(name, shape, "<f4") for name, shape in header.shapes.items())
        write_header(file, header)
        quality, end = file["quality"], 0
        for block in blocks:
            rows = slice(end, end := end + len(block.nu))
            if end > header.samples:
                break
            nu[rows], tensor[rows] = block.nu, block.tensor
            for name, values in {**block.quality, "sha256": block.sha256}.items():
                quality[stored_name(name, header.version)][rows] = values
            flush_early(temporary)
        if end != header.samples:
            raise ValueError(f"{path}: {header.samples} samples were announced, {end} came")
        file.attrs.update(measured())
        write_seal(file, header)


def stored_name(quality: str, version: int) -> str:
    """What a record of quality is called in a file of that version."""
    return "relative_residual" if (quality, version) == ("evidence", 1) else quality


def subset(header: Header, first: int, count: int) -> Header:
    """The header of a shard that holds the samples ``first`` … ``first + count - 1``."""
    return replace(header, samples=count, first=first, splits={})


@contextmanager
def created(path: Path, size: int) -> Iterator[h5py.File]:
    """A new file for which there is space: HDF5 itself does not survive a full disk."""
    with path.open("wb") as stream:
        reserve(stream.fileno(), size, path.parent)
    with h5py.File(path, "w") as file:
        yield file


def reserve(descriptor: int, size: int, folder: Path) -> None:
    """Take the space of a file; where the system cannot, on macOS and some file systems, look whether there is enough.

    Raises
    ------
    OSError
        If there is not.
    """
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, 0, size)
            return
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                raise
    if shutil.disk_usage(folder).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.truncate(descriptor, size)


def write_header(file: h5py.File, header: Header) -> None:
    """Everything but the samples: coordinates, scales, groups, attributes."""
    several, axes = len(header.inputs) > 1, header.axes or header.grid.axes()
    scales = {
        "sample": header.first + np.arange(header.samples, dtype="<i8"),
        "channel": np.arange(len(header.outputs), dtype="<i8"),
        **{name: np.asarray(axis, dtype="<f8") for name, axis in zip(COORDINATES, axes, strict=True)},
        **({"input": np.arange(len(header.inputs), dtype="<i8")} if several else {}),
        **({"t-coordinate": np.asarray(header.times, dtype="<f8")} if header.times else {}),
    }
    for name, values in scales.items():
        file.create_dataset(name, data=values).make_scale(name)

    def attach(dataset: h5py.Dataset, *names: str) -> None:
        for axis, name in enumerate(names):
            dataset.dims[axis].attach_scale(file[name])

    attach(file["nu"], "sample", *["input"] * several, *COORDINATES)
    attach(file["tensor"], "sample", *["t-coordinate"] * bool(header.times), "channel", *COORDINATES)
    for dataset, fields in (("nu", header.inputs), ("tensor", header.outputs)):
        file[dataset].attrs["long_name"] = ", ".join(f"{each.name} {each.symbol}" for each in fields)
    for name, dtype in QUALITY[header.version].items():
        fill = np.nan if dtype == "<f8" else None  # of text none is said: it is empty, and netCDF's ncdump stops at b""
        attach(file.create_dataset(f"quality/{name}", (header.samples,), dtype, fillvalue=fill), "sample")
    file.create_group("splits")
    for name, indices in header.splits.items():
        file.create_dataset(f"splits/{name}", data=np.asarray(indices, dtype="<i8")).make_scale(name)
    for name, values in header.arrays.items():
        if (name, header.version) == ("source", 1):
            attach(file.create_dataset("source/f", data=values.astype("<f8")), *COORDINATES)
        else:
            file.create_dataset(f"parameters/{name}", data=values.astype("<f8"))

    file.attrs.update({"schema": SCHEMAS[header.version], "schema_version": header.version, "grid": header.grid.kind})
    for name, each, meant in (("inputs", header.inputs, COEFFICIENT), ("outputs", header.outputs, SOLUTION)):
        if header.version > 1 or each != meant:
            file.attrs[name] = json.dumps([field._asdict() for field in each])
    if header.grid.lengths:
        file.attrs["lengths"] = json.dumps(header.grid.lengths)
    file.attrs.update(header.attributes)


def write_seal(file: h5py.File, header: Header) -> None:
    """Add the digest, once all samples are there."""
    file.attrs["digest"] = digest(header.grid.kind, header.splits, file["quality/sha256"][:])
    file.attrs["seal"] = seal(file)
