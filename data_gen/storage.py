"""The dataset file: PDEBench's Darcy layout in HDF5, readable as netCDF4, describing itself.

At the root, every dataset with its dimension scales::

    nu            (sample, x, y) f4           coefficient a
    tensor        (sample, channel, x, y) f4  solution u, one channel
    x-coordinate  (x,), y-coordinate (y,), sample (sample,), channel (channel,)

Everything else lives in groups::

    quality/relative_residual  (sample,) f8    ‖f - Au‖/‖f‖ of the float64 field, before rounding to f4; NaN: unknown
    quality/accepted_by        (sample,) S8    "rtol", "floor" (see `data_gen.solvers`) or ""
    quality/solver             (sample,) S16   the method that solved it
    quality/sha256             (sample,) S64   of the bytes of nu[i] and tensor[i]
    splits/<name>              (k,) i8         indices of samples, for each split that is not empty
    source/f                   (x, y) f8       source, where it is not constant
    shards/{path,first,bytes,sha256}           only in a file of virtual datasets

Root attributes: ``schema``, ``schema_version``, ``grid``, ``equation``, ``boundary_condition``,
``source`` ("constant", "array"), ``beta`` (f where it is constant), ``coefficient`` ("physical", or
"indicator" where the values only name phases), ``digest`` (of all samples, the grid and the splits)
and whatever describes the origin of the data. What is not known is the word "unknown".

A shard is a file of this schema that holds some of the samples.
"""

import errno
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
from jaxtyping import Float, Float32, Int

Grid = Literal["vertices", "left"]

SCHEMA = "pdebench-mano/darcy"
SCHEMA_VERSION = 1
EQUATION = "-div(a grad u) = f"
BOUNDARY = "u = 0"
UNKNOWN = "unknown"
GRIDS = ("vertices", "left")
DISK_FULL = tuple(map(os.strerror, (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)))
QUALITY = {"relative_residual": "<f8", "accepted_by": "S8", "solver": "S16", "sha256": "S64"}


@dataclass(frozen=True)
class DatasetInfo:
    """What a dataset file says about itself.

    Attributes
    ----------
    path : Path
        The file.
    samples : int
        Number of samples.
    shape : (n, m)
        Grid points along x and y.
    grid : {"vertices", "left"}
        Points i/(n-1), both ends included, or i/n (up to a shift that the coordinates tell).
    source : float or None
        Constant source f; None where it is unknown or varies.
    equation : str
        The equation that the solutions satisfy, or "unknown".
    splits : dict of int arrays
        Indices of the samples of each split; may be empty.
    digest : str
        SHA-256 of the samples, the grid and the splits.
    attributes : dict
        All root attributes.
    """

    path: Path
    samples: int
    shape: tuple[int, int]
    grid: Grid
    source: float | None
    equation: str
    splits: dict[str, Int[np.ndarray, " samples"]]
    digest: str
    attributes: dict[str, Any]


@dataclass(frozen=True)
class Header:
    """What is common to all samples of a file to be written.

    Attributes
    ----------
    samples : int
        Number of samples.
    x, y : (n,) and (m,) arrays
        Coordinates of the grid points.
    grid : {"vertices", "left"}
        Kind of grid.
    attributes : dict
        Root attributes beyond those that the schema sets; values are numbers or strings.
    source : float, (n, m) array or None
        Source f; None where it is unknown.
    splits : dict of int arrays
        Indices of the samples of each split.
    first : int
        Number of the first sample, for a shard.
    """

    samples: int
    x: Float[np.ndarray, " n"]
    y: Float[np.ndarray, " m"]
    grid: Grid
    attributes: dict[str, Any]
    source: float | Float[np.ndarray, "n m"] | None = None
    splits: dict[str, Int[np.ndarray, " samples"]] = field(default_factory=dict)
    first: int = 0


@dataclass(frozen=True)
class Block:
    """Some consecutive samples, ready to be written.

    Attributes
    ----------
    nu, tensor : (k, n, m) and (k, 1, n, m) float32 arrays
        Coefficients and solutions.
    quality : dict of (k,) arrays
        ``relative_residual``, ``accepted_by``, ``solver``; what is left out is unknown.
    """

    nu: Float32[np.ndarray, "k n m"]
    tensor: Float32[np.ndarray, "k 1 n m"]
    quality: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def sha256(self) -> np.ndarray:
        """Checksum of each sample, as hexadecimal digits."""
        return np.array([checksum(a, u) for a, u in zip(self.nu, self.tensor, strict=True)], dtype="S64")


def checksum(nu: np.ndarray, tensor: np.ndarray) -> bytes:
    """SHA-256 of the little-endian float32 bytes of one sample's coefficient (n, m) and solution (1, n, m)."""
    parts = (np.ascontiguousarray(v, dtype="<f4").tobytes() for v in (nu, tensor))
    return hashlib.sha256(b"".join(parts)).hexdigest().encode()


def vertices(n: int) -> Float[np.ndarray, " n"]:
    """The points i/(n-1), i = 0 … n-1."""
    return np.arange(n) / (n - 1)


def left(n: int) -> Float[np.ndarray, " n"]:
    """The points i/n, i = 0 … n-1."""
    return np.arange(n) / n


def exact_stride(n: int, resolution: int, grid: str) -> int:
    """The stride that takes `n` grid points a side to `resolution` of them.

    Parameters
    ----------
    n, resolution : int
        Points a side, given and wanted.
    grid : {"vertices", "left"}
        (n-1)/(resolution-1) for vertices, n/resolution for left-closed grids.

    Raises
    ------
    ValueError
        If the quotient is not an integer; lists the resolutions that there are.

    Examples
    --------
    >>> exact_stride(421, 85, "vertices"), exact_stride(32, 16, "left")
    (5, 2)
    """
    if grid not in GRIDS:
        raise ValueError(f"grid must be one of {', '.join(GRIDS)}, got {grid!r}")
    ends = int(grid == "vertices")
    possible = [m for m in range(2, n + 1) if (n - ends) % (m - ends) == 0]
    if resolution not in possible:
        raise ValueError(
            f"resolution {resolution} is no exact stride of {n} {grid}: possible are {', '.join(map(str, possible))}"
        )
    return (n - ends) // (resolution - ends)


@contextmanager
def atomic(path: Path, scratch: Path | None = None) -> Iterator[Path]:
    """A temporary path that becomes `path`, on the disk, when the block ends well, and vanishes when it does not.

    Parameters
    ----------
    path : Path
        Where the complete file shall be.
    scratch : Path, optional
        Folder of the temporary file, on the same file system; that of `path` by default.

    Raises
    ------
    OSError
        If the disk is full; nothing is left half-written.
    """
    temporary = (scratch or path.parent) / f".{path.name}.{os.getpid()}.tmp"
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)
    except OSError as error:
        for reason in DISK_FULL:
            if reason in str(error):
                raise OSError(f"{path} could not be written: {reason.lower()}; nothing is left half-written") from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_size(samples: int, shape: tuple[int, int]) -> int:
    """About the bytes that a file takes, and rather more than less."""
    return samples * (8 * shape[0] * shape[1] + 256) + 2**18


@contextmanager
def _created(path: Path, size: int) -> Iterator[h5py.File]:
    """A new file for which there is space: HDF5 itself does not survive a full disk."""
    with path.open("wb") as stream:
        os.posix_fallocate(stream.fileno(), 0, size)
    with h5py.File(path, "w") as file:
        yield file


def write(path: Path, header: Header, blocks: Iterable[Block], scratch: Path | None = None) -> None:
    """Write a plain file, one block after another, so that memory does not grow with the number of samples.

    Raises
    ------
    ValueError
        If the blocks do not hold `header.samples` samples.
    """
    shape = (len(header.x), len(header.y))
    with atomic(path, scratch) as temporary, _created(temporary, file_size(header.samples, shape)) as file:
        nu = file.create_dataset("nu", (header.samples, *shape), "<f4")
        tensor = file.create_dataset("tensor", (header.samples, 1, *shape), "<f4")
        _write_header(file, header)
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
        _seal(file, header)


def write_virtual(path: Path, header: Header, shards: Sequence[Path], scratch: Path | None = None) -> None:
    """Write a file of virtual datasets over `shards`, which lie in a folder beside it."""
    shape = (len(header.x), len(header.y))
    layouts = {
        "nu": h5py.VirtualLayout((header.samples, *shape), "<f4"),
        "tensor": h5py.VirtualLayout((header.samples, 1, *shape), "<f4"),
    }
    size = file_size(header.samples, (0, 0)) + 2**12 * len(shards)
    with atomic(path, scratch) as temporary, _created(temporary, size) as file:
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
        _write_header(file, header)
        for start, shard in zip(starts, shards, strict=True):
            with open_hdf5(shard) as part:
                for name in QUALITY:
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
        _seal(file, header)


def _write_header(file: h5py.File, header: Header) -> None:
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


def _seal(file: h5py.File, header: Header) -> None:
    """Add the digest, once all samples are there."""
    file.attrs["digest"] = digest(header.grid, header.splits, file["quality/sha256"][:])
    file.attrs["seal"] = seal(file)


def seal(file: h5py.File) -> str:
    """SHA-256 of all attributes and all datasets but the samples, and the shards that hold them."""
    value = hashlib.sha256()
    for name in sorted(file.attrs.keys() - {"seal"}):
        value.update(f"{name}={_plain(file.attrs[name])!r}\n".encode())

    def add(name: str, item: h5py.Dataset | h5py.Group) -> None:
        if isinstance(item, h5py.Dataset) and not name.startswith(("nu", "tensor", "shards/")):
            value.update(name.encode() + np.ascontiguousarray(item[()]).tobytes())

    file.visititems(add)
    return value.hexdigest()


def digest(grid: str, splits: Mapping[str, np.ndarray], checksums: np.ndarray) -> str:
    """SHA-256 of the kind of grid, the splits and the checksums (samples,) of all samples."""
    parts = {name: [int(i) for i in indices] for name, indices in sorted(splits.items())}
    value = hashlib.sha256(json.dumps([grid, parts]).encode())
    value.update(checksums.astype("S64").tobytes())
    return value.hexdigest()


def file_checksum(path: Path) -> bytes:
    """SHA-256 of a whole file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest().encode()


@contextmanager
def open_hdf5(path: str | Path) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading, or say in one line why not.

    Raises
    ------
    FileNotFoundError, ValueError
        If `path` does not exist; if it is no HDF5 file, or a truncated one.
    """
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
        info = describe(path, file)
        for shard, size in shard_sizes(path, file):
            if not shard.exists():
                raise FileNotFoundError(f"{path}: its shard {shard} is missing")
            if shard.stat().st_size != size:
                raise ValueError(f"{path}: its shard {shard} has {shard.stat().st_size} bytes, not {size}")
    return info


def shard_sizes(path: Path, file: h5py.File) -> list[tuple[Path, int]]:
    """Path and size in bytes of each shard of a file of virtual datasets; empty for a plain one."""
    if "shards" not in file:
        return []
    names, sizes = file["shards/path"][:], file["shards/bytes"][:]
    return [(path.parent / name.decode(), int(size)) for name, size in zip(names, sizes, strict=True)]


def source_of(file: h5py.File) -> float | Float[np.ndarray, "n m"] | None:
    """The source f of an open dataset: a number, an array, or None where it is unknown."""
    return file["source/f"][:] if "source/f" in file else _plain(file.attrs.get("beta"))


def read_source(path: str | Path) -> float | Float[np.ndarray, "n m"] | None:
    """The source f of a dataset: a number, an array, or None where it is unknown."""
    with open_hdf5(path) as file:
        return source_of(file)


def is_dataset(path: Path) -> bool:
    """Whether `path` is an HDF5 file that claims to be of this schema."""
    if not h5py.is_hdf5(path):
        return False
    with open_hdf5(path) as file:
        return file.attrs.get("schema") == SCHEMA


def is_virtual(path: Path) -> bool:
    """Whether a dataset file is one of virtual datasets over shards."""
    with open_hdf5(path) as file:
        return "shards" in file


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
    attributes = {name: _plain(value) for name, value in file.attrs.items()}
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


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


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


def subset(header: Header, first: int, count: int) -> Header:
    """The header of a shard that holds the samples ``first`` … ``first + count - 1``."""
    return replace(header, samples=count, first=first, splits={})
