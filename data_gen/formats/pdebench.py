"""PDEBench's layouts in HDF5, of two dimensions in space.

============= ======================================================= =============================================
layout        datasets                                                is
============= ======================================================= =============================================
Darcy         nu (N, n, m), tensor (N, 1, n, m), attribute beta = f   a positive coefficient and its solution
in time       a dataset (N, T, n, m) for each field, such as Vx       the state at the first time, and the later ones
by sample     groups 0000, 0001, … with data (T, n, m, channels)      the same
============= ======================================================= =============================================

Coordinates are ``x-coordinate``, ``y-coordinate``, ``t-coordinate``, or ``grid/x``, ``grid/y``, ``grid/t`` of each
sample. Some files have one time more than states, which is left out. Its own split: the first tenth is the test.
"""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Float

from data_gen.formats.assembled import of_lettered
from data_gen.formats.axes import Lettered
from data_gen.formats.foreign import Foreign, Source, pair, plain_attributes
from data_gen.formats.selection import Selection

AXES = ("t-coordinate", "x-coordinate", "y-coordinate")


def read(source: Source) -> Foreign | None:
    """An HDF5 file of one of these layouts, slice by slice. None for other files, and where something else is told.

    Raises
    ------
    ValueError
        If its datasets do not fit one another, beta is not one number, or it is not of two dimensions in space.
    """
    path, file = source.path, source.file
    if file is None or source.told:
        return None
    here = {name for name, item in file.items() if isinstance(item, h5py.Dataset)}
    if {"nu", "tensor"} <= here:
        return _darcy(path, file)
    if file and all(_is_sample(item) for item in file.values()):
        return _by_sample(path, file)
    if "t-coordinate" in here:
        return _in_time(path, file, here)
    return None


def _darcy(path: Path, file: h5py.File) -> Foreign:
    a, u = file["nu"], file["tensor"]
    if a.ndim != 3 or u.shape != (a.shape[0], 1, *a.shape[1:]):
        raise ValueError(f"{path}: nu and tensor must be (N, n, m) and (N, 1, n, m), got {a.shape} and {u.shape}")
    beta = np.squeeze(file.attrs.get("beta", 1.0))
    if beta.ndim or beta.dtype.kind not in "iuf":
        raise ValueError(f"{path}: beta must be one number, got {beta.tolist()!r}")
    x, y = (_axis(path, file, name) for name in AXES[1:])
    about: dict[str, Any] = {"source": float(beta) if "beta" in file.attrs else None, "x": x, "y": y, "array": file.get}
    return pair(path, a, _FirstChannel(u), **about)


class _FirstChannel:
    """(N, 1, n, m) as (N, n, m)."""

    def __init__(self, dataset: h5py.Dataset) -> None:
        self.dataset, self.shape, self.dtype = dataset, (dataset.shape[0], *dataset.shape[2:]), dataset.dtype

    def __getitem__(self, rows: Any) -> np.ndarray:
        return self.dataset[rows, 0]


def _in_time(path: Path, file: h5py.File, here: set[str]) -> Foreign:
    names = [name for name in file if name in here and file[name].ndim > 2]
    shapes = {name: file[name].shape for name in names}
    if not names or len(set(shapes.values())) > 1 or len(shapes[names[0]]) != 4:
        listed = ", ".join(f"{name} {file[name].shape}" for name in sorted(here))
        raise ValueError(f"{path}: fields in time must be of one shape (N, T, n, m), of two dimensions, got {listed}")
    _, count, n, m = shapes[names[0]]
    t, x, y = (_axis(path, file, name) for name in AXES)
    assert t is not None
    if len(t) not in (count, count + 1):
        raise ValueError(f"{path}: t-coordinate must have {count} times, got {len(t)}")
    notes = [f"the last of {count + 1} times, {t[-1]:g}, has no state"] if len(t) > count else []
    for name, axis, points in (("x-coordinate", x, n), ("y-coordinate", y, m)):
        if axis is not None and axis.shape != (points,):
            raise ValueError(f"{path}: {name} must have {points} points, got shape {axis.shape}")
    return of_lettered(
        path,
        [],
        [Lettered(name, file[name], "stxy") for name in names],
        tuple(map(float, t[:count])),
        file.get,
        x=x,
        y=y,
        notes=notes,
        attributes=plain_attributes(file.attrs),
    )


def _is_sample(item: Any) -> bool:
    return isinstance(item, h5py.Group) and isinstance(item.get("data"), h5py.Dataset) and item["data"].ndim >= 3


def _by_sample(path: Path, file: h5py.File) -> Foreign:
    samples = _Samples(path, file)
    first = file[samples.names[0]]
    t, x, y = (_axis(path, first, f"grid/{name}") for name in "txy")
    for name in samples.names:
        for axis, values in (("t", t), ("x", x), ("y", y)):
            there = _axis(path, file[name], f"grid/{axis}")
            if not np.array_equal([] if there is None else there, [] if values is None else values):
                raise ValueError(f"{path}: sample {name} has another {axis} than sample {samples.names[0]}")
    if t is None or len(t) != samples.shape[1]:
        raise ValueError(f"{path}: grid/t must have {samples.shape[1]} times, got {'none' if t is None else len(t)}")
    found = [Lettered("data", samples, "stxyc")]
    return of_lettered(path, [], found, tuple(map(float, t)), x=x, y=y, attributes=plain_attributes(file.attrs))


class _Samples:
    """Groups of one sample each, as one array (N, T, n, m, channels)."""

    def __init__(self, path: Path, file: h5py.File) -> None:
        self.file, self.names = file, sorted(file, key=lambda name: (len(name) * name.isdigit(), name))
        shapes = {file[name]["data"].shape for name in self.names}
        if len(shapes) > 1 or len(min(shapes)) != 4:
            raise ValueError(f"{path}: data must be of one shape (T, n, m, channels), got {sorted(shapes)}")
        self.shape = (len(self.names), *min(shapes))
        self.dtype = file[self.names[0]]["data"].dtype

    def __getitem__(self, index: Any) -> np.ndarray:
        rows, *inner = index
        return np.stack([self.file[name]["data"][tuple(inner)] for name in self.names[rows]])


def _axis(path: Path, file: h5py.File | h5py.Group, name: str) -> Float[np.ndarray, "*any"] | None:
    if name not in file:
        return None
    if not isinstance(file[name], h5py.Dataset) or file[name].dtype.kind not in "iuf":
        raise ValueError(f"{path}: {name} must hold numbers")
    return file[name][()].astype(np.float64)


def write(data: Selection, path: Path) -> None:
    """The datasets of the layout that fits, and coordinates alone; attribute beta where a source is constant.

    Raises
    ------
    ValueError
        For stationary fields of more than one input and one output, or solutions in time that do not begin with
        states.
    """
    samples, n, m = data.shape
    info = data.info
    if not data.is_pair and not (data.states and len(info.inputs) == len(info.outputs)):
        raise data.refuse("PDEBench's layout", "one input and one output, or states in time from t = 0 on")
    with h5py.File(path, "w-", track_order=True) as file:
        file["x-coordinate"], file["y-coordinate"] = data.x.astype("<f4"), data.y.astype("<f4")
        if data.is_pair:
            nu, tensor = (
                file.create_dataset("nu", data.shape, "<f4"),
                file.create_dataset("tensor", (samples, 1, n, m), "<f4"),
            )
            for rows, a, u in data.pairs():
                nu[rows], tensor[rows, 0] = a, u
            if info.source is not None:
                file.attrs["beta"] = info.source
            return
        file["t-coordinate"] = np.array([0.0, *info.times])
        shape = (samples, 1 + len(info.times), n, m)
        fields = [file.create_dataset(field.name, shape, "<f4") for field in info.outputs]
        for rows, states in data.trajectories():
            for channel, dataset in enumerate(fields):
                dataset[rows] = states[:, :, channel]
