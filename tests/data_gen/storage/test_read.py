"""The file is PDEBench's, netCDF4's and self-describing at once; damage is named in one line."""

import errno
import json
import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import xarray as xr

from data_gen import Grid, convert, generate, open_dataset, read_info, storage
from data_gen.storage.write import reserve
from data_gen.verification import verify


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


def rewritten(source, target, change):
    """A copy of a dataset, changed through h5py."""
    with h5py.File(damaged(source, target, bytes), "r+") as file:
        change(file)
    return target


@pytest.mark.parametrize("digest", ["../../stolen", "0" * 63, "A" * 64, 7, ""])
def test_a_digest_is_hexadecimal_digits_for_it_becomes_a_file_name(dataset, tmp_path, digest):
    path = rewritten(dataset, tmp_path / "d.hdf5", lambda file: file.attrs.__setitem__("digest", digest))
    with pytest.raises(ValueError, match="digest must be 64 hexadecimal digits, got"):
        read_info(path)


def elsewhere(how, secret):
    """What makes `tensor` a view of another file."""

    def change(file):
        shape = file["tensor"].shape
        del file["tensor"]
        if how == "link":
            file["tensor"] = h5py.ExternalLink(str(secret), "tensor")
        elif how == "raw":
            file.create_dataset("tensor", shape, "<f4", external=[(str(secret), 0, h5py.h5f.UNLIMITED)])
        else:
            layout = h5py.VirtualLayout(shape, "<f4")
            layout[:] = h5py.VirtualSource(str(secret), "tensor", shape=shape)
            file.create_virtual_dataset("tensor", layout, fillvalue=1.0)
        if how == "listed":
            file["shards/path"] = np.array([str(secret).encode()])

    return change


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("link", "tensor is a link into another file"),
        ("raw", "the values of tensor lie in another file"),
        ("virtual", "tensor is made of .*, which is none of its shards"),
        ("listed", "lists a shard outside its own folder"),
    ],
)
def test_nothing_is_read_from_files_that_are_no_shards(dataset, tmp_path, how, message):
    secret = damaged(dataset, tmp_path / "secret.hdf5", bytes)
    path = rewritten(dataset, tmp_path / "d.hdf5", elsewhere(how, secret))
    with pytest.raises(ValueError, match=message):
        read_info(path)


def test_a_virtual_dataset_of_others_whose_source_is_gone_is_no_constant(dataset, tmp_path):
    with h5py.File(tmp_path / "part.hdf5", "w") as part:
        part["tensor"] = np.ones((3, 1, 9, 9), "f4")
    layout = h5py.VirtualLayout((3, 1, 9, 9), "<f4")
    layout[:] = h5py.VirtualSource("part.hdf5", "tensor", shape=layout.shape)
    with h5py.File(tmp_path / "whole.hdf5", "w") as file:
        file["nu"] = np.ones((3, 9, 9), "f4")
        file.create_virtual_dataset("tensor", layout, fillvalue=2.0)
    convert(tmp_path / "whole.hdf5", tmp_path / "ours.hdf5", grid="left")
    (tmp_path / "part.hdf5").unlink()
    with pytest.raises(ValueError, match=r"tensor is made of part\.hdf5, which is missing"):
        convert(tmp_path / "whole.hdf5", tmp_path / "again.hdf5", grid="left")


def test_a_file_that_another_process_holds_is_not_called_damaged(dataset, tmp_path):
    path = damaged(dataset, tmp_path / "d.hdf5", bytes)
    program = "import sys; from data_gen import generate, read_info\ntry: {}\nexcept BlockingIOError as e: print(e)"
    with h5py.File(path, "r+"):
        for call in ("read_info(sys.argv[1])", "generate(sys.argv[1], 3, 9)"):
            words = [sys.executable, "-c", program.format(call), path]
            said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
            assert said.startswith(f"{path} is in use by another process, or its file system has no locks")


@pytest.mark.parametrize("error", [None, errno.EOPNOTSUPP, errno.EINVAL])
def test_a_file_is_the_same_where_no_space_can_be_taken_before(tmp_path, monkeypatch, error):
    """As on macOS, which has no posix_fallocate, and on file systems that do not do it."""
    generate(tmp_path / "there.hdf5", 3, 9)
    if error is None:
        monkeypatch.delattr(os, "posix_fallocate")
        monkeypatch.delattr(os, "posix_fadvise", raising=False)
    else:
        refuse = OSError(error, os.strerror(error))
        monkeypatch.setattr(os, "posix_fallocate", lambda *_: (_ for _ in ()).throw(refuse))
    generate(tmp_path / "here.hdf5", 3, 9)
    assert (tmp_path / "here.hdf5").read_bytes() == (tmp_path / "there.hdf5").read_bytes()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1e4))
    with (tmp_path / "large").open("wb") as stream, pytest.raises(OSError, match="No space left"):
        reserve(stream.fileno(), 10**5, tmp_path)


def test_text_says_no_fill_value_for_ncdump_stops_at_an_empty_one(dataset):
    with h5py.File(dataset) as file:
        for name in ("accepted_by", "solver", "sha256"):
            created = file["quality"][name].id.get_create_plist()
            assert created.fill_value_defined() == h5py.h5d.FILL_VALUE_DEFAULT


def test_a_symbolic_link_stands_for_a_file_and_its_shards(tmp_path):
    (tmp_path / "store").mkdir()
    generate(tmp_path / "store" / "d.hdf5", 4, 9, shard_size=2, merge=False)
    (tmp_path / "d.hdf5").symlink_to("store/d.hdf5")
    assert list(verify(tmp_path / "d.hdf5")) == []
    assert read_info(tmp_path / "d.hdf5").digest == read_info(tmp_path / "store" / "d.hdf5").digest
    (tmp_path / "store" / "d.hdf5.shards" / "000000002.hdf5").unlink()
    with pytest.raises(FileNotFoundError, match=r"000000002\.hdf5 is missing"):
        read_info(tmp_path / "d.hdf5")


def test_a_file_runs_no_law_to_say_by_which_mean_it_was_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "law.py").write_text("open('sprung', 'w')\ndef ones(shape, rng):\n    pass\n")

    def change(file):
        recipe = json.loads(file.attrs["recipe"]) | {"law": "law.py:ones", "mean": "auto"}
        file.attrs["recipe"] = json.dumps(recipe)

    generate(tmp_path / "plain.hdf5", 2, 9)
    path = rewritten(tmp_path / "plain.hdf5", tmp_path / "d.hdf5", change)
    with pytest.raises(ValueError, match="does not say by which mean"):
        list(verify(path))
    assert not (tmp_path / "sprung").exists()
