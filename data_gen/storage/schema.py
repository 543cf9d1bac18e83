"""The dataset file: PDEBench's layout in HDF5, readable as netCDF4, describing itself.

At the root, every dataset with its dimension scales::

    nu            (sample, x, y) f4           the input; with several (sample, input, x, y)
    tensor        (sample, channel, x, y) f4  outputs; in time (sample, time, channel, x, y)
    x-coordinate  (x,), y-coordinate (y,), sample (sample,), channel (channel,), input (input,)
    t-coordinate  (time,) f8                  when they are taken, in time only

Everything else lives in groups::

    quality/evidence           (sample,) f8    what was measured of the float64 solution, before rounding to f4: a
                                               relative residual, an estimate of its error; NaN: unknown
    quality/accepted_by        (sample,) S16   the criterion it met: "rtol", "floor", "step" or ""
    quality/solver             (sample,) S16   the method that solved it
    quality/sha256             (sample,) S64   of the bytes of nu[i] and tensor[i]
    splits/<name>              (k,) i8         indices of samples, for each split that is not empty
    parameters/<name>          f8              those parameters of the problem that are arrays
    shards/{path,first,bytes,sha256}           only in a file of virtual datasets

Root attributes: ``schema``, ``schema_version``, ``grid`` ("vertices", "left", "periodic"), ``lengths`` where the box is
not the unit box, ``problem`` (its name), ``parameters`` (JSON), ``inputs``, ``outputs`` (JSON lists of name, symbol,
positive), ``restriction`` (how fields come to coarser grids), ``equation``, ``digest`` (of all samples, the grid and
the splits) and whatever describes the origin of the data. What is not known is the word "unknown".

A stationary file of one input and one output on a unit box that is not periodic is of version 1, which began as Darcy
flow and has its names: schema ``pdebench-mano/darcy``; ``quality/relative_residual`` and accepted_by of S8; the source
as ``beta`` where it is constant, as ``source/f`` (x, y) f8 where it is not, and ``source`` says which; ``coefficient``
is "physical", or "indicator" where the values only name phases. ``inputs`` and ``outputs`` are left out where they are
a positive coefficient and a solution. A file that names no problem is of Darcy flow.

A shard is a file of this schema that holds some of the samples.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Float, Float32, Int

from data_gen.grid import Grid
from data_gen.problem import Field

SCHEMAS = {1: "pdebench-mano/darcy", 2: "pdebench-mano/field"}
EQUATION = "-div(a grad u) = f"
BOUNDARY = "u = 0"
UNKNOWN = "unknown"
QUALITY = {
    1: {"relative_residual": "<f8", "accepted_by": "S8", "solver": "S16", "sha256": "S64"},
    2: {"evidence": "<f8", "accepted_by": "S16", "solver": "S16", "sha256": "S64"},
}
COORDINATES = ("x-coordinate", "y-coordinate")
COEFFICIENT = (Field("coefficient", "a", positive=True),)
SOLUTION = (Field("solution", "u"),)


@dataclass(frozen=True)
class DatasetInfo:
    """What a dataset file says about itself.

    Attributes
    ----------
    path : Path
        The file.
    version : {1, 2}
        Of the schema.
    samples : int
        Number of samples.
    grid : Grid
    inputs, outputs : tuple of Field
    times : tuple of float
        When the solutions are taken; () where they are stationary.
    problem : str
        Name of the problem, or "unknown".
    parameters : dict
        Its parameters as JSON; arrays are named by their SHA-256.
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
    version: int
    samples: int
    grid: Grid
    inputs: tuple[Field, ...]
    outputs: tuple[Field, ...]
    times: tuple[float, ...]
    problem: str
    parameters: dict[str, Any]
    equation: str
    splits: dict[str, Int[np.ndarray, " samples"]]
    digest: str
    attributes: dict[str, Any]

    @property
    def label_refinement(self) -> int:
        """How many times as many intervals as the grid has labels were solved for on."""
        return int(json.loads(self.attributes.get("recipe", "{}")).get("label_refinement", 1))

    @property
    def shape(self) -> tuple[int, ...]:
        """Points along x and y."""
        return self.grid.shape

    @property
    def source(self) -> float | None:
        """Constant source f of Darcy flow; None where it is unknown or varies."""
        return self.attributes.get("beta")


@dataclass(frozen=True)
class Header:
    """What is common to all samples of a file to be written.

    Attributes
    ----------
    samples : int
        Number of samples.
    grid : Grid
    attributes : dict
        Root attributes beyond those that the schema sets; values are numbers or strings.
    inputs, outputs : tuple of Field
    times : tuple of float
        () where the solutions are stationary.
    arrays : dict of arrays
        Those parameters of the problem that are arrays.
    axes : tuple of arrays, optional
        Coordinates where they are not those of the grid: of a left grid that is shifted.
    splits : dict of int arrays
        Indices of the samples of each split.
    first : int
        Number of the first sample, for a shard.
    """

    samples: int
    grid: Grid
    attributes: dict[str, Any]
    inputs: tuple[Field, ...] = COEFFICIENT
    outputs: tuple[Field, ...] = SOLUTION
    times: tuple[float, ...] = ()
    arrays: dict[str, Float[np.ndarray, "*any"]] = field(default_factory=dict)
    axes: tuple[Float[np.ndarray, " _"], ...] | None = None
    splits: dict[str, Int[np.ndarray, " samples"]] = field(default_factory=dict)
    first: int = 0

    @property
    def version(self) -> int:
        """Version of the schema that can say all this."""
        one = len(self.inputs) == len(self.outputs) == 1 and not self.times
        return 1 if one and self.grid.kind != "periodic" and not self.grid.lengths else 2

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of ``nu`` and ``tensor``."""
        inputs = (len(self.inputs),) if len(self.inputs) > 1 else ()
        times = (len(self.times),) if self.times else ()
        return {
            "nu": (self.samples, *inputs, *self.grid.shape),
            "tensor": (self.samples, *times, len(self.outputs), *self.grid.shape),
        }


@dataclass(frozen=True)
class Block:
    """Some consecutive samples, ready to be written.

    Attributes
    ----------
    nu, tensor : (k, …) float32 arrays
        Inputs and solutions, in the shapes of the file.
    quality : dict of (k,) arrays
        ``evidence``, ``accepted_by``, ``solver``; what is left out is unknown.
    """

    nu: Float32[np.ndarray, "k *input"]
    tensor: Float32[np.ndarray, "k *output"]
    quality: Mapping[str, np.ndarray] = field(default_factory=dict)

    @cached_property
    def sha256(self) -> np.ndarray:
        """Checksum of each sample, as hexadecimal digits."""
        return np.array([checksum(a, u) for a, u in zip(self.nu, self.tensor, strict=True)], dtype="S64")


def checksum(nu: Float[np.ndarray, "*input"], tensor: Float[np.ndarray, "*output"]) -> bytes:
    """SHA-256 of the little-endian float32 bytes of one sample's inputs and solution."""
    value = hashlib.sha256()
    for part in (nu, tensor):
        value.update(np.ascontiguousarray(part, dtype="<f4").data)
    return value.hexdigest().encode()


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


def file_size(header: Header) -> int:
    """About the bytes that a file takes, and rather more than less."""
    values = sum(int(np.prod(shape)) for shape in header.shapes.values())
    return 4 * values + 256 * header.samples + 2**18
