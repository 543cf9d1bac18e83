"""Files of other projects to our schema, and back.

=========== ================================== =====================================================
format      written as                         holds
=========== ================================== =====================================================
neuralop    ``.pt``                            dict of tensors x, y (N, n, m); x bool or real
fno         ``.mat`` (v5 or v7.3)              arrays coeff, sol (N, n, m)
pdebench    HDF5                               nu, tensor, coordinates, attribute beta = f
the_well    HDF5, export only                  coefficient, solution as t0_fields, with metadata
=========== ================================== =====================================================

What a format cannot say (source, boundary condition, law) is told by the caller or marked unknown.
The kind of grid is read off the data: from coordinates where there are any; else from
solutions that vanish on all four edges, or on two of them. Reading never runs code from a file.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io
from jaxtyping import Float

from data_gen import storage
from data_gen.storage import Block, Grid, Header

SAMPLES = 64
MAT5_LIMIT = 2**30


@dataclass(frozen=True)
class Foreign:
    """An open file of another project, read slice by slice.

    Attributes
    ----------
    shape : (samples, n, m)
        Of the coefficients and of the solutions.
    coefficient, solution : callables
        From a slice of samples to (k, n, m) arrays.
    source : float or None
        Constant source, where the file says it.
    x, y : arrays or None
        Coordinates, where the file has them.
    """

    shape: tuple[int, int, int]
    coefficient: Callable[[slice], np.ndarray]
    solution: Callable[[slice], np.ndarray]
    source: float | None = None
    x: np.ndarray | None = None
    y: np.ndarray | None = None


def convert(
    source: str | Path,
    target: str | Path,
    *,
    to: str | None = None,
    grid: Grid | None = None,
    f: float | None = None,
    boundary: str | None = None,
    law: str | None = None,
    split: str | None = None,
    resolution: int | None = None,
) -> Path:
    """Convert a dataset file.

    Parameters
    ----------
    source : path
        A file of this project's schema, or of another: ``.pt``, ``.mat``, or HDF5 in PDEBench's Darcy layout.
    target : path
        File to write; it must not exist.
    to : {"schema", "neuralop", "fno", "pdebench", "the_well"}, optional
        Format of the target; by default ``neuralop`` for ``.pt``, ``fno`` for ``.mat``, else ``schema``.
    grid, f, boundary, law : str, float, str, str, optional
        What a foreign source does not say of itself: kind of grid, constant source, boundary condition, law.
    split, resolution : str, int, optional
        On export: only the samples of this split, and at this resolution, an exact stride of the source's.

    Returns
    -------
    Path
        `target`.

    Raises
    ------
    FileNotFoundError, FileExistsError, ValueError
        If `source` is missing or unreadable, `target` exists, or a value or an option is unfit.
    """
    source, target = Path(source), Path(target)
    if not source.exists():
        raise FileNotFoundError(f"{source}: no such file")
    if target.exists():
        raise FileExistsError(f"{target} exists; it is left as it is")
    to = to or {".pt": "neuralop", ".mat": "fno"}.get(target.suffix, "schema")
    if to != "schema" and to not in WRITERS:
        raise ValueError(f"to must be one of schema, {', '.join(WRITERS)}, got {to!r}")
    ours = storage.is_dataset(source)
    if ours == (to == "schema"):
        raise ValueError(
            f"{source} is {'' if ours else 'not '}of this project's schema: say with --to what {target} shall be"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    if ours:
        if (grid, f, boundary, law) != (None,) * 4:
            raise ValueError("grid, f, boundary and law are for files of other projects: this one says them itself")
        selection = Selection(source, split, resolution)
        with storage.atomic(target) as temporary:
            WRITERS[to](selection, temporary)
    else:
        if (split, resolution) != (None, None):
            raise ValueError("split and resolution are for exports")
        with ExitStack() as stack:
            _import(open_foreign(source, stack), source, target, grid, f, boundary, law)
    return target


def _import(
    foreign: Foreign,
    path: Path,
    target: Path,
    grid: Grid | None,
    f: float | None,
    boundary: str | None,
    law: str | None,
) -> None:
    samples, n, m = foreign.shape
    first = slice(0, min(SAMPLES, samples))
    grid = grid or kind_of_grid(foreign, foreign.solution(first))
    if grid is None:
        raise ValueError(f"{path} does not tell the kind of its grid: say grid vertices or left")
    if foreign.source is not None and f is not None and f != foreign.source:
        raise ValueError(f"{path} says that its source is {foreign.source:g}, and f is {f:g}")
    f = foreign.source if f is None else f
    indicator = foreign.coefficient(slice(0, 1)).dtype == bool
    known = f is not None and boundary == storage.BOUNDARY and not indicator
    attributes: dict[str, Any] = {
        "equation": storage.EQUATION if known else storage.UNKNOWN,
        "boundary_condition": boundary or storage.UNKNOWN,
        "law": law or storage.UNKNOWN,
        "coefficient": "indicator" if indicator else "physical",
        "origin": path.name,
    }
    points = storage.vertices if grid == "vertices" else storage.left
    x = points(n) if foreign.x is None else foreign.x
    y = points(m) if foreign.y is None else foreign.y
    blocks = _blocks(foreign, path, indicator)
    storage.write(target, Header(samples, x, y, grid, attributes, f), blocks)


def _blocks(foreign: Foreign, path: Path, indicator: bool) -> Iterator[Block]:
    for start in range(0, foreign.shape[0], SAMPLES):
        rows = slice(start, min(start + SAMPLES, foreign.shape[0]))
        a, u = foreign.coefficient(rows), foreign.solution(rows)
        for name, values in (("coefficient", a), ("solution", u)):
            bad = ~np.isfinite(values).all((1, 2))
            if bad.any():
                raise ValueError(f"{path}: sample {start + int(bad.argmax())}: NaN or infinite values in the {name}")
        bad = a.min((1, 2)) <= 0
        if bad.any() and not indicator:
            i = int(bad.argmax())
            raise ValueError(
                f"{path}: sample {start + i}: the coefficient must be positive, its minimum is {a[i].min():g}"
            )
        yield Block(a.astype(np.float32), u[:, None].astype(np.float32))


def kind_of_grid(foreign: Foreign, u: Float[np.ndarray, "k n m"]) -> Grid | None:
    """What coordinates, or else solutions that vanish on edges, tell of the grid; None if nothing."""
    if foreign.x is not None:
        n = len(foreign.x)
        if np.allclose(foreign.x, storage.vertices(n), atol=1e-5):
            return "vertices"
        return "left" if np.allclose(np.diff(foreign.x), 1 / n, atol=1e-5) else None
    near, far = (float(np.abs(u[:, i]).mean() + np.abs(u[:, :, i]).mean()) for i in (0, -1))
    if max(near, far) <= 1e-6 * np.abs(u).mean():
        return "vertices"
    return "left" if near < 0.1 * far else None


def open_foreign(path: Path, stack: ExitStack) -> Foreign:
    """Open a file of another project; `stack` closes it.

    Raises
    ------
    ValueError
        If it is of no known format.
    """
    if path.suffix in (".pt", ".pth"):
        return _neuralop(path)
    if h5py.is_hdf5(path):
        file = stack.enter_context(storage.open_hdf5(path))
        if {"coeff", "sol"} <= file.keys():
            return _mat73(path, file)
        if {"nu", "tensor"} <= file.keys():
            return _pdebench(path, file)
        raise ValueError(f"{path} holds neither nu and tensor (PDEBench) nor coeff and sol (FNO)")
    if path.suffix == ".mat":
        return _mat5(path)
    raise ValueError(f"{path} is of no known format: use .pt, .mat, or HDF5 in PDEBench's layout")


def _pair(path: Path, a: np.ndarray, u: np.ndarray) -> Foreign:
    if a.ndim != 3 or a.shape != u.shape:
        raise ValueError(
            f"{path}: coefficients and solutions must be of one shape (N, n, m), got {a.shape} and {u.shape}"
        )
    return Foreign(a.shape, lambda rows: a[rows], lambda rows: u[rows])


def _neuralop(path: Path) -> Foreign:
    import torch

    try:
        data = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(f"{path} is no .pt file of tensors") from error
    if not (isinstance(data, dict) and all(isinstance(data.get(key), torch.Tensor) for key in "xy")):
        raise ValueError(f"{path} must hold a dict of tensors x and y")
    a, u = (data[key][:, 0] if data[key].ndim == 4 and data[key].shape[1] == 1 else data[key] for key in "xy")
    return _pair(path, a.numpy(), u.numpy())


def _mat5(path: Path) -> Foreign:
    try:
        data = scipy.io.loadmat(path, variable_names=["coeff", "sol"])
    except Exception as error:
        raise ValueError(f"{path} is no MATLAB file, or a truncated one") from error
    if not {"coeff", "sol"} <= data.keys():
        raise ValueError(f"{path} must hold arrays coeff and sol")
    return _pair(path, data["coeff"], data["sol"])


def _mat73(path: Path, file: h5py.File) -> Foreign:
    """Version 7.3 is HDF5 with the order of the axes reversed."""
    a, u = file["coeff"], file["sol"]
    if a.ndim != 3 or a.shape != u.shape:
        raise ValueError(
            f"{path}: coeff and sol must be of one shape (N, n, m), got {a.shape[::-1]} and {u.shape[::-1]}"
        )
    return Foreign(a.shape[::-1], lambda rows: a[..., rows].T, lambda rows: u[..., rows].T)


def _pdebench(path: Path, file: h5py.File) -> Foreign:
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


class Selection:
    """The samples of a dataset that an export writes, at its resolution.

    Parameters
    ----------
    path : Path
        A file of this project's schema.
    split : str, optional
        Name of a split; all samples by default.
    resolution : int, optional
        Points along x, an exact stride of those there are.

    Raises
    ------
    ValueError
        If there is no such split, or the resolution is no exact stride.
    """

    def __init__(self, path: Path, split: str | None, resolution: int | None) -> None:
        self.info = storage.read_info(path)
        if split is not None and split not in self.info.splits:
            raise ValueError(f"split must be one of {', '.join(self.info.splits) or 'none'}, got {split!r}")
        self.indices = np.arange(self.info.samples) if split is None else self.info.splits[split]
        n, m = self.info.shape
        stride = 1 if resolution is None else storage.exact_stride(n, resolution, self.info.grid)
        ends = int(self.info.grid == "vertices")
        if (m - ends) % stride:
            raise ValueError(
                f"resolution {resolution} strides {n} points by {stride}, which does not divide the {m} along y"
            )
        with storage.open_hdf5(path) as file:
            self.x, self.y = (file[name][::stride] for name in ("x-coordinate", "y-coordinate"))
        self.stride = stride
        self.shape = (len(self.indices), len(self.x), len(self.y))
        self.indicator = self.info.attributes.get("coefficient") == "indicator"

    def blocks(self) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
        """Rows of the export, coefficients and solutions (k, n, m), float32."""
        with storage.open_hdf5(self.info.path) as file:
            for start in range(0, len(self.indices), SAMPLES):
                rows = np.asarray(self.indices[start : start + SAMPLES])
                a, u = file["nu"][rows], file["tensor"][rows, 0]
                s = slice(None, None, self.stride)
                yield slice(start, start + len(rows)), a[:, s, s], u[:, s, s]

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """All of it, in memory."""
        a, u = np.empty(self.shape, np.float32), np.empty(self.shape, np.float32)
        for rows, some_a, some_u in self.blocks():
            a[rows], u[rows] = some_a, some_u
        return a, u


def write_neuralop(data: Selection, path: Path) -> None:
    """A dict of tensors x and y; x is bool where the coefficient only names phases."""
    import torch

    a, u = data.arrays()
    torch.save({"x": torch.from_numpy(a.astype(bool) if data.indicator else a), "y": torch.from_numpy(u)}, path)


def write_fno(data: Selection, path: Path) -> None:
    """Arrays coeff and sol, in version 5 up to its limit of size, above in version 7.3."""
    if 4 * int(np.prod(data.shape)) < MAT5_LIMIT:
        a, u = data.arrays()
        scipy.io.savemat(path, {"coeff": a, "sol": u}, appendmat=False)
        return
    with h5py.File(path, "w-", userblock_size=512) as file:
        arrays = [file.create_dataset(name, data.shape[::-1], "<f4") for name in ("coeff", "sol")]
        for array in arrays:
            array.attrs["MATLAB_class"] = np.bytes_("single")
        for rows, *values in data.blocks():
            for array, value in zip(arrays, values, strict=True):
                array[..., rows] = value.T
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")


def write_pdebench(data: Selection, path: Path) -> None:
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


def write_the_well(data: Selection, path: Path) -> None:
    """The Well's layout: the coefficient a constant field, the solution a field of one time step.

    A boundary on which u = 0 is a wall in its words.
    """
    samples, n, m = data.shape
    fixed = {"sample_varying": False, "time_varying": False}
    with h5py.File(path, "w-") as file:
        f = {} if data.info.source is None else {"f": data.info.source}
        file.attrs.update({"dataset_name": "darcy_flow", "grid_type": "cartesian", "n_spatial_dims": 2})
        file.attrs.update({"n_trajectories": samples, "simulation_parameters": list(f), **f})
        axes = {"x": data.x, "y": data.y}
        file.create_group("dimensions").attrs["spatial_dims"] = list(axes)
        for name, values in {"time": np.zeros(1), **axes}.items():
            file.create_dataset(f"dimensions/{name}", data=values.astype("<f4")).attrs.update(fixed)
        walls = file.create_group("boundary_conditions")
        for name, values in axes.items() if data.info.attributes.get("boundary_condition") == storage.BOUNDARY else ():
            wall = walls.create_group(f"{name}_wall")
            wall.attrs.update({"associated_dims": [name], "associated_fields": [], "bc_type": "WALL", **fixed})
            wall["mask"] = np.isin(np.arange(len(values)), (0, len(values) - 1))
        scalars = file.create_group("scalars")
        scalars.attrs["field_names"] = list(f)
        for name, value in f.items():
            scalars.create_dataset(name, data=np.float32(value)).attrs.update(fixed)
        fields = file.create_group("t0_fields")
        fields.attrs["field_names"] = ["coefficient", "solution"]
        nu = fields.create_dataset("coefficient", data.shape, "<f4")
        tensor = fields.create_dataset("solution", (samples, 1, n, m), "<f4")
        for field, varies in ((nu, False), (tensor, True)):
            field.attrs.update({"dim_varying": [True, True], "sample_varying": True, "time_varying": varies})
        for rows, a, u in data.blocks():
            nu[rows], tensor[rows, 0] = a, u
        for name in ("t1_fields", "t2_fields"):
            file.create_group(name).attrs["field_names"] = np.array([], dtype="S1")


WRITERS: dict[str, Callable[[Selection, Path], None]] = {
    "neuralop": write_neuralop,
    "fno": write_fno,
    "pdebench": write_pdebench,
    "the_well": write_the_well,
}
