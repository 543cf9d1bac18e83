"""The Darcy files of Li et al.: the literature's protocol, on files of their layout."""

import re
import sys

import h5py
import numpy as np
import pytest
import scipy.io
import torch
from scipy.interpolate import RegularGridInterpolator

from data_gen import generate
from data_gen.storage import open_hdf5
from pdebench_mano import load
from pdebench_mano.benchmark.data import locate
from pdebench_mano.benchmark.data_table import Counts
from pdebench_mano.benchmark.run import run_suite
from pdebench_mano.benchmark.suite import packaged, read_suite
from pdebench_mano.cli import main

POINTS = 41
SAMPLES = {"smooth1": 14, "smooth2": 9}


@pytest.fixture(scope="module")
def fields(tmp_path_factory):
    """Coefficients at the points (i + 1/2)/r and solutions splined there, as those of Li et al. are."""
    path = tmp_path_factory.mktemp("solved") / "darcy.hdf5"
    generate(path, sum(SAMPLES.values()), POINTS)
    with open_hdf5(path) as file:
        a, u = file["nu"][:].astype(float), file["tensor"][:, 0].astype(float)
    vertices, centres = np.linspace(0, 1, POINTS), (np.arange(POINTS) + 0.5) / POINTS
    points = np.stack(np.meshgrid(centres, centres, indexing="ij"), -1)
    u = np.stack([RegularGridInterpolator((vertices, vertices), each, "cubic")(points) for each in u])
    ends = np.cumsum(list(SAMPLES.values()))[:-1]
    return {name: pair for name, *pair in zip(SAMPLES, np.split(a, ends), np.split(u, ends), strict=True)}


def layout(a, u):
    """What their files hold, samples first, with the gradients that nobody reads."""
    x, y = np.gradient(a, axis=(1, 2))
    return {"coeff": a, "sol": u, "Kcoeff": a, "Kcoeff_x": x, "Kcoeff_y": y}


def write(path, arrays, version):
    """A file of MATLAB's version 5, or 7.3, which is HDF5 with the order of the axes reversed."""
    if version == 5:
        scipy.io.savemat(path, arrays)
        return
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, values in arrays.items():
            file[name] = values.T


@pytest.fixture(params=[5, 7.3])
def folder(request, fields, tmp_path, monkeypatch):
    """A folder of the two files, which the suite finds."""
    for name, pair in fields.items():
        write(tmp_path / f"piececonst_r421_N1024_{name}.mat", layout(*pair), request.param)
    monkeypatch.setenv("PDEBENCH_MANO_DATA", str(tmp_path))
    return tmp_path


def tiny(**counts):
    """The packaged suite, of a tenth of the points a side, with its smallest operators."""
    suite = read_suite(packaged("darcy421-li"))
    models = [model for model in suite.models if model.operator in ("fno", "mano")]
    arguments = {"fno": {"width": 4, "depth": 1, "modes": 4}, "mano": {"width": 8, "depth": 1}}
    return suite.model_copy(
        update={
            "data": suite.data.model_copy(update={"samples": Counts(**{"train": 10, "val": 4, "test": 3} | counts)}),
            "resolutions": [9, 41],
            "training": suite.training | {"resolution": 9, "epochs": 1},
            "models": [
                model.model_copy(update={"operator_args": arguments[model.operator], "seeds": [0]}) for model in models
            ],
        }
    )


def test_errors_are_those_of_every_fifth_point_of_the_first_test_samples(folder, fields):
    mean, *records = run_suite(tiny(), folder / "out")
    assert {row.model for row in mean.evaluations} == {"mean solution"}, "the files state no equation to be solved"
    assert [record.model for record in records] == ["mano", "fno"]
    (run,) = (folder / "out" / "runs").glob("fno-*")
    a, u = (each[:3, None, ::5, ::5].astype(np.float32) for each in fields["smooth2"])
    predicted = load(run, device="cpu").predict(torch.from_numpy(a)).numpy()
    errors = np.sqrt(((predicted - u) ** 2).sum((1, 2, 3)) / (u**2).sum((1, 2, 3)))
    assert records[1].evaluations[0].resolution == 9
    assert records[1].evaluations[0].errors["relative_l2"] == pytest.approx(errors, rel=1e-4)


def test_the_first_samples_are_trained_on_and_the_next_choose_the_epoch(folder, fields):
    train, test, _ = locate(tiny().data, folder / "data", folder)
    assert {name: list(rows) for name, rows in train.info.splits.items()} == {
        "train": list(range(10)),
        "val": [10, 11, 12, 13],
    }
    assert {name: list(rows) for name, rows in test.info.splits.items()} == {"test": [0, 1, 2]}
    assert test.info.samples == 3, "what is not asked for is not copied"
    np.testing.assert_array_equal(train.file["tensor"][:, 0], fields["smooth1"][1].astype(np.float32))


def test_other_counts_are_other_data(folder):
    one, other = (locate(tiny(train=n).data, folder / "data", folder) for n in (10, 9))
    assert one[0].path != other[0].path
    assert one[2] != other[2]


@pytest.mark.parametrize(
    ("counts", "arrays", "message"),
    [
        ({"train": 11}, None, "smooth1.mat holds 14 samples of 41×41 points, too few for train 11, val 4"),
        ({"test": 10}, None, "smooth2.mat holds 9 samples of 41×41 points, too few for test 10"),
        ({}, lambda a, u: {"coeff": a, "u": u}, "coeff and sol"),
        ({}, lambda a, u: {"coeff": a[0], "sol": u[0]}, "of one shape (N, n, m)"),
        ({}, lambda a, u: {"coeff": a.T, "sol": u.T}, "resolution 9 is no exact stride of 41×14 vertices"),
    ],
)
def test_another_layout_and_too_few_samples_are_refused_in_a_line(folder, fields, counts, arrays, message):
    if arrays is not None:
        path = folder / "piececonst_r421_N1024_smooth1.mat"
        version = 7.3 if h5py.is_hdf5(path) else 5
        path.unlink()
        write(path, arrays(*fields["smooth1"]), version)
    with pytest.raises(ValueError, match=re.escape(message)) as refused:
        run_suite(tiny(**counts), folder / "out")
    assert len(str(refused.value).splitlines()) == 1
    assert not (folder / "out" / "runs").exists()


@pytest.mark.parametrize(
    ("folder_of_the_files", "message"),
    [
        (None, "data '$PDEBENCH_MANO_DATA/piececonst_r421_N1024_smooth1.mat': set that environment variable"),
        ("nowhere", "nowhere/piececonst_r421_N1024_smooth1.mat: no such file"),
    ],
)
def test_where_the_files_are_is_to_be_said(tmp_path, monkeypatch, capsys, folder_of_the_files, message):
    monkeypatch.delenv("PDEBENCH_MANO_DATA", raising=False)
    if folder_of_the_files:
        monkeypatch.setenv("PDEBENCH_MANO_DATA", str(tmp_path / folder_of_the_files))
    monkeypatch.setattr(sys, "argv", ["pdebench-mano", "benchmark", "darcy421-li", "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ('train = "d.hdf5"\ngrid = "left"', "is of our schema, which says grid itself"),
        ("generate = {samples = 3, resolution = 9}\nsamples = {train = 1, val = 1, test = 1}", "go with train"),
        ('train = "d.mat"\nsamples = {train = 0, val = 1, test = 1}', "data.samples.train: Input should be greater"),
    ],
)
def test_grid_and_samples_are_said_of_foreign_files_alone(tmp_path, data, message):
    path = tmp_path / "suite.toml"
    generate(tmp_path / "d.hdf5", 3, 9)
    path.write_text(f'title = "t"\nresolutions = [9]\n[data]\n{data}\n[[models]]\noperator = "fno"\n')
    with pytest.raises(ValueError, match=re.escape(message)):
        run_suite(read_suite(path), tmp_path / "out", folder=tmp_path)
