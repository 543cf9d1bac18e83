"""Suites: read strictly, and the cases that they are of."""

import pytest

from data_gen import generate
from data_gen.problems.darcy.scheme import MEANS
from pdebench_mano.benchmark import cases, leaderboard
from pdebench_mano.benchmark.cases import all_cases, suite_cases
from pdebench_mano.benchmark.data import Located, datasets, first_resolution, locate
from pdebench_mano.benchmark.references import References
from pdebench_mano.benchmark.run import run_suite
from pdebench_mano.benchmark.suite import SUITES, Model, read_suite
from pdebench_mano.evaluation.records import digest, evaluated_on, find_records

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

GENERATED = SUITE.replace(
    'train = "darcy.hdf5"', "generate = {samples = 12, resolution = 17, split = [0.5, 0.25, 0.25]}"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("suite")
    generate(folder / "darcy.hdf5", 12, 17, seed=4, split=(0.5, 0.25, 0.25))
    return folder


def write(folder, text):
    path = folder / "suite.toml"
    path.write_text(text)
    return read_suite(path)


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
    monkeypatch.setattr(cases, "train", lambda *_, **__: pytest.fail("nothing was to be trained"))
    with pytest.raises(ValueError if "such file" not in message else FileNotFoundError) as refused:
        run_suite(write(folder, SUITE.replace(*change)), tmp_path / "out", folder=folder)
    assert message in str(refused.value)


def test_a_case_is_known_by_its_data_and_not_by_where_they_lie(folder, tmp_path):
    suite = write(folder, SUITE)
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


def test_a_trial_has_the_structure_of_its_grid():
    model = Model(operator="fno", tune={"lr": [1, 2], "regime_args": {"eta": [3]}})
    assert list(model.trials()) == [{"lr": 1, "regime_args": {"eta": 3}}, {"lr": 2, "regime_args": {"eta": 3}}]
    assert list(Model(operator="fno").trials()) == []


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
    assert names == {"mean solution", *(f"solver, {each}" for each in (*MEANS, "refined"))}
    assert [trial["configuration"]["resolution"] for trial in records[0].training["trials"]] == [9] * 5
    assert records[0].dataset["label_uncertainty"] > 0


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
