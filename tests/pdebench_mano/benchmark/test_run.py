"""Suites: read strictly, run once, resumed from what is there."""

import dataclasses
import json
import math

import pytest

from data_gen import generate
from pdebench_mano.benchmark import cases, leaderboard
from pdebench_mano.benchmark import data as suite_data
from pdebench_mano.benchmark import run as running
from pdebench_mano.benchmark.cases import all_cases, suite_cases
from pdebench_mano.benchmark.data import Located, datasets, first_resolution, locate
from pdebench_mano.benchmark.references import References
from pdebench_mano.benchmark.run import run_suite
from pdebench_mano.benchmark.suite import SUITES, Model, read_suite
from pdebench_mano.evaluation.evaluate import evaluate
from pdebench_mano.evaluation.records import (
    digest,
    evaluated_on,
    find_records,
    read_examples,
    read_record,
    stored_record,
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
    monkeypatch.setattr(running, "record_references", never)
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
            (running, "record_references"),
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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("test_samples = 5", "test_samples and test_seed go together"),
        ("test_seed = 5", "test_samples and test_seed go together"),
        ("test_samples = 5, test_seed = 0", "test_seed must be another than seed, which draws the same samples, got 0"),
    ],
)
def test_samples_to_test_on_that_are_not_others_are_refused(folder, change, message):
    with pytest.raises(ValueError, match=message):
        write(folder, GENERATED.replace("split = ", f"{change}, split = "))


def test_a_case_is_known_by_its_data_and_not_by_where_they_lie(finished, folder, tmp_path):
    suite, *_ = finished
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    (moved / "darcy.hdf5").write_bytes((folder / "darcy.hdf5").read_bytes())

    def keys(place):
        train_file, _, data = locate(suite.data, tmp_path / "data", place)
        return [case.key for case in suite_cases(suite, train_file, data)]

    assert keys(folder) == keys(moved)
    (moved / "darcy.hdf5").unlink()
    generate(moved / "darcy.hdf5", 12, 17, seed=5, split=(0.5, 0.25, 0.25))
    assert not set(keys(folder)) & set(keys(moved))


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


def test_trials_of_their_own_length_are_those_of_every_budget_and_change_the_key(folder):
    tuned = "budgets = [{epochs = 3}, {seconds = 0.5}]\n" + SUITE + "tune.lr = [1e-9, 1e-2]\n"

    def made(text):
        return list(suite_cases(write(folder, text), folder / "darcy.hdf5", ""))

    plain, short = made(tuned), made("tune_epochs = 2\n" + tuned)
    assert {(trial.epochs, trial.seconds) for case in short for trial in case.trials} == {(2, None)}
    assert [case.config for case in short] == [case.config for case in plain]
    assert not {case.key for case in short} & {case.key for case in plain}
    untuned = [made(text) for text in (SUITE, "tune_epochs = 2\n" + SUITE)]
    assert [case.key for case in untuned[0]] == [case.key for case in untuned[1]], "where there are no trials"
    with pytest.raises(ValueError, match="tune neither epochs nor seconds"):
        write(folder, "tune_epochs = 2\n" + SUITE + "tune.epochs = [1, 2]\n")


def test_budgets_multiply_the_cases(folder):
    suite = write(folder, "budgets = [{epochs = 2}, {seconds = 0.5}, {epochs = 3, seeds = [7]}]\n" + SUITE)
    configs = [case.config for case in suite_cases(suite, folder / "darcy.hdf5", "")]
    assert [(config.epochs, config.seconds, config.seed) for config in configs] == [
        (2, None, 0),
        (2, None, 1),
        (1, 0.5, 0),
        (1, 0.5, 1),
        (3, None, 7),
    ]


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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("seeds =", "seed ="), "seed is unknown: use title, data, norm, resolutions, start, training, "),
        (("epochs = 1", "epoch = 1"), "epoch=1 is unknown: use epochs, seconds, batch_size, "),
        (("operator_args", "arguments"), "models.0.arguments is unknown: use operator, name, operator_args, "),
        (('"fno"', '"fnoo"'), "operator 'fnoo' is unknown"),
        (("width = 4", "widths = 4"), "its arguments are"),
        (("[data]", "[data]\ntests = 'b'"), "data.tests is unknown: use generate, train, test, grid, "),
        (("[9, 17]", "[9, 16]"), "resolution 16 is no exact stride"),
        (("[9, 17]", "[]"), "resolutions"),
        (('train = "darcy.hdf5"', 'train = "none.hdf5"'), "no such file"),
        (('train = "darcy.hdf5"', "generate = {samples = 3}"), "resolution: Field required"),
        (('train = "darcy.hdf5"', ""), "either generate or train"),
        (('operator = "fno"', 'operator = "fno"\ntune.lr = 0.1'), "tune.lr must be a list"),
        (("title =", "title"), "line 2"),
        (("epochs = 1", "epochs = 1\ndata = 'other.hdf5'"), "training.data would be ignored: the table data"),
        (("epochs = 1", "epochs = 1\nseed = 3"), "training.seed would be ignored: the list seeds"),
        (("epochs = 1", "epochs = 1\noperator = 'unet'"), "training.operator would be ignored: the table models"),
        (('operator = "fno"', "operator = 'fno'\ntraining.regime = 'foton'"), "fno.training.regime would be ignored"),
        (('operator = "fno"', "operator = 'fno'\ntune.data = ['other.hdf5']"), "fno.tune.data would be ignored"),
        (('operator = "fno"', "operator = 'fno'\ntune.seed = [1, 2]"), "fno.tune.seed would be ignored"),
        (("[0, 1]", "[0, 4294967296]"), "seed=4294967296: Input should be less than"),
        (("seeds =", "label_uncertainty = 3\nseeds ="), "for generated data only"),
        (("seeds =", "coarse_solver = [5, 6]\nseeds ="), "resolution 6 is no exact stride"),
        (("[[models]]", "[[models]]\noperator = 'fno'\n[[models]]"), "several of fno"),
        (('operator = "fno"', 'operator = "fno"\nname = "mean solution"'), "names that no reference has"),
    ],
)
def test_a_suite_that_asks_for_what_there_is_not_is_refused_before_training(
    folder, tmp_path, monkeypatch, change, message
):
    monkeypatch.setattr(cases, "train", never)
    with pytest.raises(ValueError if "such file" not in message else FileNotFoundError) as refused:
        run_suite(write(folder, SUITE.replace(*change)), tmp_path / "out", folder=folder)
    assert message in str(refused.value)


def test_a_trial_has_the_structure_of_its_grid():
    model = Model(operator="fno", tune={"lr": [1, 2], "regime_args": {"eta": [3]}})
    assert list(model.trials()) == [{"lr": 1, "regime_args": {"eta": 3}}, {"lr": 2, "regime_args": {"eta": 3}}]
    assert list(Model(operator="fno").trials()) == []


def test_records_survive_being_written_even_of_a_prediction_that_is_not_finite(finished, tmp_path):
    record = finished[2][1]
    write_record(record, tmp_path / "record.jsonl")
    assert read_record(tmp_path / "record.jsonl") == record
    row = dataclasses.replace(record.evaluations[0], errors={"relative_l2": [math.nan, math.inf]})
    write_record(dataclasses.replace(record, evaluations=[row]), tmp_path / "record.jsonl")
    json.loads((tmp_path / "record.jsonl").read_text(), parse_constant=pytest.fail)
    nan, inf = read_record(tmp_path / "record.jsonl").evaluations[0].errors["relative_l2"]
    assert math.isnan(nan)
    assert math.isinf(inf)
    (tmp_path / "record.jsonl").write_text("{}")
    with pytest.raises(ValueError, match="is no record: key"):
        read_record(tmp_path / "record.jsonl")


def test_no_time_is_taken_on_the_way_and_the_record_says_so(finished, tmp_path):
    for record in finished[2]:
        assert {row.seconds for row in record.evaluations} == {None}
        write_record(record, tmp_path / "record.jsonl")
        assert json.loads((tmp_path / "record.jsonl").read_text())["evaluations"][0]["seconds"] is None
        assert read_record(tmp_path / "record.jsonl") == record


@pytest.mark.parametrize("name", leaderboard.suites())
def test_a_published_record_is_written_back_as_it_was_with_its_times(name, tmp_path):
    for path in find_records(leaderboard.PUBLISHED / name):
        write_record(stored_record(path), tmp_path / "record.jsonl")
        then, now = (json.loads(each.read_text()) for each in (path, tmp_path / "record.jsonl"))
        rows = zip(now.pop("evaluations"), then.pop("evaluations"), strict=True)
        assert now | then == now
        for row, before in rows:
            assert row | before == row
            assert row["seconds"] == before["seconds"]


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


@pytest.mark.parametrize("path", sorted(SUITES.glob("*.toml")), ids=lambda p: p.stem)
def test_the_published_suites_are_well_formed(path, tmp_path):
    suite = read_suite(path)
    assert list(suite_cases(suite, tmp_path / "data.hdf5", ""))


@pytest.mark.parametrize("name", leaderboard.suites())
def test_published_records_are_those_of_the_suite_as_it_stands_and_of_the_same_samples(name, tmp_path):
    suite = read_suite(SUITES / f"{name}.toml")
    records = {record.key: record for record in leaderboard.published(name)}
    trained = next(record for record in records.values() if record.configuration)
    if suite.data.train is None:
        places = datasets(suite.data, tmp_path, tmp_path)
        trained_at = first_resolution(suite.data, next(all_cases(suite, places)).config, tmp_path)
    else:
        said = f"digests {trained.configuration['data']['digest']} {trained.dataset['digest']}"
        places = {"": Located(suite.data, tmp_path / "data.hdf5", tmp_path / "data.hdf5", said)}
        trained_at = trained.configuration["data"]["resolution"]
    known = {case.key: case.model for case in all_cases(suite, places)}
    known |= {References(suite, place.said, trained_at).key: "baselines" for place in places.values()}
    assert {key: record.model for key, record in records.items()}.items() <= known.items()
    files = [path.stem[-8:] for path in find_records(leaderboard.PUBLISHED / name)]
    assert sorted(files) == sorted(key[:8] for key in records), "a name ends with its key, and no key is there twice"
    grounds = {(record.tested_on, digest(evaluated_on(record))) for record in records.values()}
    assert len(grounds) == len(places)


def test_rivals_and_refined_labels_are_part_of_what_a_suite_is(tmp_path):
    text = SUITE.replace(
        'train = "darcy.hdf5"', "generate = {samples = 12, resolution = 17, split = [0.5, 0.25, 0.25]}"
    )
    plain = write(tmp_path, text)
    refined = write(
        tmp_path, text.replace("resolution = 17,", 'resolution = 17, mean = "auto", label_refinement = 2,', 1)
    )
    with_rivals = write(tmp_path, text.replace("seeds =", "rivals = [9]\nseeds =", 1))
    _, _, of_plain = locate(plain.data, tmp_path, tmp_path)
    _, _, of_refined = locate(refined.data, tmp_path, tmp_path)
    assert "refinement" not in of_plain
    assert '"mean": "geometric"' in of_refined
    assert '"label_refinement": 2' in of_refined
    assert References(plain, of_plain, 9).key != References(with_rivals, of_plain, 9).key
    with pytest.raises(ValueError, match="stated by the data themselves"):
        write(
            tmp_path,
            text.replace("resolution = 17,", "resolution = 17, label_refinement = 2,", 1).replace(
                "seeds =", "label_uncertainty = 2\nseeds =", 1
            ),
        )
    records = run_suite(
        write(
            tmp_path,
            text.replace("resolution = 17,", "resolution = 17, label_refinement = 2,", 1).replace(
                "seeds = [0, 1]", "rivals = [9]\nseeds = [0]"
            ),
        ),
        tmp_path / "out",
    )
    names = {row.model for row in records[0].evaluations}
    assert names == {"mean solution", *(f"solver, {m}" for m in ("arithmetic", "harmonic", "geometric", "average"))}
    assert [trial["configuration"]["resolution"] for trial in records[0].training["trials"]] == [9] * 4
    assert records[0].dataset["label_uncertainty"] > 0
