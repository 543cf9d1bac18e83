"""The dataset file: PDEBench's Darcy layout in HDF5, readable as netCDF4, describing itself.

At the root, every dataset with its dimension scales::

    nu            (sample, x, y) f4           coefficient a
    tensor        (sample, channel, x, y) f4  solution u, one channel
    x-coordinate  (x,), y-coordinate (y,), sample (sample,), channel (channel,)

Everything else lives in groups::

    quality/relative_residual  (sample,) f8    ‖f - Au‖/‖f‖ of the float64 field, before rounding to f4; NaN: unknown
    quality/accepted_by        (sample,) S8    "rtol", "floor" (see `data_gen.problems.darcy.solvers`) or ""
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

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Float, Float32, Int

from data_gen.grid import Kind

SCHEMA = "pdebench-mano/darcy"
SCHEMA_VERSION = 1
EQUATION = "-div(a grad u) = f"
BOUNDARY = "u = 0"
UNKNOWN = "unknown"
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
    grid: Kind
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
    grid: Kind
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


def digest(grid: str, splits: Mapping[str, np.ndarray], checksums: np.ndarray) -> str:
    """SHA-256 of the kind of grid, the splits and the checksums (samples,) of all samples."""
    parts = {name: [int(i) for i in indices] for name, indices in sorted(splits.items())}
    value = hashlib.sha256(json.dumps([grid, parts]).encode())
    value.update(checksums.astype("S64").tobytes())
    return value.hexdigest()


def seal(file: h5py.File) -> str:
    """SHA-256 of all attributes and all datasets but the samples, and the shards that hold them."""
    value = hashlib.sha256()
    for name in sorted(file.attrs.keys() - {"seal"}):
        value.update(f"{name}={plain(file.attrs[name])!r}\n".encode())

    def add(name: str, item: h5py.Dataset | h5py.Group) -> None:
        if isinstance(item, h5py.Dataset) and not name.startswith(("nu", "tensor", "shards/")):
            value.update(name.encode() + np.ascontiguousarray(item[()]).tobytes())

    file.visititems(add)
    return value.hexdigest()


def plain(value: Any) -> Any:
    """An attribute as Python has it: a NumPy scalar becomes a number."""
    return value.item() if isinstance(value, np.generic) else value


def file_size(samples: int, shape: tuple[int, int]) -> int:
    """About the bytes that a file takes, and rather more than less."""
    return samples * (8 * shape[0] * shape[1] + 256) + 2**18
