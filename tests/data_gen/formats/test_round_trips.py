"""Every format gives back what was written to it, as far as it can say it, and other projects' loaders read it."""

import h5py
import numpy as np
import pytest
import torch
from neuralop.data.datasets.pt_dataset import PTDataset

from data_gen import Grid, convert, generate, read_info
from data_gen.formats import FORMATS, fno
from data_gen.problem import Field
from data_gen.storage import Block, Header, open_hdf5, write
from data_gen.verification import verify

SUFFIX = {"netcdf": "nc", "neuralop": "pt", "fno": "mat", "pdebench": "h5", "the_well": "h5", "arrays": "npz"}
N, X, Y, TIMES = 5, 9, 7, (0.25, 0.5, 1.0)
LEFT = Grid((X, Y), "left")


def signed(*names):
    return tuple(Field(name, name) for name in names)


def smooth(rng, *shape):
    """Waves on the periodic grid, of any sign."""
    x, y = np.meshgrid(np.arange(X) / X, np.arange(Y) / Y, indexing="ij")
    p = rng.uniform(0, 2 * np.pi, (2, *shape, 1, 1))
    return (np.sin(2 * np.pi * x + p[0]) + np.cos(2 * np.pi * y + p[1])).astype(np.float32)


def made(path, inputs, outputs, times=(), grid=LEFT):
    """A file of ours of an unknown equation."""
    rng = np.random.default_rng(0)
    a = smooth(rng, N, len(inputs))
    u = smooth(rng, N, *([len(times)] if times else []), len(outputs))
    about = {"problem": "unknown", "parameters": "{}", "equation": "unknown", "boundary_condition": "unknown"}
    parts = {"train": np.array([4, 0, 2]), "test": np.array([1])}
    header = Header(N, grid, about, inputs, outputs, times, splits=parts)
    write(path, header, [Block(a[:, 0] if len(inputs) == 1 else a, u)])
    return path


KINDS = {
    "a pair": (signed("a"), signed("u"), (), LEFT),
    "a positive pair": ((Field("k", "κ"),), signed("T"), (), Grid((X, Y), "vertices")),
    "channels": (signed("a", "b", "c"), signed("u", "v"), (), LEFT),
    "a state": (signed("vorticity"), signed("vorticity"), TIMES, Grid((X, Y), "periodic")),
    "states": (signed("p", "q"), signed("p", "q"), TIMES, Grid((X, Y), "left", (2.0, 3.0))),
    "a state and a force": (signed("w", "f"), signed("w"), TIMES, Grid((X, Y), "periodic", (2.0, 2.0))),
    "no state": (signed("f"), signed("w"), TIMES, LEFT),
}

CAN = {
    "netcdf": set(KINDS),
    "arrays": set(KINDS),
    "neuralop": {"a pair", "a positive pair", "channels"},
    "fno": {"a pair", "a positive pair", "a state"},
    "pdebench": {"a pair", "a positive pair", "a state", "states"},
    "the_well": set(KINDS),
}
"""Which format can say what; the others refuse it."""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FORMATS)
def test_there_and_back(tmp_path, monkeypatch, name, kind):
    inputs, outputs, times, grid = KINDS[kind]
    path = made(tmp_path / "d.hdf5", inputs, outputs, times, grid)
    there = tmp_path / f"there.{SUFFIX[name]}"
    if kind not in CAN[name]:
        with pytest.raises(ValueError, match=f"holds {len(inputs)} inputs, {len(outputs)} outputs and"):
            convert(path, there, to=name)
        assert not there.exists()
        return
    convert(path, there, to=name)
    options = {}
    if name in ("fno", "pdebench") and not times:  # whose layouts are of Darcy flow, and of positive coefficients
        options = {
            "inputs": ["a=coeff" if name == "fno" else "a=nu"],
            "outputs": ["u=sol" if name == "fno" else "u=tensor"],
        }
    convert(there, tmp_path / "back.hdf5", grid=grid.kind, **options)
    now, then = read_info(tmp_path / "back.hdf5"), read_info(path)
    with open_hdf5(path) as old, open_hdf5(tmp_path / "back.hdf5") as new:
        for field in ("nu", "tensor"):
            np.testing.assert_array_equal(new[field][:], old[field][:])
        for axis in ("x-coordinate", "y-coordinate"):
            np.testing.assert_allclose(new[axis][:], old[axis][:], atol=1e-6)
    assert (now.grid.kind, now.times) == (then.grid.kind, pytest.approx(then.times))
    if name not in ("neuralop", "fno"):  # which have no coordinates
        assert now.grid.sides == pytest.approx(then.grid.sides, rel=1e-6)
    if name in ("netcdf", "arrays"):
        assert now == now.__class__(**{**vars(then), **{k: getattr(now, k) for k in ("path", "attributes", "splits")}})
        assert {k: list(v) for k, v in now.splits.items()} == {k: list(v) for k, v in then.splits.items()}
        assert now.digest == then.digest
    if name in ("the_well", "pdebench") and times:
        assert [field.name for field in now.outputs] == [field.name for field in then.outputs]
    assert list(verify(tmp_path / "back.hdf5")) == []


def test_a_split_is_exported_in_its_own_order(tmp_path):
    path = made(tmp_path / "d.hdf5", signed("a"), signed("u"))
    convert(path, tmp_path / "t.npz", split="train")
    with np.load(tmp_path / "t.npz") as arrays, open_hdf5(path) as file:
        np.testing.assert_array_equal(arrays["a"][:, 0], file["nu"][:][[4, 0, 2]])
        assert not [name for name in arrays if name.startswith("split")]


@pytest.mark.parametrize("limit", [2**30, 0])
def test_vorticity_of_the_fno_in_both_versions(tmp_path, monkeypatch, limit):
    """NavierStokes_V1e-5_N1200_T20: a (N, n, n), u (N, n, n, T), t (1, T)."""
    monkeypatch.setattr(fno, "MAT5_LIMIT", limit)
    path = made(tmp_path / "d.hdf5", signed("w"), signed("w"), TIMES, Grid((X, Y), "periodic"))
    convert(path, tmp_path / "ns.mat")
    assert h5py.is_hdf5(tmp_path / "ns.mat") == (limit == 0)
    lines = []
    convert(tmp_path / "ns.mat", tmp_path / "back.hdf5", say=lines.append)
    with open_hdf5(path) as old, open_hdf5(tmp_path / "back.hdf5") as new:
        np.testing.assert_array_equal(new["tensor"], old["tensor"])
        np.testing.assert_array_equal(new["nu"], old["nu"])
    assert "grid: 9×7 periodic on (0, 1) × (0, 1), as its layout says; the unit square" in " ".join(lines)
    assert read_info(tmp_path / "back.hdf5").outputs == signed("vorticity")


@pytest.mark.parametrize("squeezed", [True, False])
def test_neuraloperators_own_loader_reads_what_is_written(tmp_path, squeezed):
    fields = (signed("a"), signed("u")) if squeezed else (signed("a", "b"), signed("u", "v"))
    path = made(tmp_path / "d.hdf5", *fields)
    for part in ("train", "test"):
        convert(path, tmp_path / f"own_{part}_{X}.pt", split=part)
    data = PTDataset(tmp_path, "own", 3, [1], 3, [1], X, [X], encode_output=False, channels_squeezed=squeezed)
    with open_hdf5(path) as file:
        a, u = file["nu"][:][[4, 0, 2]], file["tensor"][:][[4, 0, 2]]
    x = torch.stack([data.train_db[i]["x"] for i in range(3)]).numpy()
    y = torch.stack([data.train_db[i]["y"] for i in range(3)]).numpy()
    np.testing.assert_array_equal(x, a[:, None] if squeezed else a)
    np.testing.assert_array_equal(y, u)


def test_the_equation_of_darcy_flow_survives_the_well(tmp_path):
    generate(tmp_path / "d.hdf5", 4, (9, 9), source=2.0)
    convert(tmp_path / "d.hdf5", tmp_path / "w.h5", to="the_well")
    convert(tmp_path / "w.h5", tmp_path / "back.hdf5")
    info = read_info(tmp_path / "back.hdf5")
    assert (info.problem, info.source, info.equation) == ("darcy", 2.0, read_info(tmp_path / "d.hdf5").equation)
    assert list(verify(tmp_path / "back.hdf5")) == []


def test_vectors_of_the_well_are_channels_and_conditions_inputs(tmp_path):
    """active_matter, turbulent_radiative_layer: t1_fields (N, T, n, m, 2), constant ones without N or T."""
    rng = np.random.default_rng(1)
    v, speed = rng.standard_normal((N, 3, X, Y, 2)), rng.standard_normal((X, Y))
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.attrs.update({"n_spatial_dims": 2, "grid_type": "cartesian", "dataset_name": "flow", "viscosity": 0.1})
        file.create_group("dimensions").attrs["spatial_dims"] = ["x", "y"]
        for name, values in {"time": np.arange(3.0), "x": np.arange(X) / X, "y": np.arange(Y) / Y}.items():
            file[f"dimensions/{name}"] = values
        file.create_group("t0_fields").attrs["field_names"] = ["speed"]
        file["t0_fields/speed"] = speed
        file["t0_fields/speed"].attrs.update(
            {"dim_varying": [True, True], "sample_varying": False, "time_varying": False}
        )
        file.create_group("t1_fields").attrs["field_names"] = ["velocity"]
        file["t1_fields/velocity"] = v
        file["t1_fields/velocity"].attrs.update(
            {"dim_varying": [True, True], "sample_varying": True, "time_varying": True}
        )
        for name in "xy":
            file.create_group(f"boundary_conditions/{name}").attrs["bc_type"] = "PERIODIC"
    convert(tmp_path / "w.h5", tmp_path / "d.hdf5")
    info = read_info(tmp_path / "d.hdf5")
    assert [field.name for field in info.inputs] == ["velocity_x", "velocity_y", "speed"]
    assert ([field.name for field in info.outputs], info.times) == (["velocity_x", "velocity_y"], (1.0, 2.0))
    assert (info.grid.kind, info.attributes["boundary_condition"]) == ("periodic", "periodic")
    with open_hdf5(tmp_path / "d.hdf5") as file:
        np.testing.assert_array_equal(file["nu"][:, 2], np.broadcast_to(speed.astype("f4"), (N, X, Y)))
        np.testing.assert_array_equal(file["nu"][:, :2], np.moveaxis(v[:, 0], -1, 1).astype("f4"))
        np.testing.assert_array_equal(file["tensor"], np.moveaxis(v[:, 1:], -1, 2).astype("f4"))
