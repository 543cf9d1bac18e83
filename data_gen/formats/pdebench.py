"""PDEBench's Darcy layout in HDF5: nu (N, n, m), tensor (N, 1, n, m), coordinates, and the attribute beta = f."""

from pathlib import Path

import h5py
import numpy as np

from data_gen.formats.foreign import Foreign, Selection


def read(path: Path, file: h5py.File | None) -> Foreign | None:
    """An HDF5 file that has nu and tensor, slice by slice. None for other files.

    Raises
    ------
    ValueError
        If nu and tensor do not fit one another.
    """
    if file is None or not {"nu", "tensor"} <= file.keys():
        return None
    a, u = file["nu"], file["tensor"]
    if a.ndim != 3 or u.shape != (a.shape[0], 1, *a.shape[1:]):
        raise ValueError(f"{path}: nu and tensor must be (N, n, m) and (N, 1, n, m), got {a.shape} and {u.shape}")
    beta = file.attrs.get("beta")
    x, y = (file[name][:].astype(np.float64) if name in file else None for name in ("x-coordinate", "y-coordinate"))
    return Foreign(
        a.shape,
        lambda rows: a[rows],
        lambda rows: u[rows, 0],
        None if beta is None else float(np.squeeze(beta)),
        x,
        y,
    )


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
