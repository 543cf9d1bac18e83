"""Labels solved for on a finer grid: what they are, what they say of themselves, and whether that is true."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial

import h5py
import numpy as np
import pytest

from data_gen import Grid, build_problem, generate, read_info
from data_gen.convergence import richardson
from data_gen.recipe import Recipe
from data_gen.samples import draw
from data_gen.shards import complete_shards, measurements
from data_gen.uncertainty import label_uncertainties, measured
from data_gen.verification import verify
from pdebench_mano.cli import main


def relative(u, v):
    return np.linalg.norm(u - v) / np.linalg.norm(v)


@pytest.fixture(scope="module")
def refined(tmp_path_factory):
    """24 samples of channels at 17², solved for at 65²."""
    path = tmp_path_factory.mktemp("refined") / "d.hdf5"
    generate(path, 24, 17, law="channels", law_args={"contrast": 100}, mean="auto", seed=3, label_refinement=4)
    return path


def test_a_label_is_every_fourth_point_of_the_fine_solution(refined):
    problem = build_problem("darcy", law="channels", law_args={"contrast": 100}, mean="harmonic")
    fine = Grid((65, 65))
    with h5py.File(refined) as file:
        for i in (0, 23):
            a = draw(problem, fine, 3, i)
            np.testing.assert_array_equal(file["nu"][i], a[0, ::4, ::4].astype(np.float32))
            u = problem.solve(a, fine).u[0, 0, ::4, ::4]
            np.testing.assert_array_equal(file["tensor"][i, 0], u.astype(np.float32))


@pytest.mark.parametrize("law", ["piecewise", "channels"])
def test_the_uncertainty_holds_another_route_to_the_same_solution(law, tmp_path):
    """Labels of 129² against the mean of both brackets at 513², on all the samples that were measured."""
    arguments = {"contrast": 10, "width": 0.1} if law == "channels" else {}
    info = generate(
        tmp_path / "d.hdf5", 4, 17, law=law, law_args=arguments, mean="auto", split=(0, 0, 1), label_refinement=8
    )
    assert info.attributes["label_uncertainty_samples"] == 4
    other, fine = build_problem("darcy", law=law, law_args=arguments, mean="average"), Grid((513, 513))
    with h5py.File(info.path) as file:
        errors = [
            relative(file["tensor"][i, 0], other.solve(draw(other, fine, 0, i), fine, rtol=1e-8).u[0, 0, ::32, ::32])
            for i in range(4)
        ]
    stated = info.attributes["label_uncertainty"]
    assert stated / 10 < np.mean(errors) < stated


def test_the_uncertainty_is_the_larger_of_bracket_and_step(refined):
    recipe = Recipe(
        24,
        Grid((17, 17)),
        build_problem("darcy", law="channels", law_args={"contrast": 100}, mean="harmonic"),
        seed=3,
        label_refinement=4,
    )

    def solution(mean, n, i=22):
        problem, fine = replace(recipe.problem, mean=mean), Grid((n, n))
        return problem.solve(draw(problem, fine, 3, i), fine).u[..., :: (n - 1) // 16, :: (n - 1) // 16]

    u = solution("harmonic", 65)
    bracket = np.linalg.norm(solution("arithmetic", 65) - u) / 2
    step = np.linalg.norm(solution("harmonic", 129) - u)
    assert measured(recipe) == [22, 23]
    values = label_uncertainties(recipe, [22, 23])
    assert values[0] == pytest.approx(max(bracket, step) / np.linalg.norm(u), rel=1e-3)
    assert read_info(refined).attributes["label_uncertainty"] == pytest.approx(np.mean(values), rel=5e-3)


def test_labels_of_the_stored_grid_measure_nothing():
    assert measured(Recipe(10, Grid((9, 9)), build_problem("darcy"))) == []


def test_only_what_is_tested_on_is_measured():
    """A training set of a suite took as long to measure as to make, for a number that stands beside no error."""
    refined = partial(Recipe, grid=Grid((9, 9)), problem=build_problem("darcy"), label_refinement=2)
    assert measured(refined(10, split=(0.9, 0.1, 0.0))) == []
    assert measured(refined(40, split=(0.0, 0.0, 1.0))) == list(range(32))
    assert measured(refined(2)) == [0, 1], "too few for three parts: no part is left out"


def test_refined_labels_are_nearer_to_the_equation(tmp_path):
    limits = []
    for refinement in (1, 4):
        path = tmp_path / f"{refinement}.hdf5"
        generate(path, 3, 17, law="lognormal", label_refinement=refinement)
        limits.append([each.relative_l2 for each in richardson(path)])
    plain, refined = map(np.mean, limits)
    assert plain / refined == pytest.approx(16, rel=0.4)  # second order, four times the points


def test_it_verifies_and_a_wrong_value_does_not(refined, tmp_path):
    assert list(verify(refined)) == []
    with h5py.File(refined) as file:
        labels, evidence = file["tensor"][:], file["quality/relative_residual"][:]
        assert evidence.max() <= 1e-10
    wrong = tmp_path / "d.hdf5"
    wrong.write_bytes(refined.read_bytes())
    with h5py.File(wrong, "r+") as file:
        file["tensor"][5, 0, 8, 8] = labels[5, 0, 8, 8] * 1.001
    found = [str(each) for each in verify(wrong)]
    assert any(each.startswith("sample 5: the solution differs by") for each in found)


def test_killed_while_measuring_and_resumed(refined, tmp_path):
    out = tmp_path / "d.hdf5"
    script = (
        "import os, sys; from importlib import import_module; g = import_module('data_gen.generate')\n"
        "old = g.measure_labels\n"
        "def kill(*args):\n    old(*args); os.kill(os.getpid(), 9)\n"
        "g.measure_labels = kill\n"
        "g.generate(sys.argv[1], 24, 17, law='channels', law_args={'contrast': 100}, mean='auto', seed=3,"
        " label_refinement=4)"
    )
    process = subprocess.run([sys.executable, "-c", script, out], check=False)
    assert process.returncode == -signal.SIGKILL
    folder = tmp_path / "d.hdf5.shards"
    assert [path.name for path in measurements(folder)] == ["000000022.json"]
    assert complete_shards(folder) == []
    kept = measurements(folder)[0].stat().st_mtime_ns
    os.utime(folder / "000000022.json", ns=(kept, kept))
    generate(out, 24, 17, law="channels", law_args={"contrast": 100}, mean="auto", seed=3, label_refinement=4)
    assert out.read_bytes() == refined.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["d.hdf5"]


def test_an_unrefined_recipe_says_nothing_of_it(tmp_path):
    generate(tmp_path / "d.hdf5", 2, 9)
    info = read_info(tmp_path / "d.hdf5")
    assert "label_refinement" not in json.loads(info.attributes["recipe"])
    assert "label_uncertainty" not in info.attributes


def test_each_law_names_its_mean():
    means = {law: build_problem("darcy", law=law, mean="auto").mean for law in ("piecewise", "lognormal", "channels")}
    assert means == {"piecewise": "geometric", "lognormal": "geometric", "channels": "harmonic"}
    assert build_problem("darcy").mean == build_problem("darcy", law="unknown", mean="auto").mean == "arithmetic"


def test_command_line(tmp_path, capsys, monkeypatch):
    words = ["generate", "--samples", "3", "--resolution", "9", "--label-refinement"]
    for value, status in (("2", 0), ("0", 2)):
        monkeypatch.setattr(sys, "argv", ["pdebench-mano", *words, value, "--out", str(tmp_path / f"{value}.hdf5")])
        with pytest.raises(SystemExit) as stopped:
            main()
        assert stopped.value.code == status
    assert "label_refinement must be at least 1, got 0" in capsys.readouterr().err
    assert json.loads(read_info(tmp_path / "2.hdf5").attributes["recipe"])["label_refinement"] == 2
