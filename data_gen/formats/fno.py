"""The ``.mat`` files of the FNO's authors, MATLAB's version 5 or 7.3: coeff (logical or real), sol (N, n, m)."""

from pathlib import Path

import h5py
import numpy as np

from data_gen.formats.foreign import Foreign, Selection, pair

MAT5_LIMIT = 2**30
NAMES = {"coeff", "sol"}


def read(path: Path, file: h5py.File | None) -> Foreign | None:
    """Version 7.3, which is HDF5, slice by slice; version 5, known by its suffix, in memory. None for other files.

    Raises
    ------
    ValueError
        If it is no MATLAB file, or coeff and sol are missing or not of one shape (N, n, m).
    """
    if file is not None:
        arrays = all(isinstance(file.get(name), h5py.Dataset) for name in NAMES)
        return _version73(path, file) if arrays else None
    return _version5(path) if path.suffix == ".mat" else None


def _version5(path: Path) -> Foreign:
    import scipy.io

    try:
        classes = {name: kind for name, _, kind in scipy.io.whosmat(path)}
        data = scipy.io.loadmat(path, variable_names=sorted(NAMES))
    except Exception as error:
        raise ValueError(f"{path} is no MATLAB file, or a truncated one") from error
    if not NAMES.issubset(data):
        raise ValueError(f"{path} must hold arrays coeff and sol")
    return pair(path, data["coeff"].astype(bool) if classes["coeff"] == "logical" else data["coeff"], data["sol"])


def _version73(path: Path, file: h5py.File) -> Foreign:
    """Version 7.3 is HDF5 with the order of the axes reversed."""
    a, u = file["coeff"], file["sol"]
    if a.ndim != 3 or a.shape != u.shape:
        raise ValueError(
            f"{path}: coeff and sol must be of one shape (N, n, m), got {a.shape[::-1]} and {u.shape[::-1]}"
        )
    phases = a.attrs.get("MATLAB_class") == b"logical"
    return Foreign(
        a.shape[::-1],
        lambda rows: a[..., rows].T.astype(bool) if phases else a[..., rows].T,
        lambda rows: u[..., rows].T,
    )


def write(data: Selection, path: Path) -> None:
    """Arrays coeff and sol, in version 5 up to its limit of size, above in version 7.3.

    A coefficient that only names phases is logical.
    """
    if 4 * int(np.prod(data.shape)) < MAT5_LIMIT:
        import scipy.io

        a, u = data.arrays()
        scipy.io.savemat(path, {"coeff": a.astype(bool) if data.indicator else a, "sol": u}, appendmat=False)
        return
    with h5py.File(path, "w-", userblock_size=512) as file:
        kinds = (("u1", "logical") if data.indicator else ("<f4", "single"), ("<f4", "single"))
        arrays = [
            file.create_dataset(name, data.shape[::-1], dtype)
            for name, (dtype, _) in zip(("coeff", "sol"), kinds, strict=True)
        ]
        for array, (_, kind) in zip(arrays, kinds, strict=True):
            array.attrs["MATLAB_class"] = np.bytes_(kind)
        for rows, *values in data.blocks():
            for array, value in zip(arrays, values, strict=True):
                array[..., rows] = value.T
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
