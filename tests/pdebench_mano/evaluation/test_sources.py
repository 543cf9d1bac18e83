"""A source that varies is part of the problem: solver, residual and symmetries know it, and a suite can ask for it."""

import sys

import numpy as np
import pytest

from data_gen import generate
from pdebench_mano import Dataset, RunConfig, build_operator, evaluate_solver, normalized, train
from pdebench_mano.benchmark.run import run_suite
from pdebench_mano.benchmark.suite import read_suite
from pdebench_mano.cli import main
from pdebench_mano.evaluation.records import described

FNO = {"width": 4, "depth": 1, "modes": 4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    x, y = np.meshgrid(np.linspace(0, 1, 17), np.linspace(0, 1, 17), indexing="ij")
    np.save(folder / "f.npy", 1 + x**2 + 3 * y)
    generate(folder / "data.hdf5", 12, 17, source=str(folder / "f.npy"), split=(0.5, 0.25, 0.25))
    return folder


def test_the_solver_reproduces_the_labels_and_leaves_no_residual(folder):
    (row,) = evaluate_solver(folder / "data.hdf5", [17], [17])
    assert max(row.errors["relative_l2"]) < 1e-5
    assert max(row.errors["residual"]) < 1e-5


def test_a_source_of_no_symmetry_is_not_turned(folder, tmp_path):
    config = RunConfig(
        operator="fno", operator_args=FNO, data=str(folder / "data.hdf5"), epochs=1, batch_size=4, symmetries=True
    )
    with pytest.raises(ValueError, match="none but the identity"):
        train(config, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run" / "config.json").exists()


def test_a_suite_chooses_the_face_mean_and_an_array_source(folder, tmp_path):
    suite = tmp_path / "suite.toml"
    suite.write_text(
        f"""
title = "tiny"
resolutions = [17]
[data.generate]
samples = 12
resolution = 17
split = [0.5, 0.25, 0.25]
mean = "harmonic"
source = "{folder / "f.npy"}"
[training]
epochs = 1
[[models]]
operator = "fno"
operator_args = {{width = 4, depth = 1, modes = 4}}
"""
    )
    records = run_suite(read_suite(suite), tmp_path / "out")
    assert records[0].dataset["face_mean"] == "harmonic"
    assert max(records[0].evaluations[0].errors["relative_l2"]) < 1e-5, "the solver has the mean and the source"
    assert {"mean harmonic", "high 12", "low 3"} <= set(described(records[0]).split(", "))


def test_another_law_than_trained_on_is_said(folder, tmp_path, capsys):
    config = RunConfig(operator="fno", operator_args=FNO, data=str(folder / "data.hdf5"), epochs=1, batch_size=4)
    train(config, tmp_path / "run", device="cpu")
    generate(tmp_path / "other.hdf5", 3, 17, seed=1, law="lognormal", split=(0.0, 0.0, 1.0))
    words = ["evaluate", tmp_path / "run", "--data", tmp_path / "other.hdf5", "--resolutions", "17"]
    sys.argv = ["pdebench-mano", *map(str, words)]
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "is not what" in said
    assert "law 'lognormal', trained with 'piecewise'" in said
    assert "source 1.0, trained with 'sha256:" in said


def test_normalised_operators_take_the_grid_of_their_data(tmp_path):
    generate(tmp_path / "data.hdf5", 4, 9)
    view = Dataset(tmp_path / "data.hdf5").view()
    assert normalized(build_operator("fno", 1, 1, **FNO), view).grid == "vertices"
    view.grid = type(view.grid)((8, 8), "left")
    assert normalized(build_operator("fno", 1, 1, **FNO), view).grid == "left"
