"""The Well's layout in HDF5, for export only: coefficient and solution as fields, with metadata."""

from pathlib import Path

import h5py
import numpy as np

from data_gen import storage
from data_gen.formats.foreign import Selection


def write(data: Selection, path: Path) -> None:
    """The Well's layout: the coefficient a constant field, the solution a field of one time step.

    A boundary on which u = 0 is a wall in its words: of a left grid the points at 0 lie on it, and none at the far end.
    """
    samples, n, m = data.shape
    fixed = {"sample_varying": False, "time_varying": False}
    with h5py.File(path, "w-") as file:
        f = {} if data.info.source is None else {"f": data.info.source}
        file.attrs.update({"dataset_name": "darcy_flow", "grid_type": "cartesian", "n_spatial_dims": 2})
        file.attrs.update({"n_trajectories": samples, "simulation_parameters": list(f), **f})
        axes = {"x": data.x, "y": data.y}
        sides = dict(zip(axes, data.info.grid.sides, strict=True))
        file.create_group("dimensions").attrs["spatial_dims"] = list(axes)
        for name, values in {"time": np.zeros(1), **axes}.items():
            file.create_dataset(f"dimensions/{name}", data=values.astype("<f4")).attrs.update(fixed)
        walls = file.create_group("boundary_conditions")
        for name, values in axes.items() if data.info.attributes.get("boundary_condition") == storage.BOUNDARY else ():
            wall = walls.create_group(f"{name}_wall")
            wall.attrs.update({"associated_dims": [name], "associated_fields": [], "bc_type": "WALL", **fixed})
            near = 1e-3 * sides[name] / len(values)
            wall["mask"] = (np.abs(values) < near) | (np.abs(values - sides[name]) < near)
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
