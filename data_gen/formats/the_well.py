"""The Well's layout in HDF5: scalars and vectors as fields, constant ones and those in time, with metadata.

Fields that vary in time are the outputs. Their first state is the input, too, unless constant fields are there and the
times do not begin at 0; with one time, as in a stationary problem, the constant fields are the inputs.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from data_gen import storage
from data_gen.formats.assembled import of_lettered
from data_gen.formats.axes import Lettered
from data_gen.formats.foreign import Foreign, Source, plain_attributes
from data_gen.formats.selection import Selection
from data_gen.grid import Kind

GROUPS = ("t0_fields", "t1_fields", "t2_fields")
COMPONENTS = "xyz"
DARCY = "darcy_flow"
OURS = ("dataset_name", "grid_type", "n_spatial_dims", "n_trajectories", "simulation_parameters", "f")


def read(source: Source) -> Foreign | None:
    """A file of The Well, slice by slice. None for other files, and where something else is told.

    Raises
    ------
    ValueError
        If it is not of two dimensions on a Cartesian grid, or its trajectories have times or points of their own.
    """
    path, file = source.path, source.file
    if file is None or source.told or GROUPS[0] not in file or "dimensions" not in file:
        return None
    if int(file.attrs.get("n_spatial_dims", 2)) != 2 or _word(file.attrs.get("grid_type", "cartesian")) != "cartesian":
        raise ValueError(f"{path} must be of two dimensions on a cartesian grid")
    names = [_word(name) for name in file["dimensions"].attrs.get("spatial_dims", ["x", "y"])]
    axes = {}
    for name in ("time", *names):
        axis = file["dimensions"][name]
        if axis.ndim != 1 or axis.attrs.get("sample_varying", False) or axis.attrs.get("time_varying", False):
            raise ValueError(f"{path}: {name} must be the same for all trajectories")
        axes[name] = axis[()].astype(np.float64)
    t, x, y = axes.values()
    constant: list[Lettered] = []
    moving: list[Lettered] = []
    for group in GROUPS:
        for name in (
            [_word(name) for name in file[group].attrs.get("field_names", file[group])] if group in file else ()
        ):
            for each in _components(path, file[group][name], name, GROUPS.index(group)):
                (moving if "t" in each.axes else constant).append(each)
    if not moving:
        raise ValueError(f"{path} has no field that varies in time: nothing is an output")
    notes = [
        f"scalar {name} is not taken, and differs from sample to sample"
        for name, item in file.get("scalars", {}).items()
        if item.attrs.get("sample_varying", False)
    ]
    kind, boundary = _walls(file, names)
    stationary = len(t) == 1
    if stationary and not constant:
        raise ValueError(f"{path} has one time and no constant field: nothing is an input")
    begins = not stationary and (t[0] == 0 or not constant)
    given = [Lettered(each.name, _AtFirst(each), each.axes.replace("t", "")) for each in moving] if begins else []
    foreign = of_lettered(
        path,
        [*given, *constant] if constant else [],
        moving,
        () if stationary else tuple(map(float, t)),
        x=x,
        y=y,
        kind=kind,
        boundary=boundary,
        notes=notes,
        attributes=plain_attributes(file.attrs, *OURS),
    )
    if _word(file.attrs.get("dataset_name", "")) != DARCY or [len(constant), len(moving), len(t)] != [1, 1, 1]:
        return foreign
    f = file.attrs.get("f")
    return replace(
        foreign,
        darcy=True,
        inputs=storage.COEFFICIENT,
        outputs=storage.SOLUTION,
        source=None if f is None else float(np.asarray(f)),
        attributes={},
    )


class _AtFirst:
    """A field in time at its first time."""

    def __init__(self, field: Lettered) -> None:
        self.values, self.place = field.values, field.axes.index("t")
        self.shape = tuple(n for axis, n in enumerate(field.values.shape) if axis != self.place)
        self.dtype = field.values.dtype

    def __getitem__(self, index: Any) -> Any:
        whole = list(index) + [slice(None)] * (len(self.shape) - len(index))
        return self.values[(*whole[: self.place], 0, *whole[self.place :])]


def _components(path: Path, dataset: h5py.Dataset, name: str, order: int) -> list[Lettered]:
    """A scalar field, or each component of a vector or a tensor."""
    varies = [bool(each) for each in np.atleast_1d(dataset.attrs.get("dim_varying", [True, True]))]
    axes = "s" * bool(dataset.attrs.get("sample_varying", True)) + "t" * bool(dataset.attrs.get("time_varying", True))
    axes += "".join(letter for letter, there in zip("xy", varies, strict=True) if there)
    if dataset.ndim != len(axes) + order:
        raise ValueError(f"{path}: {name} has shape {dataset.shape}, and its attributes say {len(axes)} axes")
    places = np.ndindex(*dataset.shape[len(axes) :])
    return [
        Lettered("_".join([name, *(COMPONENTS[i] for i in place)]), _Component(dataset, place), axes)
        for place in places
    ]


class _Component:
    """A component of a vector or a tensor field, whose index is the last."""

    def __init__(self, dataset: h5py.Dataset, place: tuple[int, ...]) -> None:
        self.dataset, self.place, self.dtype = dataset, place, dataset.dtype
        self.shape = dataset.shape[: dataset.ndim - len(place)]

    def __getitem__(self, index: Any) -> np.ndarray:
        whole = (*index, *[slice(None)] * (len(self.shape) - len(index)))
        return self.dataset[(*whole, *self.place)]


def _walls(file: h5py.File, names: list[str]) -> tuple[Kind | None, str | None]:
    """The kind of grid and the boundary condition, as far as the types of its sides tell."""
    sides = file.get("boundary_conditions", {})
    kinds = [_word(side.attrs.get("bc_type", "")) for side in sides.values()]
    if kinds and set(kinds) == {"PERIODIC"}:
        return "periodic", "periodic"
    ours = _word(file.attrs.get("dataset_name", "")) == DARCY and set(kinds) == {"WALL"}
    return None, storage.BOUNDARY if ours and len(kinds) == len(names) else None


def _word(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def write(data: Selection, path: Path) -> None:
    """The Well's layout: inputs as constant fields, outputs in time, from the state at t = 0 on where it is an input.

    A boundary on which u = 0 is a wall in its words: of a left grid the points at 0 lie on it, and none at the far end.

    Raises
    ------
    ValueError
        If an output is called as an input is that is not its state at t = 0.
    """
    samples, n, m = data.shape
    info = data.info
    darcy = data.is_pair and info.problem == "darcy"
    fixed = {"sample_varying": False, "time_varying": False}
    with h5py.File(path, "w-") as file:
        f = {} if info.source is None else {"f": info.source}
        name = DARCY if darcy else info.problem
        file.attrs.update({"dataset_name": name, "grid_type": "cartesian", "n_spatial_dims": 2})
        file.attrs.update({"n_trajectories": samples, "simulation_parameters": list(f), **f})
        axes = {"x": data.x, "y": data.y}
        sides = dict(zip(axes, info.grid.sides, strict=True))
        times = np.array([*[0.0] * bool(data.states), *info.times]) if info.times else np.zeros(1)
        file.create_group("dimensions").attrs["spatial_dims"] = list(axes)
        for name, values in {"time": times, **axes}.items():
            file.create_dataset(f"dimensions/{name}", data=values.astype("<f4")).attrs.update(fixed)
        walls = file.create_group("boundary_conditions")
        walled = info.attributes.get("boundary_condition") == storage.BOUNDARY
        for name, values in axes.items() if walled or data.grid.kind == "periodic" else ():
            wall = walls.create_group(f"{name}_{'wall' if walled else 'periodic'}")
            kind = "WALL" if walled else "PERIODIC"
            wall.attrs.update({"associated_dims": [name], "associated_fields": [], "bc_type": kind, **fixed})
            near = 1e-3 * sides[name] / len(values)
            far = np.abs(values - sides[name]) < near
            wall["mask"] = (np.abs(values) < near) | far if walled else np.arange(len(values)) % (len(values) - 1) == 0
        scalars = file.create_group("scalars")
        scalars.attrs["field_names"] = list(f)
        for name, value in f.items():
            scalars.create_dataset(name, data=np.float32(value)).attrs.update(fixed)
        fields = file.create_group("t0_fields", track_order=True)
        constant = [i for i in range(len(info.inputs)) if i not in data.states]
        beside = ["coefficient"] if darcy else [info.inputs[i].name for i in constant]
        outputs = ["solution"] if darcy else [field.name for field in info.outputs]
        if shared := set(beside) & set(outputs):
            raise ValueError(f"{info.path}: {', '.join(shared)} is an input and an output; The Well names fields once")
        fields.attrs["field_names"] = [*beside, *outputs]
        nu = [fields.create_dataset(name, data.shape, "<f4") for name in beside]
        tensor = [fields.create_dataset(name, (samples, len(times), n, m), "<f4") for name in outputs]
        for field in (*nu, *tensor):
            varies = {"sample_varying": True, "time_varying": field in tensor}
            field.attrs.update({"dim_varying": [True, True], **varies})
        for rows, a, u in data.blocks():
            states = np.concatenate([a[:, None, data.states], u], 1) if data.states else u
            for place, dataset in zip(constant, nu, strict=True):
                dataset[rows] = a[:, place]
            for channel, dataset in enumerate(tensor):
                dataset[rows] = states[:, :, channel]
        for name in ("t1_fields", "t2_fields"):
            file.create_group(name).attrs["field_names"] = np.array([], dtype="S1")
