"""What the formats share: a file of another project that is read slice by slice, and what is told of it."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import h5py
import numpy as np

from data_gen.grid import Kind
from data_gen.problem import Field
from data_gen.storage import COEFFICIENT, SOLUTION

SAMPLES = 64
"""How many are in memory at once, at most."""

VALUES = 2**26
"""How many values of them are, but for those of one sample."""


def at_once(*shape: int) -> int:
    """How many samples are in memory at once, of such a shape each."""
    return min(SAMPLES, max(1, VALUES // max(1, prod(shape))))


@runtime_checkable
class Values(Protocol):
    """An array in memory or in a file, of which slices are read: of NumPy, of HDF5, of xarray."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> Any: ...

    def __getitem__(self, index: Any, /) -> Any: ...


@dataclass(frozen=True)
class Told:
    """What is told of a file because it does not say it itself.

    Attributes
    ----------
    inputs, outputs : tuple of str
        Names of its arrays, or ``field=array`` where the field is to be called otherwise.
    axes : str
        A letter for each axis of the arrays, see `data_gen.formats.axes`; of inputs and outputs, ``sxy,sxyt``.
    """

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    axes: str = ""

    def __bool__(self) -> bool:
        return bool(self.inputs or self.outputs or self.axes)


@dataclass(frozen=True)
class Source:
    """A file, or a folder of ``.npy``, that is to be read.

    Attributes
    ----------
    path : Path
    file : h5py.File or None
        The open file, where it is HDF5.
    told : Told
    stack : ExitStack
        Closes what a format opens, once all is read.
    """

    path: Path
    file: h5py.File | None
    told: Told
    stack: ExitStack


@dataclass(frozen=True)
class Foreign:
    """An open file of another project, read slice by slice.

    Attributes
    ----------
    samples : int
    shape : (n, m)
        Points along x and y.
    read_inputs : callable
        From a slice of samples to (k, inputs, n, m) arrays.
    read_outputs : callable
        To (k, times, outputs, n, m) arrays, with one time where the solutions are stationary.
    inputs, outputs : tuple of Field
        Their channels.
    signs : bool
        Whether they say which of them are positive; else it is found out, but of Darcy flow.
    times : tuple of float
        When the solutions are; () where they are stationary.
    darcy : bool
        Whether the layout is one of Darcy flow: a positive coefficient, and a solution on the unit square.
    indicator : bool
        Whether the input only names phases.
    source : float or None
        Constant source, where the file says it.
    x, y : arrays or None
        Coordinates, where the file has them.
    kind : {"vertices", "left", "periodic"}, optional
        Of the grid, where the file or its layout says so.
    boundary : str, optional
        Boundary condition, where the file says it.
    splits : dict of arrays
        Indices of the samples of each split, where the file has them.
    array : callable
        The array of that name in the file, such as indices of samples; None where there is none.
    notes : tuple of str
        What was inferred or left out, a line each.
    attributes : dict
        What else the file says of itself.
    """

    samples: int
    shape: tuple[int, int]
    read_inputs: Callable[[slice], np.ndarray]
    read_outputs: Callable[[slice], np.ndarray]
    inputs: tuple[Field, ...] = COEFFICIENT
    outputs: tuple[Field, ...] = SOLUTION
    signs: bool = False
    times: tuple[float, ...] = ()
    darcy: bool = False
    indicator: bool = False
    source: float | None = None
    x: np.ndarray | None = None
    y: np.ndarray | None = None
    kind: Kind | None = None
    boundary: str | None = None
    splits: Mapping[str, np.ndarray] = field(default_factory=dict)
    array: Callable[[str], Any] = lambda name: None
    notes: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def at_once(self) -> int:
        """How many samples are in memory at once."""
        return at_once(len(self.inputs) + len(self.outputs) * max(1, len(self.times)), *self.shape)


def pair(path: Path, a: Values, u: Values, **about: Any) -> Foreign:
    """Coefficients and solutions (N, n, m) of Darcy flow.

    Raises
    ------
    ValueError
        If they are not of one such shape.
    """
    if len(a.shape) != 3 or tuple(a.shape) != tuple(u.shape):
        raise ValueError(
            f"{path}: coefficients and solutions must be of one shape (N, n, m), got {a.shape} and {u.shape}"
        )
    samples, n, m = a.shape
    return Foreign(
        samples,
        (n, m),
        lambda rows: a[rows][:, None],
        lambda rows: u[rows][:, None, None],
        darcy=True,
        indicator=a.dtype == bool,
        **about,
    )


def plain_attributes(attributes: Mapping[str, Any], *known: str) -> dict[str, Any]:
    """Those attributes that are one number or one word each, and not among the known ones."""
    kept: dict[str, Any] = {}
    for name, value in attributes.items():
        plain = np.asarray(value)
        if name in known or plain.size != 1 or plain.dtype.kind not in "biufSUO":
            continue
        each = plain.reshape(-1)[0].item() if plain.dtype.kind != "O" else plain.reshape(-1)[0]
        each = each.decode(errors="replace") if isinstance(each, bytes) else each
        if isinstance(each, bool | int | float | str):
            kept[name if isinstance(name, str) else repr(name)] = each
    return kept
