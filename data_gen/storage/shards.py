"""One dataset out of many files: virtual datasets over shards, each a complete file of the schema."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from data_gen.grid import Grid
from data_gen.storage.files import atomic
from data_gen.storage.read import open_hdf5
from data_gen.storage.schema import QUALITY, Header, file_size
from data_gen.storage.write import created, write_header, write_seal


def write_virtual(path: Path, header: Header, shards: Sequence[Path], scratch: Path | None = None) -> None:
    """Write a file of virtual datasets over `shards`, which lie in a folder beside it."""
    layouts = {name: h5py.VirtualLayout(shape, "<f4") for name, shape in header.shapes.items()}
    size = file_size(replace(header, grid=Grid((2,) * len(header.grid.shape)))) + 2**12 * len(shards)
    with atomic(path, scratch) as temporary, created(temporary, size) as file:
        names = [str(shard.relative_to(path.parent)) for shard in shards]
        starts, end = [], 0
        for shard, name in zip(shards, names, strict=True):
            with open_hdf5(shard) as part:
                starts.append(end)
                rows = slice(end, end := end + len(part["nu"]))
                for key, layout in layouts.items():
                    layout[rows] = h5py.VirtualSource(name, key, shape=part[key].shape, dtype="<f4")
        for key, layout in layouts.items():
            file.create_virtual_dataset(key, layout, fillvalue=np.nan)
        write_header(file, header)
        for start, shard in zip(starts, shards, strict=True):
            with open_hdf5(shard) as part:
                for name in QUALITY[header.version]:
                    values = part["quality"][name][:]
                    file["quality"][name][start : start + len(values)] = values
        table = {
            "path": np.array([name.encode() for name in names]),
            "first": np.array(starts, dtype="<i8"),
            "bytes": np.array([shard.stat().st_size for shard in shards], dtype="<i8"),
            "sha256": np.array([file_checksum(shard) for shard in shards], dtype="S64"),
        }
        for key, values in table.items():
            file.create_dataset(f"shards/{key}", data=values)
        write_seal(file, header)


def is_virtual(path: Path) -> bool:
    """Whether a dataset file is one of virtual datasets over shards."""
    with open_hdf5(path) as file:
        return "shards" in file


def file_checksum(path: Path) -> bytes:
    """SHA-256 of a whole file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest().encode()
