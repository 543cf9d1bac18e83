"""Open a dataset file, or say in one line why not, and read what it says about itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Float

from data_gen.storage.schema import SCHEMA, SCHEMA_VERSION, DatasetInfo, plain


@contextmanager
def open_hdf5(path: str | Path | h5py.File) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading, or say in one line why not; one that is open already stays so.

    Raises
    ------
    FileNotFoundError, ValueError
        If `path` does not exist; if it is no HDF5 file, or a truncated one.
    """
    if isinstance(path, h5py.File):
        yield path
        return
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if not path.is_file() or not h5py.is_hdf5(path):
        raise ValueError(f"{path} is not an HDF5 file")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        kind = "truncated" if "truncated" in str(error) else "damaged"
        raise ValueError(f"{path} is a {kind} HDF5 file") from error
    with file:
        try:
            yield file
        except (RuntimeError, KeyError, OSError) as error:
            if isinstance(error, OSError) and not str(error).startswith(("Can't", "Unable")):
                raise
            raise ValueError(f"{path} is damaged, or not a complete dataset: {error.args[0]}") from error


def read_info(path: str | Path) -> DatasetInfo:
    """Read and check what a dataset file says about itself, without reading its samples.

    Raises
    ------
    FileNotFoundError, ValueError
        If the file, or a shard of it, is missing, truncated or not of the schema.
    """
    path = Path(path)
    with open_hdf5(path) as file:
        return checked(path, file)


def checked(path: Path, file: h5py.File) -> DatasetInfo:
    """As `read_info`, for an open file.

    Raises
    ------
    FileNotFoundError, ValueError
        If a shard is missing or truncated, or the file is not of the schema.
    """
    info = describe(path, file)
    for shard, size in shard_sizes(path, file):
        if not shard.exists():
            raise FileNotFoundError(f"{path}: its shard {shard} is missing")
        if shard.stat().st_size != size:
            raise ValueError(f"{path}: its shard {shard} has {shard.stat().st_size} bytes, not {size}")
    return info


def describe(path: Path, file: h5py.File) -> DatasetInfo:
    """As `read_info`, for an open file, and without a look at its shards.

    Raises
    ------
    ValueError
        If the file is of another schema or version, or its datasets do not fit one another.
    """
    if file.attrs.get("schema") != SCHEMA:
        raise ValueError(f"{path} is an HDF5 file of another kind (no attribute schema = {SCHEMA!r}); see convert")
    version = int(file.attrs.get("schema_version", 0))
    if version != SCHEMA_VERSION:
        raise ValueError(f"{path} is of schema version {version}, and this program reads version {SCHEMA_VERSION}")
    attributes = {name: plain(value) for name, value in file.attrs.items()}
    samples, n, m = file["nu"].shape
    if file["tensor"].shape != (samples, 1, n, m):
        raise ValueError(f"{path}: tensor has shape {file['tensor'].shape}, not {(samples, 1, n, m)}")
    return DatasetInfo(
        path=path,
        samples=samples,
        shape=(n, m),
        grid=attributes["grid"],
        source=attributes.get("beta"),
        equation=attributes["equation"],
        splits={name: dataset[:] for name, dataset in file["splits"].items()},
        digest=attributes["digest"],
        attributes=attributes,
    )


def shard_sizes(path: Path, file: h5py.File) -> list[tuple[Path, int]]:
    """Path and size in bytes of each shard of a file of virtual datasets; empty for a plain one."""
    if "shards" not in file:
        return []
    names, sizes = file["shards/path"][:], file["shards/bytes"][:]
    return [(path.parent / name.decode(), int(size)) for name, size in zip(names, sizes, strict=True)]


def source_of(file: h5py.File) -> float | Float[np.ndarray, "n m"] | None:
    """The source f of an open dataset: a number, an array, or None where it is unknown."""
    return file["source/f"][:] if "source/f" in file else plain(file.attrs.get("beta"))


def read_source(path: str | Path) -> float | Float[np.ndarray, "n m"] | None:
    """The source f of a dataset: a number, an array, or None where it is unknown."""
    with open_hdf5(path) as file:
        return source_of(file)


def is_dataset(file: h5py.File) -> bool:
    """Whether an open HDF5 file claims to be of this schema."""
    return file.attrs.get("schema") == SCHEMA


def open_dataset(path: str | Path) -> Any:
    """Open a dataset lazily, as ``nu`` (sample, x, y) and ``tensor`` (sample, channel, x, y).

    Returns
    -------
    xarray.Dataset

    Raises
    ------
    FileNotFoundError, ValueError
        As `read_info`.
    """
    import xarray as xr  # takes longer to import than all the rest

    read_info(path)
    data = xr.open_dataset(path, engine="h5netcdf")
    return data.rename({"x-coordinate": "x", "y-coordinate": "y"})
