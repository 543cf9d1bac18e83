"""Open a dataset file, or say in one line why not, and read what it says about itself."""

import errno
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Float

from data_gen.grid import Grid
from data_gen.problem import Field
from data_gen.storage.schema import (
    COEFFICIENT,
    COORDINATES,
    EQUATION,
    SCHEMAS,
    SOLUTION,
    UNKNOWN,
    DatasetInfo,
    Header,
    plain,
    seal,
)

NO_LOCK = (errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOLCK, errno.ENOSYS)
"""Why HDF5 does not open a file that it cannot lock."""


@contextmanager
def open_hdf5(path: str | Path | h5py.File) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading, or say in one line why not; one that is open already stays so.

    Raises
    ------
    FileNotFoundError, PermissionError, BlockingIOError
        If `path` does not exist, is not readable, or is held by another process.
    ValueError
        If it is no HDF5 file, a truncated one, or one whose values lie in other files than the shards that it lists.
    """
    if isinstance(path, h5py.File):
        yield path
        return
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if path.is_file() and not os.access(path, os.R_OK):
        raise PermissionError(f"{path}: permission denied")
    if not path.is_file() or not h5py.is_hdf5(path):
        raise ValueError(f"{path} is not an HDF5 file; convert makes one of .npz, .npy, .nc, .mat and .pt")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        if error.errno == errno.EACCES:
            raise PermissionError(f"{path}: permission denied") from error
        if error.errno in NO_LOCK:
            raise BlockingIOError(
                f"{path} is in use by another process, or its file system has no locks (HDF5_USE_FILE_LOCKING=FALSE)"
            ) from error
        kind = "truncated" if "truncated" in str(error) else "damaged"
        raise ValueError(f"{path} is a {kind} HDF5 file") from error
    with file:
        try:
            _refuse_elsewhere(path, file)
            yield file
        except (RuntimeError, KeyError, OSError) as error:
            if isinstance(error, OSError) and not str(error).startswith(("Can't", "Unable")):
                raise
            raise ValueError(f"{path} is damaged, or not a complete dataset: {error.args[0]}") from error


def _refuse_elsewhere(path: Path, file: h5py.File) -> None:
    """Refuse values that HDF5 would read from other files, or fill in where those are not there.

    A file says of itself where such values lie, be it anywhere on the machine. Those of virtual datasets are read: of
    our schema from the shards that the file lists, below its own folder; of others from files that are there.
    """
    shards = [name.decode() for name in file["shards/path"][:]] if "shards/path" in file else []
    for name in shards:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ValueError(f"{path} lists a shard outside its own folder, {name}")

    links: dict[str, Any] = {}
    file.visititems_links(links.__setitem__)
    for name, link in links.items():
        if isinstance(link, h5py.ExternalLink):
            raise ValueError(f"{path}: {name} is a link into another file, {link.filename}, and is not followed")
        item = file[name] if isinstance(link, h5py.HardLink) else None
        if not isinstance(item, h5py.Dataset):
            continue
        if item.external:
            elsewhere = item.external[0][0]
            raise ValueError(f"{path}: the values of {name} lie in another file, {elsewhere}, and are not read")
        for source in {each.file_name for each in item.virtual_sources()} if item.is_virtual else ():
            if is_dataset(file) and source not in shards:
                raise ValueError(f"{path}: {name} is made of {source}, which is none of its shards")
            if not is_dataset(file) and source != "." and not _beside(path, source).is_file():
                raise ValueError(f"{path}: {name} is made of {source}, which is missing")


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
        If a shard is missing, truncated or no HDF5 file, or the file is not of the schema; if its seal is broken, which
        files of earlier versions do not have.
    """
    info = describe(path, file)
    if info.attributes.get("seal") not in (None, seal(file)):
        raise ValueError(
            f"{path} is damaged: an attribute, coordinate, split or record of quality is not as it was written"
        )
    for shard, size in shard_sizes(path, file):
        if not shard.exists():
            raise FileNotFoundError(f"{path}: its shard {shard} is missing")
        if shard.stat().st_size != size:
            raise ValueError(f"{path}: its shard {shard} has {shard.stat().st_size} bytes, not {size}")
        if not h5py.is_hdf5(shard):
            raise ValueError(f"{path}: its shard {shard} is damaged: it is no HDF5 file")
    return info


def describe(path: Path, file: h5py.File) -> DatasetInfo:
    """As `read_info`, for an open file, and without a look at its shards.

    Raises
    ------
    ValueError
        If the file is of another schema or version, or its datasets do not fit one another.
    """
    try:
        return _described(path, file)
    except (TypeError, AttributeError, IndexError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is damaged, or not a complete dataset: {error}") from error


def _described(path: Path, file: h5py.File) -> DatasetInfo:
    if not is_dataset(file):
        known = " or ".join(map(repr, SCHEMAS.values()))
        raise ValueError(f"{path} is an HDF5 file of another kind (no attribute schema = {known}); see convert")
    version = int(file.attrs.get("schema_version", 0))
    if SCHEMAS.get(version) != file.attrs["schema"]:
        known = " and ".join(map(str, SCHEMAS))
        raise ValueError(f"{path} is of schema version {version}, and this program reads versions {known}")
    attributes = {name: plain(value) for name, value in file.attrs.items()}
    if not re.fullmatch("[0-9a-f]{64}", str(attributes["digest"])):
        raise ValueError(f"{path}: digest must be 64 hexadecimal digits, got {attributes['digest']!r}")
    inputs, outputs = fields_of(attributes, "inputs", COEFFICIENT), fields_of(attributes, "outputs", SOLUTION)
    problem, parameters = problem_of(attributes)
    *_, n, m = file["nu"].shape
    header = Header(
        len(file["nu"]),
        Grid((n, m), attributes["grid"], tuple(json.loads(attributes.get("lengths", "[]")))),
        {},
        inputs,
        outputs,
        tuple(map(float, file["t-coordinate"][:])) if "t-coordinate" in file else (),
    )
    for name, shape in header.shapes.items():
        if file[name].shape != shape:
            raise ValueError(f"{path}: {name} has shape {file[name].shape}, not {shape}")
    return DatasetInfo(
        path=path,
        version=version,
        samples=header.samples,
        grid=header.grid,
        inputs=inputs,
        outputs=outputs,
        times=header.times,
        problem=problem,
        parameters=parameters,
        equation=attributes.get("equation", UNKNOWN),
        splits={name: dataset[:] for name, dataset in file["splits"].items()},
        digest=attributes["digest"],
        attributes=attributes,
    )


def fields_of(attributes: dict[str, Any], name: str, default: tuple[Field, ...]) -> tuple[Field, ...]:
    """The fields that an attribute lists, or those of version 1."""
    return tuple(Field(**each) for each in json.loads(attributes[name])) if name in attributes else default


def problem_of(attributes: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Name and parameters of the problem; a file of version 1 that names none is of Darcy flow.

    What is not known of it stands as ``law = "unknown"`` and ``source = None``.
    """
    if "problem" in attributes:
        return attributes["problem"], json.loads(attributes["parameters"])
    if attributes.get("schema") != SCHEMAS[1]:
        return UNKNOWN, {}
    if "recipe" in attributes:
        recipe = json.loads(attributes["recipe"])
        return "darcy", {name: recipe[name] for name in ("law", "law_args", "source", "mean", "method")}
    known = attributes.get("equation") == EQUATION
    return "darcy", {"law": UNKNOWN, "source": attributes.get("beta") if known else None}


def shard_sizes(path: Path, file: h5py.File) -> list[tuple[Path, int]]:
    """Path and size in bytes of each shard of a file of virtual datasets; empty for a plain one."""
    if "shards" not in file:
        return []
    names, sizes = file["shards/path"][:], file["shards/bytes"][:]
    return [(_beside(path, name.decode()), int(size)) for name, size in zip(names, sizes, strict=True)]


def _beside(path: Path, name: str) -> Path:
    """Where HDF5 looks for a file: beside the path that was given, then beside what that is a symbolic link to."""
    here, there = path.parent / name, path.resolve().parent / name
    return there if there.exists() and not here.exists() else here


def arrays_of(file: h5py.File) -> dict[str, Float[np.ndarray, "*any"]]:
    """Those parameters of an open dataset's problem that are arrays."""
    stored = {name: values[:] for name, values in file["parameters"].items()} if "parameters" in file else {}
    return stored | ({"source": file["source/f"][:]} if "source/f" in file else {})


def evidence_of(file: h5py.File) -> Float[np.ndarray, " samples"]:
    """What was measured of each solution; NaN where nothing is known."""
    quality = file["quality"]
    return quality["evidence" if "evidence" in quality else "relative_residual"][:]


def is_dataset(file: h5py.File) -> bool:
    """Whether an open HDF5 file claims to be of this schema."""
    return file.attrs.get("schema") in SCHEMAS.values()


def open_dataset(path: str | Path) -> Any:
    """Open a dataset lazily, as ``nu`` and ``tensor`` with named dimensions, see `data_gen.storage.schema`.

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
    return data.rename({name: name[0] for name in (*COORDINATES, "t-coordinate") if name in data.dims})
