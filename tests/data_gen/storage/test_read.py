"""The file is PDEBench's, netCDF4's and self-describing at once; damage is named in one line."""

import h5py
import numpy as np
import pytest
import xarray as xr

from data_gen import Grid, generate, open_dataset, read_info, storage


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """A small dataset of non-square vertices, with a source that varies."""
    path = tmp_path_factory.mktemp("data") / "small.hdf5"
    generate(path, 12, (17, 9), source=lambda x, y: 1 + x * y)
    return path


def test_xarray_reads_named_dimensions(dataset):
    data = open_dataset(dataset)
    assert data.nu.dims == ("sample", "x", "y")
    assert data.tensor.dims == ("sample", "channel", "x", "y")
    np.testing.assert_allclose(data.x, np.linspace(0, 1, 17), rtol=1e-15)
    raw = xr.open_dataset(dataset, engine="h5netcdf")
    assert raw.nu.dims == ("sample", "x-coordinate", "y-coordinate")
    quality = xr.open_dataset(dataset, engine="h5netcdf", group="quality")
    assert float(quality.relative_residual.max()) <= 1e-10
    assert xr.open_dataset(dataset, engine="h5netcdf", group="source").f.dims == ("x-coordinate", "y-coordinate")


def test_pdebench_reads_its_layout(tmp_path):
    generate(tmp_path / "d.hdf5", 3, 9, source=2.5)
    with h5py.File(tmp_path / "d.hdf5") as file:
        assert file["tensor"].shape == (3, 1, 9, 9)
        assert file["nu"].shape == (3, 9, 9)
        assert file["tensor"].dtype == file["nu"].dtype == np.dtype("<f4")
        assert file["x-coordinate"].shape == file["y-coordinate"].shape == (9,)
        assert file.attrs["beta"] == 2.5
        for name, item in file.items():
            if isinstance(item, h5py.Dataset) and not item.is_scale:
                assert all(len(dim) == 1 for dim in item.dims), name


def test_info_says_what_is_known(dataset):
    info = read_info(dataset)
    assert (info.samples, info.shape, info.grid, info.source) == (12, (17, 9), Grid((17, 9)), None)
    assert info.equation == storage.EQUATION
    assert {name: len(indices) for name, indices in info.splits.items()} == {"train": 10, "val": 1, "test": 1}
    np.testing.assert_array_equal(np.sort(np.concatenate(list(info.splits.values()))), np.arange(12))
    x, y = np.meshgrid(np.linspace(0, 1, 17), np.linspace(0, 1, 9), indexing="ij")
    with storage.open_hdf5(dataset) as file:
        np.testing.assert_allclose(storage.arrays_of(file)["source"], 1 + x * y)


def damaged(source, target, change):
    """A copy of the bytes of `source`, changed."""
    target.write_bytes(change(source.read_bytes()))
    return target


def test_bad_files_are_named_in_one_line(dataset, tmp_path):
    text = tmp_path / "text.hdf5"
    text.write_text("nothing")
    foreign = tmp_path / "foreign.hdf5"
    with h5py.File(foreign, "w") as file:
        file["nu"] = np.ones(3)
    future = damaged(dataset, tmp_path / "future.hdf5", bytes)
    with h5py.File(future, "r+") as file:
        file.attrs["schema_version"] = 99
    gap = damaged(dataset, tmp_path / "gap.hdf5", bytes)
    with h5py.File(gap, "r+") as file:
        del file["tensor"]
    for path, error, message in (
        (tmp_path / "none.hdf5", FileNotFoundError, "no such file"),
        (tmp_path, ValueError, "not an HDF5 file"),
        (text, ValueError, "not an HDF5 file"),
        (damaged(dataset, tmp_path / "cut.hdf5", lambda b: b[: len(b) // 2]), ValueError, "truncated HDF5"),
        (foreign, ValueError, "another kind"),
        (future, ValueError, "version 99"),
        (gap, ValueError, "not a complete dataset"),
    ):
        with pytest.raises(error, match=message) as caught:
            read_info(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
