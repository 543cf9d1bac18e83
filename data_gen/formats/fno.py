"""The ``.mat`` files of the FNO's authors, MATLAB's version 5 or 7.3.

============== ======================================= ==============================================================
layout         arrays                                  is
============== ======================================= ==============================================================
Darcy          coeff (logical or real), sol (N, n, m)  a positive coefficient and its solution
Navier–Stokes  a (N, n, m), u (N, n, m, T), t (T)      vorticity at t = 0, and at the times t > 0, on the torus
============== ======================================= ==============================================================
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from data_gen.formats.arrays import Reversed, of_arrays, of_hdf5
from data_gen.formats.assembled import assemble
from data_gen.formats.foreign import Foreign, Source, Told, Values, pair
from data_gen.formats.selection import Selection

MAT5_LIMIT = 2**30
VORTICITY = "vorticity"


def read(source: Source) -> Foreign | None:
    """Version 7.3, which is HDF5, slice by slice; version 5, known by its suffix, in memory. None for other files.

    Raises
    ------
    ValueError
        If it is no MATLAB file, or its arrays do not fit one another.
    """
    path, file = source.path, source.file
    if file is not None:
        names = {name for name in ("coeff", "sol") if isinstance(file.get(name), h5py.Dataset)}
        return _version73(source, file) if path.suffix == ".mat" or names == {"coeff", "sol"} else None
    return _version5(source) if path.suffix == ".mat" else None


def _version5(source: Source) -> Foreign:
    import scipy.io

    path = source.path
    try:
        classes = {name: kind for name, _, kind in scipy.io.whosmat(path)}
        data = {name: each for name, each in scipy.io.loadmat(path).items() if isinstance(each, np.ndarray)}
    except Exception as error:
        raise ValueError(f"{path} is no MATLAB file, or a truncated one") from error
    arrays: dict[str, Values] = {
        name: each.astype(bool) if classes.get(name) == "logical" else each for name, each in data.items()
    }
    return _of(source, arrays)


def _version73(source: Source, file: h5py.File) -> Foreign:
    """Version 7.3 is HDF5 with the order of the axes reversed."""
    arrays = of_hdf5(file)
    return _of(source, {n: each if isinstance(each, Reversed) else Reversed(file[n]) for n, each in arrays.items()})


def _of(source: Source, arrays: Mapping[str, Values]) -> Foreign:
    path = source.path
    if source.told:
        return of_arrays(source, arrays, {})
    if {"coeff", "sol"} <= arrays.keys():
        return pair(path, arrays["coeff"], arrays["sol"], array=arrays.get)
    if {"a", "u", "t"} <= arrays.keys() and len(arrays["u"].shape) == 4:
        told = Told((f"{VORTICITY}=a",), (f"{VORTICITY}=u",), "sxy,sxyt")
        return assemble(replace(source, told=told), arrays, kind="periodic")
    if {"a", "u"} <= arrays.keys():
        return of_arrays(source, arrays, {})
    raise ValueError(
        f"{path} must hold arrays coeff and sol, or a, u and t, or say which are inputs and outputs: "
        f"it has {', '.join(arrays) or 'none'}"
    )


def write(data: Selection, path: Path) -> None:
    """The layout that fits, in version 5 up to its limit of size, above in version 7.3.

    A coefficient that only names phases is logical.

    Raises
    ------
    ValueError
        For more than one input and one output, or solutions in time that do not begin with the input.
    """
    samples, n, m = data.shape
    shapes: dict[str, tuple[int, ...]]
    if data.is_pair:
        shapes, kind = {"coeff": data.shape, "sol": data.shape}, "logical" if data.indicator else "single"
    elif len(data.info.inputs) == len(data.info.outputs) == 1 and data.states and data.grid.kind == "periodic":
        shapes, kind = {"a": data.shape, "u": (samples, n, m, len(data.info.times))}, "single"
    else:
        raise data.refuse("FNO's .mat", "one input, one output and no time, or a state in time on a periodic grid")
    times = np.array([data.info.times])
    if 4 * max(int(np.prod(shape)) for shape in shapes.values()) < MAT5_LIMIT:
        import scipy.io

        a, u = data.arrays()
        a, u = a[:, 0], np.moveaxis(u[:, :, 0], 1, -1)
        values = [a.astype(bool) if data.indicator else a, u if data.info.times else u[..., 0]]
        content = dict(zip(shapes, values, strict=True)) | ({"t": times} if data.info.times else {})
        scipy.io.savemat(path, content, appendmat=False)
        return
    with h5py.File(path, "w-", userblock_size=512) as file:
        types = {"logical": "u1", "single": "<f4"}
        kinds = (kind, "single")
        arrays = [
            file.create_dataset(name, shape[::-1], types[kind])
            for (name, shape), kind in zip(shapes.items(), kinds, strict=True)
        ]
        for array, kind in zip(arrays, kinds, strict=True):
            array.attrs["MATLAB_class"] = np.bytes_(kind)
        if data.info.times:
            file["t"] = times.T
            file["t"].attrs["MATLAB_class"] = np.bytes_("double")
        for rows, a, u in data.blocks():
            arrays[0][..., rows] = a[:, 0].T
            arrays[1][..., rows] = np.moveaxis(u[:, :, 0], 1, -1).T if data.info.times else u[:, 0, 0].T
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
