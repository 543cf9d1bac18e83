"""A suite of several datasets: every model is trained on each, once, and tested on each."""

import json
import runpy
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from data_gen import generate
from pdebench_mano.benchmark import jobs, leaderboard
from pdebench_mano.benchmark.cases import Work, all_cases, suite_cases
from pdebench_mano.benchmark.data import datasets, locate
from pdebench_mano.benchmark.run import run_suite
from pdebench_mano.benchmark.suite import SUITES, read_suite
from pdebench_mano.evaluation.assess import assess
from pdebench_mano.evaluation.evaluate import evaluate
from pdebench_mano.evaluation.records import digest, evaluated_on, find_records
from pdebench_mano.fields.samples import Samples
from pdebench_mano.machine.workers import Workers
from pdebench_mano.report import write_report
from pdebench_mano.report.bootstrap import interval
from pdebench_mano.report.tables import written
from pdebench_mano.report.terminal import print_comparison
from pdebench_mano.training.runs import load

SUITE = """
title = "tiny"
norm = "integral"
resolutions = [9]
seeds = [0, 1]
rivals = [9]
mean_solution = true

[data.generate]
samples = 8
resolution = 17
label_refinement = 2
mean = "auto"
split = [0.75, 0.25, 0.0]
test_samples = 3
test_seed = 1

[data.each]
rough.generate = {law = "channels", law_args = {contrast = 100}}
smooth.generate.law = "lognormal"

[training]
resolution = 9
epochs = 1
batch_size = 4

[[models]]
operator = "fno"
operator_args = {width = 4, depth = 1, modes = 4}
"""


def read(folder, text=SUITE):
    (folder / "suite.toml").write_text(text)
    return read_suite(folder / "suite.toml")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("laws")
    return folder / "out", run_suite(read(folder), folder / "out")


def test_every_training_is_tested_on_every_dataset_and_is_done_once(finished):
    out, records = finished
    places = [(record.trained_on, record.tested_on, record.seed) for record in records if record.configuration]
    both = ("rough", "smooth")
    assert places == [(own, other, seed) for own in both for seed in (0, 1) for other in both]
    assert [record.tested_on for record in records if not record.configuration] == ["rough", "smooth"]
    assert len(list((out / "runs").iterdir())) == 4
    for record in records:
        law = {"rough": "channels", "smooth": "lognormal"}
        assert json.loads(record.dataset["recipe"])["law"] == law[record.tested_on]
        if record.configuration:
            assert record.configuration["data"]["parameters"]["law"] == law[record.trained_on]


def test_a_cell_is_the_error_of_that_run_on_samples_of_that_law(finished, tmp_path):
    out, records = finished
    (record,) = [each for each in records if (each.trained_on, each.tested_on, each.seed) == ("rough", "smooth", 1)]
    test = tmp_path / "smooth.hdf5"
    generate(test, 3, 17, law="lognormal", mean="auto", label_refinement=2, seed=1, split=(0, 0, 1))
    configs = {path.parent: json.loads(path.read_text()) for path in (out / "runs").glob("*/config.json")}
    (run,) = [run for run, config in configs.items() if config == record.configuration]
    (row,) = evaluate(load(run, device="cpu"), "fno", test, [9], norm="integral")
    assert row.errors == record.evaluations[0].errors


def test_it_goes_on_where_it_stopped_without_training(finished, tmp_path, monkeypatch):
    out, records = finished
    lost = next(path for path in find_records(out) if path.name.startswith("fno-smooth-rough-seed0"))
    lost.unlink()
    monkeypatch.setattr("pdebench_mano.training.runs.fit", lambda *_, **__: pytest.fail("it trains again"))
    again = run_suite(read(tmp_path), out)
    assert [(each.key, each.evaluations) for each in again] == [(each.key, each.evaluations) for each in records]


def test_what_is_trained_and_tested_on_one_dataset_is_the_case_of_a_suite_of_that_alone(tmp_path):
    suite = read(tmp_path)
    alone = read(tmp_path, SUITE.replace("[data.each]", "").replace("rough.generate =", "#").replace("smooth.g", "#g"))
    alone = alone.model_copy(update={"data": suite.data.named["smooth"]})
    train, _, said = locate(alone.data, tmp_path, tmp_path)
    cases = list(all_cases(suite, datasets(suite.data, tmp_path, tmp_path)))
    diagonal = [each.key for each in cases if each.trained_on == each.tested_on == "smooth"]
    assert diagonal == [each.key for each in suite_cases(alone, train, said)]
    assert len({each.key for each in cases}) == len(cases)
    moved = read(tmp_path, SUITE.replace("contrast = 100", "contrast = 10"))
    others = {each.key for each in all_cases(moved, datasets(moved.data, tmp_path, tmp_path))}
    assert {each.key for each in cases} & others == set(diagonal), "a case is known by both of its datasets"


def test_workers_share_no_training(tmp_path, monkeypatch):
    """Cases of one training that ran at the same time refused each other's run."""
    suite = read(tmp_path)
    cases = all_cases(suite, datasets(suite.data, tmp_path, tmp_path))
    work = [Work(case, tmp_path, None, None, tmp_path / case.name, "") for case in cases]
    ran = []
    monkeypatch.setattr(jobs, "run_case", lambda item: ran.append(item.case.title) or [])
    said = []
    with ThreadPoolExecutor(1) as executor:
        assert jobs.run_side_by_side(work, Workers(executor, lambda: 1), tmp_path, said.append) == []
    assert ran == [item.case.title for item in work]
    assert len(said) == 4


def test_the_report_has_a_matrix_whose_cells_are_of_their_own_records(finished, tmp_path):
    out, records = finished
    page = write_report(find_records(out), tmp_path / "report", "Laws").read_text()
    assert "Trained on one, tested on another" in page
    assert "smooth: darcy" in page
    for own in ("rough", "smooth"):
        for other in ("rough", "smooth"):
            cell = [each for each in records if (each.trained_on, each.tested_on) == (own, other)]
            errors = np.array([each.evaluations[0].errors["relative_l2"] for each in cell])
            assert errors.shape == (2, 3)
            assert f"<td>{written(interval(errors))}</td>" in page


def test_published_it_tells_its_datasets_apart(finished, tmp_path, monkeypatch, capsys):
    out, records = finished
    shutil.copytree(out / "records", tmp_path / "tiny" / "records")
    monkeypatch.setattr(leaderboard, "PUBLISHED", tmp_path)
    publish = runpy.run_path(str(Path(__file__).parents[3] / "benchmarks" / "publish.py"))
    for name in ("rough", "smooth"):
        publish["samples"]("tiny", name=name).write(tmp_path / "tiny" / f"samples-{name}.json")
    board, tested = leaderboard.published("tiny"), leaderboard.tested_on("tiny")
    test_files = [place.opened()[1] for place in datasets(read(tmp_path).data, out / "data", tmp_path).values()]
    assert tested == [Samples.of(file, range(3)) for file in test_files]
    run = next(path for path in (out / "runs").iterdir())
    for file in test_files:
        assess(run, file, [9])
    beside = leaderboard.beside(board, run, tested)
    assert {digest(evaluated_on(each)) for each in beside} == {digest(evaluated_on(each)) for each in records}
    lines = list(leaderboard.lines(board, "tiny"))
    assert {(each.get("trained_on"), each["tested_on"]) for each in lines if each["kind"] == "operator"} == {
        (own, other) for own in ("rough", "smooth") for other in ("rough", "smooth")
    }
    print_comparison(board)
    assert "fno (trained on smooth)" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('"lognormal"', '"channels"\nsmooth.generate.law_args.contrast = 100'), "the same as data.each.rough"),
        (("smooth.generate.law", "smooth.generate.laws"), "unexpected keyword argument 'laws'"),
        (("smooth.generate.law =", "smooth.law ="), "law go with train, not with generate"),
        (("[data.each]", "[data.each]\nsmooth.laws = 'a'"), "each.smooth.laws is unknown: use generate, train, test, "),
        (("smooth.generate.law =", "smooth.train ="), "each.smooth: give either generate or train"),
        (("smooth.generate.law", '"".generate.law'), "each needs names"),
        (("smooth.generate.law", "smooth.each.a.generate.law"), "each needs names, and tables without each"),
        (("[data.each]", "[data.each]\nlast = 3"), "each needs names, and tables without each, got 'last' = 3"),
        (("test_seed = 1", "test_seed = 0"), "each.rough.generate: test_seed must be another than seed"),
        (("seeds =", "label_uncertainty = 2\nseeds ="), "stated by the data themselves"),
    ],
)
def test_datasets_that_cannot_be_are_refused(tmp_path, change, message):
    with pytest.raises((ValueError, TypeError), match=message):
        run_suite(read(tmp_path, SUITE.replace(*change)), tmp_path / "out")


def test_the_published_suite_mixes_the_laws_that_it_is_of():
    made = {name: each.generate.parameters for name, each in read_suite(SUITES / "laws.toml").data.named.items()}
    mixed = made.pop("together")["law_args"]["laws"]
    assert mixed == [{name: each[name] for name in ("law", "law_args") if name in each} for each in made.values()]
