"""PDEBench's Darcy layout in HDF5: nu (N, n, m), tensor (N, 1, n, m), coordinates, and the attribute beta = f."""

from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Float

from data_gen.formats.foreign import Foreign, Selection


def read(path: Path, file: h5py.File | None) -> Foreign | None:
    """An HDF5 file that has nu and tensor, slice by slice. None for other files.

    Raises
    ------
    ValueError
        If nu and tensor do not fit one another, or beta is not one number.
    """
    if file is None or not all(isinstance(file.get(name), h5py.Dataset) for name in ("nu", "tensor")):
        return None
    a, u = file["nu"], file["tensor"]
    if a.ndim != 3 or u.shape != (a.shape[0], 1, *a.shape[1:]):
        raise ValueError(f"{path}: nu and tensor must be (N, n, m) and (N, 1, n, m), got {a.shape} and {u.shape}")
    beta = np.squeeze(file.attrs.get("beta", 1.0))
    if beta.ndim or beta.dtype.kind not in "iuf":
        raise ValueError(f"{path}: beta must be one number, got {beta.tolist()!r}")
    x, y = (_axis(path, file, name) for name in ("x-coordinate", "y-coordinate"))
    return Foreign(
        a.shape,
        lambda rows: a[rows],
        lambda rows: u[rows, 0],
        float(beta) if "beta" in file.attrs else None,
        x,
        y,
    )


def _axis(path: Path, file: h5py.File, name: str) -> Float[np.ndarray, "*any"] | None:
    if name not in file:
        return None
    if not isinstance(file[name], h5py.Dataset) or file[name].dtype.kind not in "iuf":
        raise ValueError(f"{path}: {name} must hold numbers")
    return file[name][()].astype(np.float64)


def write(data: Selection, path: Path) -> None:
    """The datasets nu, tensor and coordinates alone, and the attribute beta where the source is constant."""
    samples, n, m = data.shape
    with h5py.File(path, "w-") as file:
        nu, tensor = (
            file.create_dataset("nu", data.shape, "<f4"),
            file.create_dataset("tensor", (samples, 1, n, m), "<f4"),
        )
        for rows, a, u in data.blocks():
            nu[rows], tensor[rows, 0] = a, u
        file["x-coordinate"], file["y-coordinate"] = data.x.astype("<f4"), data.y.astype("<f4")
        if data.info.source is not None:
            file.attrs["beta"] = data.info.source
