"""Suites: run once, resumed from what is there."""

import json

import pytest

from data_gen import generate
from pdebench_mano.benchmark import cases, standing
from pdebench_mano.benchmark import data as suite_data
from pdebench_mano.benchmark.data import locate
from pdebench_mano.benchmark.run import run_suite
from pdebench_mano.benchmark.suite import Model, read_suite
from pdebench_mano.evaluation.evaluate import evaluate
from pdebench_mano.evaluation.records import (
    find_records,
    read_examples,
    read_record,
    write_record,
)
from pdebench_mano.fields.data import Dataset
from pdebench_mano.report import write_report
from pdebench_mano.report.tuning import tuning
from pdebench_mano.training.folder import read_config
from pdebench_mano.training.runs import RunConfig, load

SUITE = """
title = "tiny"
resolutions = [9, 17]
seeds = [0, 1]
mean_solution = true

[data]
train = "darcy.hdf5"

[training]
resolution = 9
epochs = 1
batch_size = 4

[[models]]
operator = "fno"
operator_args = {width = 4, depth = 1, modes = 4}
"""


FAILS = """
from torch import nn


class Raises(nn.Conv2d):
    def __init__(self, in_channels, out_channels):
        super().__init__(in_channels, out_channels, 1)

    def forward(self, a):
        if a.shape[-1] != 9:
            raise RuntimeError("only 9²")
        return super().forward(a)


class Overflows(Raises):
    def forward(self, a):
        return nn.Conv2d.forward(self, a) * (1 if a.shape[-1] == 9 else float("inf"))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("suite")
    generate(folder / "darcy.hdf5", 12, 17, seed=4, split=(0.5, 0.25, 0.25))
    return folder


@pytest.fixture(scope="module")
def finished(folder):
    """A finished benchmark: its suite, its folder, its records."""
    suite = write(folder, SUITE)
    return suite, folder / "out", run_suite(suite, folder / "out", folder=folder, command="typed")


def write(folder, text):
    path = folder / "suite.toml"
    path.write_text(text)
    return read_suite(path)


def never(*_, **__):
    raise AssertionError("nothing was to be trained")


def test_every_model_is_trained_from_every_seed_and_stands_beside_baselines(finished):
    _, out, records = finished
    assert [(record.model, record.seed) for record in records] == [("baselines", 0), ("fno", 0), ("fno", 1)]
    rows = [(row.model, row.computed_at, row.resolution) for row in records[1].evaluations]
    assert rows == [("fno", 9, 9), ("fno", 17, 17), ("upsampled fno", 9, 17)]
    assert {row.model for row in records[0].evaluations} == {"coarse solver", "mean solution"}
    assert all(len(row.errors["relative_l2"]) == 3 for record in records for row in record.evaluations)
    assert records[1].evaluations[0].mean() != records[2].evaluations[0].mean()
    assert len(find_records(out)) == 3


def test_a_finished_suite_is_not_run_again(finished, folder, monkeypatch):
    suite, out, records = finished
    monkeypatch.setattr(cases, "train", never)
    monkeypatch.setattr("pdebench_mano.evaluation.assess.evaluate", never)
    monkeypatch.setattr(standing, "record_references", never)
    assert run_suite(suite, out, folder=folder) == records


def test_a_lost_record_is_made_again_from_the_finished_run(finished, folder, monkeypatch):
    suite, out, records = finished
    (path,) = [path for path in find_records(out) if read_record(path).seed == 1]
    path.unlink()
    monkeypatch.setattr("pdebench_mano.training.runs.fit", never)
    again = run_suite(suite, out, folder=folder)
    assert again[2].evaluations[0].errors == records[2].evaluations[0].errors
    assert again[2].key == records[2].key


def test_what_is_changed_is_run_and_the_rest_is_not(finished, folder, monkeypatch):
    suite, out, _ = finished
    trained = []
    monkeypatch.setattr(cases, "train", lambda config, run, **_: trained.append(config.seed) or 1 / 0)
    with pytest.raises(ValueError, match="1 of 3 cases failed: fno, seed 5: ZeroDivisionError"):
        run_suite(suite.model_copy(update={"seeds": [0, 5, 1]}), out, folder=folder)
    assert trained == [5]


def test_a_suite_that_stops_has_references_and_the_same_seeds_of_all(finished, folder, tmp_path, monkeypatch):
    suite, _, records = finished
    pair = [suite.models[0].model_copy(update={"name": name, "tune": {}}) for name in ("one", "two")]
    trained = []
    monkeypatch.setattr(cases, "train", lambda config, run, **_: trained.append(config.seed) or 1 / 0)
    with pytest.raises(ValueError, match="4 of 4 cases failed"):
        run_suite(suite.model_copy(update={"models": pair, "seeds": [0, 5]}), tmp_path / "out", folder=folder)
    assert trained == [0, 0, 5, 5]
    (path,) = find_records(tmp_path / "out")
    assert read_record(path).model == records[0].model == "baselines"


GENERATED = SUITE.replace(
    'train = "darcy.hdf5"', "generate = {samples = 12, resolution = 17, split = [0.5, 0.25, 0.25]}"
)


def test_published_records_are_taken_over_without_data_or_training(folder, tmp_path, monkeypatch):
    suite = write(folder, GENERATED.replace("mean_solution", "label_uncertainty = 2\nmean_solution"))
    records = run_suite(suite, tmp_path / "published")
    with monkeypatch.context() as patched:
        for module, name in (
            (suite_data, "generate"),
            (cases, "train"),
            (cases, "record_run"),
            (standing, "record_references"),
        ):
            patched.setattr(module, name, never)
        assert run_suite(suite, tmp_path / "taken", published=tmp_path / "published") == records
    trained = []
    monkeypatch.setattr(cases, "train", lambda config, run, **_: trained.append(config.seed) or 1 / 0)
    with pytest.raises(ValueError, match="1 of 2 cases failed: fno, seed 5: ZeroDivisionError"):
        run_suite(
            suite.model_copy(update={"seeds": [0, 5]}), tmp_path / "other", published=tmp_path / "published", say=print
        )
    assert trained == [5]


def test_published_records_of_files_that_are_not_here_are_taken_over(finished, tmp_path):
    """They asked for the files, of which nothing was read but what they are."""
    suite, out, _ = finished
    records = [read_record(path) for path in find_records(out)]
    taken = run_suite(suite, tmp_path / "taken", folder=tmp_path, published=out)
    assert sorted(taken, key=lambda record: record.key) == sorted(records, key=lambda record: record.key)
    more = suite.model_copy(update={"seeds": [0, 5]})
    with pytest.raises(FileNotFoundError, match=r"darcy\.hdf5: no such file"):
        run_suite(more, tmp_path / "other", folder=tmp_path, published=out)
    with pytest.raises(FileNotFoundError, match=r"darcy\.hdf5: no such file"):
        run_suite(suite, tmp_path / "fresh", folder=tmp_path)


def test_what_stands_beside_models_does_not_depend_on_which_are_run_now(folder, tmp_path):
    """The first model trains at 9², the second at 17²: to run that alone left a second record of baselines."""
    other = "[[models]]\noperator = 'unet'\noperator_args = {width = 4}\ntraining.resolution = 17\n"
    suite = write(folder, SUITE.replace("seeds = [0, 1]", "seeds = [0]") + other)
    for only in (["unet"], ["fno"], []):
        run_suite(suite, tmp_path / "out", folder=folder, only=only)
    assert sorted(read_record(path).model for path in find_records(tmp_path / "out")) == ["baselines", "fno", "unet"]


def test_samples_to_test_on_are_drawn_from_a_seed_of_their_own(folder, tmp_path):
    own = GENERATED.replace("seeds = [0, 1]", "seeds = [0]")
    suite = write(folder, own.replace("split = ", "test_samples = 5, test_seed = 7, split = "))
    references, record = run_suite(suite, tmp_path / "out")
    recipe = json.loads(record.dataset["recipe"])
    assert (recipe["seed"], recipe["samples"], record.samples) == (7, 5, [0, 1, 2, 3, 4])
    assert references.dataset["digest"] == record.dataset["digest"]
    generate(tmp_path / "alone.hdf5", 5, 17, seed=7, split=(0, 0, 1))
    tested, train_file = Dataset(tmp_path / "alone.hdf5"), record.configuration["config"]["data"]
    assert tested.info.digest == record.dataset["digest"], "problem and settings are those of the first file"
    (run,) = (tmp_path / "out" / "runs").iterdir()
    assert evaluate(load(run, device="cpu"), "fno", tested, [9])[0].errors == record.evaluations[0].errors
    train, _, data = locate(suite.data, tmp_path / "out" / "data", folder)
    assert str(train) == train_file
    assert Dataset(train_file).info.samples == 12
    one_file = locate(write(folder, own).data, tmp_path / "out" / "data", folder)
    assert one_file[0] == one_file[1] == train, "the samples to train on stay those of a suite without"
    assert data.startswith(one_file[2] + ", tested on recipe {")


def test_settings_are_chosen_by_validation_error_and_then_trained_from_every_seed(folder, tmp_path):
    suite = write(folder, SUITE + "tune.lr = [1e-9, 1e-2]\ntune.operator_args.depth = [1, 2]\n")
    records = run_suite(suite, tmp_path / "out", folder=folder)
    for record in records[1:]:
        trials = record.training["trials"]
        assert len(trials) == 4
        best = min(trials, key=lambda trial: trial["validation"])["configuration"]
        config = record.configuration["config"]
        assert (config["lr"], config["operator_args"]) == (best["lr"], best["operator_args"])
        assert config["seed"] == record.seed
    assert records[1].training["best_validation"] == min(trial["validation"] for trial in trials)
    assert records[1].training["seconds"] in [trial["seconds"] for trial in trials], "the first seed is a trial itself"


def test_what_short_trials_choose_is_trained_at_full_length_from_every_seed(folder, tmp_path, monkeypatch):
    tuned = SUITE.replace("epochs = 1", "epochs = 3") + "tune.lr = [1e-9, 1e-2, 3e-2]\n"
    suite = write(folder, "tune_epochs = 2\n" + tuned)
    trained = []
    train = cases.train
    monkeypatch.setattr(cases, "train", lambda config, run, **_: trained.append(config) or train(config, run, **_))
    records = run_suite(suite, tmp_path / "out", folder=folder)[1:]
    best = min(records[0].training["trials"], key=lambda trial: trial["validation"])["configuration"]
    assert best["epochs"] == 2
    for record in records:
        assert len(record.history) == 3
        config = record.configuration["config"]
        assert (config["lr"], config["epochs"]) == (best["lr"], 3)
    done = {(config.epochs, config.lr, config.seed) for config in trained}
    assert done == {(2, lr, 0) for lr in (1e-9, 1e-2, 3e-2)} | {(3, best["lr"], seed) for seed in (0, 1)}
    assert tuning(records[0]).epochs == 2


def test_of_a_grid_that_was_extended_only_what_is_new_is_tried(folder, tmp_path, monkeypatch):
    short = "tune_epochs = 1\n" + SUITE.replace("epochs = 1", "epochs = 2")
    before = run_suite(write(folder, short + "tune.lr = [1e-9, 1e-2]\n"), tmp_path / "published", folder=folder)
    tried = []
    try_out = cases.try_out
    monkeypatch.setattr(
        cases, "try_out", lambda work, trial, *said: tried.append(trial.lr) or try_out(work, trial, *said)
    )
    suite = write(folder, short + "tune.lr = [1e-2, 3e-2]\n")
    after = run_suite(suite, tmp_path / "out", folder=folder, published=tmp_path / "published")
    assert set(tried) == {3e-2}
    assert after[1].training["trials"][0] == before[1].training["trials"][1]


def test_a_training_that_diverges_is_reported_and_does_not_stop_the_others(folder, tmp_path):
    suite = write(folder, SUITE.replace("epochs = 1", "epochs = 2") + "[[models]]\noperator = 'fno'\nname = 'wild'\n")
    wild = suite.models[1].model_copy(update={"training": {"lr": 1e30}, "operator_args": {"width": 4, "modes": 4}})
    suite = suite.model_copy(update={"models": [wild, suite.models[0]], "seeds": [0]})
    with pytest.raises(ValueError, match="1 of 2 cases failed: wild, seed 0: lr=1e\\+30 made the loss"):
        run_suite(suite, tmp_path / "out", folder=folder)
    assert sorted(read_record(path).model for path in find_records(tmp_path / "out")) == ["baselines", "fno"]
    tuned = wild.model_copy(update={"training": {}, "tune": {"lr": [1e30, 1e-3]}})
    _, record = run_suite(suite.model_copy(update={"models": [tuned]}), tmp_path / "out", folder=folder)
    assert (record.training["trials"][0]["validation"], record.training["trials"][0]["seconds"]) == (None, None)
    assert record.configuration["config"]["lr"] == 1e-3


def test_a_model_that_fails_at_a_grid_does_not_stop_the_others(folder, tmp_path):
    """It trains at 9², and cannot be evaluated at 17²: it raises there, or predicts what is no number."""
    (tmp_path / "own.py").write_text(FAILS)
    suite = write(folder, SUITE)
    models = [Model(operator=f"{tmp_path / 'own.py'}:{name}", name=name) for name in ("Raises", "Overflows")]
    suite = suite.model_copy(update={"models": [*models, *suite.models], "seeds": [0]})
    with pytest.raises(ValueError, match="2 of 3 cases failed") as failed:
        run_suite(suite, tmp_path / "out", folder=folder)
    assert "Raises, seed 0: RuntimeError: only 9²" in str(failed.value)
    assert "Overflows, seed 0: ValueError: Overflows at 17²: the prediction is not finite in sample 9 of" in str(
        failed.value
    )
    assert sorted(read_record(path).model for path in find_records(tmp_path / "out")) == ["baselines", "fno"]


def test_an_operator_of_one_grid_is_evaluated_there_and_upsampled(folder, tmp_path):
    suite = write(folder, SUITE)
    fixed = Model(operator="orthogonal-mlp", operator_args={"resolution": 9, "width": 8}, resolutions=[9])
    suite = suite.model_copy(update={"models": [fixed], "seeds": [0]})
    _, record = run_suite(suite, tmp_path / "out", folder=folder)
    rows = [(row.model, row.resolution) for row in record.evaluations]
    assert rows == [("orthogonal-mlp", 9), ("upsampled orthogonal-mlp", 17)]
    page = write_report(find_records(tmp_path / "out"), tmp_path / "report", "One grid").read_text()
    assert "Parts of the relative L2 error at 9²" in page
    assert "Parts of the relative L2 error at 17²" not in page, "no operator is evaluated there"


def test_no_time_is_taken_on_the_way_and_the_record_says_so(finished, tmp_path):
    for record in finished[2]:
        assert {row.seconds for row in record.evaluations} == {None}
        write_record(record, tmp_path / "record.jsonl")
        assert json.loads((tmp_path / "record.jsonl").read_text())["evaluations"][0]["seconds"] is None
        assert read_record(tmp_path / "record.jsonl") == record


def test_examples_are_the_best_the_median_and_the_worst_prediction(finished):
    _, out, records = finished
    (path,) = [path for path in find_records(out) if read_record(path).key == records[1].key]
    fields = read_examples(path)
    error = ((fields["prediction"] - fields["truth"]) ** 2).sum((1, 2)) ** 0.5
    relative = error / (fields["truth"] ** 2).sum((1, 2)) ** 0.5
    assert relative == pytest.approx(sorted(records[1].evaluations[1].errors["relative_l2"]), rel=1e-4)


def test_the_command_of_a_record_makes_the_same_run(finished, tmp_path, monkeypatch):
    from pdebench_mano.cli import main

    record = finished[2][2]
    _, typed = record.commands
    words = typed.split()
    words[-1] = str(tmp_path / "run")
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 0
    made = read_config(tmp_path / "run")
    assert made == RunConfig(**record.configuration["config"])
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["best_validation"] == record.training["best_validation"]
