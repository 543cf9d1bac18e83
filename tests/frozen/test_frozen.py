"""What an earlier version wrote is read, resumed and made again: `make.py` says how this folder came about."""

import gzip
import json
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import typer

from pdebench_mano import DarcyDataset, RunConfig, load, train
from pdebench_mano.benchmark import leaderboard
from pdebench_mano.benchmark.cases import all_cases
from pdebench_mano.benchmark.data import Located, datasets
from pdebench_mano.benchmark.references import all_references
from pdebench_mano.benchmark.suite import packaged, read_suite
from pdebench_mano.cli import main
from pdebench_mano.cli.app import COMMANDS, app
from pdebench_mano.evaluation.records import read_examples, read_record

HERE = Path(__file__).parent
FNO = shlex.split("--operator fno --operator-args width=4 modes=4 depth=1 --resolution 9 --epochs 2 --batch-size 4")
MACHINE = {"software", "seal", "seconds", "environment"}
"""What says where and by which versions something was made."""


@pytest.fixture
def frozen(tmp_path, monkeypatch):
    """A copy of this folder to work in, from which its operator can be imported."""
    shutil.copytree(HERE, tmp_path / "frozen")
    monkeypatch.chdir(tmp_path / "frozen")
    monkeypatch.syspath_prepend(tmp_path / "frozen")
    return tmp_path / "frozen"


def command(*words):
    """Run the command line in this process."""
    sys.argv = ["pdebench-mano", *map(str, words)]
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 0


def renamed(text):
    """What was said then in today's words.

    foton-latent, or latent FOTON, was called foton. To MANO's operations were added those that make a grid's matrices.
    """
    text = text.replace('"foton"', '"foton-latent"').replace(", FOTON", ", latent FOTON")
    return text.replace('"flops_per_point": 151324.75', '"flops_per_point": 150868.0')


def objects(text):
    return [json.loads(line) for line in text.splitlines()]


def changed(now, then, place=""):
    """Where what was said then is not said now: more may have been added, numbers agree to their sixth digit."""
    if isinstance(then, dict):
        for key in then.keys() - MACHINE:
            yield from changed(now[key], then[key], f"{place}.{key}") if key in now else [f"{place}.{key} is gone"]
    elif isinstance(then, list) and len(now) >= len(then):
        for i, pair in enumerate(zip(now, then, strict=False)):
            yield from changed(*pair, f"{place}[{i}]")
    elif now != (pytest.approx(then, rel=2e-5, abs=1e-9) if isinstance(then, float) else then):
        yield f"{place} is {now!r}, was {then!r}"


@pytest.mark.parametrize("name", ["plain", "source"])
def test_a_file_says_what_it_said(frozen, capsys, name):
    command("inspect", f"{name}.hdf5", "--verify", "--richardson", "--json")
    assert not list(changed(objects(capsys.readouterr().out), objects((HERE / f"{name}.jsonl").read_text())))


def test_a_file_is_complete_and_left_alone(frozen, capsys):
    words = ["--samples", 3, "--resolution", 17, "--source", "source.npy", "--out", "source.hdf5"]
    command("generate", *words)
    assert "is already complete" in capsys.readouterr().out
    assert (frozen / "source.hdf5").read_bytes() == (HERE / "source.hdf5").read_bytes()


def test_shards_that_a_kill_left_become_the_whole(frozen, capsys):
    command("generate", "--samples", 6, "--resolution", 17, "--seed", 7, "--out", "killed.hdf5")
    capsys.readouterr()
    command("inspect", "killed.hdf5", "--json")
    (now,), (then,) = objects(capsys.readouterr().out), objects((HERE / "whole.jsonl").read_text())
    assert not list(changed(now | {"path": "whole.hdf5"}, then))
    assert not (frozen / "killed.hdf5.shards").exists()


def predictions(run):
    test = DarcyDataset("darcy.hdf5", "test")
    a, _ = test.batch(range(len(test)))
    return load(f"runs/{run}", device="cpu", trust=True).predict(a).numpy()


@pytest.mark.parametrize("run", ["fno", "mortal"])
def test_a_run_predicts_what_it_predicted(frozen, run):
    with np.load("predictions.npz") as then:
        np.testing.assert_allclose(predictions(run), then[run], rtol=1e-6, atol=1e-9)


def test_a_run_that_was_stopped_within_an_epoch_goes_on_to_the_same_weights(frozen, capsys):
    then = json.loads(Path("runs/mortal/summary.json").read_text())
    config = RunConfig(**json.loads(Path("runs/stopped/config.json").read_text())["config"])
    history = train(config, "runs/stopped", device="cpu")
    assert "was begun by another version of the code" in " ".join(capsys.readouterr().err.split())
    assert (history.best_epoch, history.best_validation) == (
        then["best_epoch"],
        pytest.approx(then["best_validation"], rel=1e-6),
    )
    with np.load("predictions.npz") as archive:
        np.testing.assert_allclose(predictions("stopped"), archive["mortal"], rtol=1e-6, atol=1e-9)


def test_a_finished_run_is_left_alone(frozen, capsys):
    command("train", *FNO, "--data", "darcy.hdf5", "--out", "runs/fno")
    assert "was complete already" in capsys.readouterr().err
    for path in (HERE / "runs" / "fno").glob("*.*"):
        assert (frozen / "runs" / "fno" / path.name).read_bytes() == path.read_bytes()


def test_an_evaluation_gives_the_record_that_it_gave(frozen, capsys):
    (old,) = (HERE / "runs" / "fno" / "records").glob("*.jsonl")
    shutil.rmtree("runs/fno/records")
    command("evaluate", "runs/fno", "--data", "darcy.hdf5", "--resolutions", "9,17", "--json")
    assert not list(changed(objects(capsys.readouterr().out), objects((HERE / "evaluate.jsonl").read_text())))
    new = frozen / "runs" / "fno" / "records" / old.name
    assert not list(changed(json.loads(new.read_text()), json.loads(old.read_text())))
    now, then = read_examples(new), read_examples(old)
    assert now.keys() == then.keys()
    for name in then:
        np.testing.assert_allclose(now[name], then[name], rtol=1e-6, atol=1e-9)


def test_a_record_is_read_and_reported(frozen):
    (path,) = Path("runs/fno/records").glob("*.jsonl")
    assert read_record(path).model == "fno"
    command("report", "runs/fno", "--out", "report")
    assert Path("report/tables/error.csv").read_text() == (HERE / "error.csv").read_text()


def test_the_operators_are_those_there_were(capsys):
    command("operators", "--json")
    assert not list(changed(objects(capsys.readouterr().out), objects(renamed((HERE / "operators.jsonl").read_text()))))


def test_the_leaderboards_are_those_there_were(capsys):
    then = objects(renamed(gzip.decompress((HERE / "leaderboard.jsonl.gz").read_bytes()).decode()))
    kept = dict.fromkeys(row["suite"] for row in then)
    assert set(kept) <= set(leaderboard.suites())
    for suite in kept:
        command("leaderboard", "--suite", suite, "--json")
    assert not list(changed(objects(capsys.readouterr().out), then))


def test_benchmark_finds_every_published_key(tmp_path):
    published = json.loads((HERE / "keys.json").read_text())
    assert sum(map(len, published.values())) == 651
    for name, keys in published.items():
        suite = read_suite(packaged(name))
        records = leaderboard.published(name)
        config = next(record.configuration for record in records if record.configuration)
        if suite.data.generate is None:
            digests = f"digests {config['data']['digest']} {records[0].dataset['digest']}"
            file = tmp_path / "data.hdf5"
            places = {"": Located(suite.data, file, file, digests, config["data"]["resolution"])}
        else:
            places = datasets(suite.data, tmp_path, tmp_path)
        cases = [*all_cases(suite, places)]
        found = [*cases, *all_references(suite, places, cases[0].config)]
        assert set(keys) <= {each.key for each in found}
        assert {record.key for record in records} >= set(keys)


def test_commands_and_options_keep_their_names_and_defaults():
    for name in COMMANDS:
        __import__(f"pdebench_mano.cli.{name}")
    commands = typer.main.get_command(app).commands
    for name, options in json.loads((HERE / "commands.json").read_text()).items():
        now = {max(p.opts, key=len): p.default for p in commands[name].params}
        assert not list(changed(json.loads(json.dumps(now, default=str)), options, name))
