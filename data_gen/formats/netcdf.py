"""netCDF, read and written through xarray: its dimensions have names, so that no axis is guessed.

As written, a variable for each field says in its attribute ``role`` whether it is an input or an output, and
``field``, ``symbol`` and ``positive`` what it is.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from data_gen.formats.assembled import assemble, chosen, line, of_lettered
from data_gen.formats.axes import Lettered, agree
from data_gen.formats.foreign import Foreign, Source, Values, plain_attributes
from data_gen.formats.selection import Selection
from data_gen.problem import Field

SUFFIXES = (".nc", ".nc4", ".cdf", ".netcdf")
DIMENSIONS = {
    "s": ("sample", "samples", "batch", "trajectory", "trajectories", "ensemble", "member", "realization", "number"),
    "t": ("time", "t", "times"),
    "c": ("channel", "channels", "component", "variable", "c"),
    "x": ("x", "lon", "longitude"),
    "y": ("y", "lat", "latitude"),
}
SPLIT = "split_"


def read(source: Source) -> Foreign | None:
    """A file with such a suffix, slice by slice. None for other files.

    Raises
    ------
    ValueError
        If it is no netCDF file, its dimensions are called otherwise and no axes are told, or it does not say what its
        inputs and outputs are.
    """
    path = source.path
    if path.suffix not in SUFFIXES:
        return None
    import xarray as xr

    engine = "scipy" if source.file is None else "h5netcdf"
    try:
        data = source.stack.enter_context(xr.open_dataset(path, engine=engine, decode_times=False, cache=False))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is no netCDF file, or a truncated one: {' '.join(str(error).split())}") from error
    arrays: dict[str, Values] = {str(name): _Variable(data[name]) for name in data.variables}
    units = {f"units of {name}": each.attrs["units"] for name, each in data.variables.items() if "units" in each.attrs}
    attributes = plain_attributes(data.attrs) | plain_attributes(units)
    if source.told.axes:
        return assemble(source, arrays, attributes=attributes)
    roles = {role: [n for n in arrays if data[n].attrs.get("role") == role] for role in ("input", "output")}
    ours = bool(roles["input"] and roles["output"]) and not source.told
    inputs, outputs = (
        [{name: name for name in each} for each in roles.values()]
        if ours
        else chosen(path, arrays, source.told.inputs, source.told.outputs)
    )
    given, found = (
        [Lettered(field, arrays[key], _letters(path, data[key])) for field, key in each.items()]
        for each in (inputs, outputs)
    )
    axes: dict[str, Any] = {}
    dimensions = [str(name) for name in data[next(iter(outputs.values()))].dims]
    for letter in "txy":
        name = next((each for each in dimensions if each.lower() in DIMENSIONS[letter]), "")
        axes[letter] = line(arrays, (name,), ()) if name in data.coords else None
    if not agree([*given, *found], None, (None, None)):
        shapes = ", ".join(f"{each.name} {each.values.shape}" for each in (*given, *found))
        raise ValueError(f"{path}: inputs and outputs must be on the same points, got {shapes}")
    if any("t" in each.axes for each in given):
        raise ValueError(f"{path}: inputs have no time: name outputs alone, whose first state is then the input")
    if any("t" in each.axes for each in found) and axes["t"] is None:
        raise ValueError(f"{path}: solutions in time need their times, a coordinate of the dimension of time")
    about = {"x": axes["x"], "y": axes["y"], "attributes": attributes}
    foreign = of_lettered(path, given, found, () if axes["t"] is None else tuple(axes["t"]), arrays.get, **about)
    return _named(foreign, data, roles) if ours else foreign


def _named(foreign: Foreign, data: Any, roles: dict[str, list[str]]) -> Foreign:
    """A file that we have written, with the fields, the grid and the splits that it names."""

    def fields(role: str) -> tuple[Field, ...]:
        each = [data[name].attrs for name in roles[role]]
        return tuple(Field(str(a["field"]), str(a["symbol"]), bool(a["positive"])) for a in each)

    splits = {str(n).removeprefix(SPLIT): data[n].values for n in data.variables if str(n).startswith(SPLIT)}
    return replace(
        foreign,
        inputs=fields("input"),
        outputs=fields("output"),
        signs=True,
        indicator=bool(data.attrs.get("indicator", 0)),
        kind=data.attrs.get("grid"),
        splits=splits,
        notes=(),
        attributes={},
    )


class _Variable:
    """A variable, of which slices are read."""

    def __init__(self, variable: Any) -> None:
        self.variable, self.shape, self.dtype = variable, tuple(variable.shape), variable.dtype

    def __getitem__(self, index: Any) -> np.ndarray:
        return self.variable[index].values


def _letters(path: Path, variable: Any) -> str:
    known = {name: letter for letter, names in DIMENSIONS.items() for name in names}
    unknown = [str(d) for d in variable.dims if str(d).lower() not in known]
    letters = "".join(known.get(str(d).lower(), "") for d in variable.dims)
    if unknown or len(set(letters)) < len(letters) or not set("sxy") <= set(letters):
        raise ValueError(
            f"{path}: the dimensions of {variable.name} must be called sample, x, y, and channel or time where they "
            f"are there, got {', '.join(map(str, variable.dims))}: say axes"
        )
    return letters


def write(data: Selection, path: Path) -> None:
    """A variable for each field, with coordinates, the kind of grid and the splits.

    An input that is called as an output is the variable ``NAME_0``.
    """
    import xarray as xr

    info = data.info
    a, u = data.arrays()
    time = ("time",) if info.times else ()
    outputs = [field.name for field in info.outputs]
    variables: dict[str, Any] = {}
    for role, fields in (("input", info.inputs), ("output", info.outputs)):
        for i, field in enumerate(fields):
            name = f"{field.name}_0" if role == "input" and field.name in outputs else field.name
            about = {"role": role, "field": field.name, "symbol": field.symbol, "positive": int(field.positive)}
            values = a[:, i] if role == "input" else u[:, :, i] if info.times else u[:, 0, i]
            variables[name] = (("sample", *(time if role == "output" else ()), "x", "y"), values, about)
    for name, indices in data.splits().items():
        variables[SPLIT + name] = ((f"in_{name}",), indices)
    coordinates: dict[str, Any] = {"x": data.x, "y": data.y}
    if info.times:
        coordinates["time"] = np.array(info.times)
    attributes = {"grid": data.grid.kind, "indicator": int(data.indicator)}
    xr.Dataset(variables, coordinates, attributes).to_netcdf(path, engine="h5netcdf")
