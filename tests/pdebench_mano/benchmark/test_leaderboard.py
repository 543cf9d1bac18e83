"""The published records: shown, compared only with what was evaluated on the same samples, carried and made again."""

import json
import runpy
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from data_gen import Grid, build_problem, generate
from data_gen.recipe import Recipe
from data_gen.samples import make_block
from pdebench_mano.benchmark import leaderboard
from pdebench_mano.benchmark.run import run_suite
from pdebench_mano.benchmark.suite import read_suite
from pdebench_mano.cli import main
from pdebench_mano.evaluation.records import digest, evaluated_on, find_records, read_record, write_record
from pdebench_mano.evaluation.timing import Timing, architecture, read_times, write_times
from pdebench_mano.fields.metrics import relative_l2
from pdebench_mano.training.folder import training_resolution
from pdebench_mano.training.runs import RunConfig, load, train

ROOT = Path(__file__).parents[3]
PUBLISH = runpy.run_path(str(ROOT / "benchmarks" / "publish.py"))
CHECKPOINTS = sorted(path.parent for path in (ROOT / "benchmarks" / "checkpoints").glob("*/*/config.json"))

SUITE = """
title = "tiny"
resolutions = [9, 17]
seeds = [0, 1]
mean_solution = true

[data.generate]
samples = 12
resolution = 17
split = [0.5, 0.25, 0.25]

[training]
resolution = 9
epochs = 1
batch_size = 4

[[models]]
operator = "fno"
operator_args = {width = 4, depth = 1, modes = 4}
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A folder of published suites, in which there is one."""
    folder = tmp_path_factory.mktemp("published")
    (folder / "tiny.toml").write_text(SUITE)
    run_suite(read_suite(folder / "tiny.toml"), folder / "tiny")
    return folder


@pytest.fixture
def run(tiny, tmp_path, monkeypatch):
    """A run of one's own, beside the board of the suite."""
    monkeypatch.setattr(leaderboard, "PUBLISHED", tiny)
    (data,) = (tiny / "tiny" / "data").glob("*.hdf5")
    config = RunConfig(operator="unet", operator_args={"width": 4}, data=str(data), resolution=9, epochs=2, seed=7)
    train(config, tmp_path / "mine")
    return tmp_path / "mine"


def command(*words):
    """Run the command line in this process."""
    sys.argv = ["pdebench-mano", *map(str, words)]
    with pytest.raises(SystemExit) as stopped:
        main()
    return stopped.value.code


def evaluated(run, data, resolutions):
    assert command("evaluate", run, "--data", data, "--resolutions", resolutions, "--json") == 0
    return run


def board_file(tiny):
    (data,) = (tiny / "tiny" / "data").glob("*.hdf5")
    return data


def test_a_run_stands_beside_the_published_records(tiny, run, capsys):
    evaluated(run, board_file(tiny), "5,9,17")
    capsys.readouterr()
    assert command("leaderboard", "--add", run, "--json") == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    published = [row for record in map(read_record, find_records(tiny / "tiny")) for row in record.evaluations]
    shown = [row["relative_l2"] for row in rows if row["run"] is None]
    assert shown == pytest.approx([row.mean() for row in published], rel=1e-5)
    own = [(row["model"], row["resolution"], row["seed"]) for row in rows if row["run"]]
    assert own == [("unet", 9, 7), ("unet", 17, 7), ("upsampled unet", 17, 7)], "at the resolutions they share"
    record = read_record(find_records(run)[0])
    assert {row["configuration"] for row in rows if row["run"]} == {record.key}
    assert {row["dataset"] for row in rows} == {record.dataset["digest"]}
    assert {row["problem"] for row in rows} == {"darcy"}
    assert [row["kind"] for row in rows if row["run"]] == ["operator", "operator", "upsampled"]
    own = {(row["weights"], row["train_seconds"], row["seeds"]) for row in rows if row["run"]}
    assert own == {(record.training["parameters"], record.training["seconds"], 1)}
    assert command("leaderboard", "--suite", "tiny", "--add", run) == 0
    table = " ".join(capsys.readouterr().out.split())
    assert "trained for 1 epoch " in table
    assert table.count("2 epochs)") == 3, "its own budget is said for its rows and its difference"


def test_a_file_of_another_device_size_or_split_holds_the_same_samples(tiny):
    record = read_record(find_records(tiny / "tiny")[0])
    recipe = json.loads(record.dataset["recipe"])

    def on(**changes):
        dataset = record.dataset | {"recipe": json.dumps(recipe | changes), "digest": "other"}
        return evaluated_on(replace(record, dataset=dataset))

    assert on(device="cuda", samples=99, split=[0.0, 0.0, 1.0]) == evaluated_on(record)
    for other in ({"seed": 1}, {"shape": [33, 33]}, {"source": 2.0}, {"law_args": {"high": 5.0}}):
        assert on(**other) != evaluated_on(record)
    assert on(law="my_laws.py:stripes")["digest"] == "other", "a name does not say what a law of one's own draws"
    assert evaluated_on(replace(record, samples=[0])) != evaluated_on(record)


@pytest.mark.parametrize(
    ("samples", "seed", "split", "resolutions", "message"),
    [
        (12, 0, (0.5, 0.25, 0.25), "3,5", r"was evaluated at 3², 5², and the board is at 9², 17²"),
        (12, 1, (0.5, 0.25, 0.25), "9", r"other samples: seed 1, not 0"),
        (16, 0, (0.5, 0.25, 0.25), "9", r"other samples: positions '4 from 12 to 15', not '3 from 9 to 11'"),
    ],
)
def test_a_run_on_other_samples_is_refused(tiny, run, tmp_path, capsys, samples, seed, split, resolutions, message):
    generate(tmp_path / "own.hdf5", samples, 17, seed=seed, split=split)
    evaluated(run, tmp_path / "own.hdf5", resolutions)
    capsys.readouterr()
    assert command("leaderboard", "--add", run) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_samples_without_a_recipe_are_told_apart_by_their_digest(tiny, run, tmp_path, capsys):
    record = read_record(evaluated_record(tiny, run))
    dataset = {name: value for name, value in record.dataset.items() if name != "recipe"} | {"digest": "f" * 64}
    write_record(replace(record, dataset=dataset), tmp_path / "foreign" / "records" / "r.jsonl")
    assert command("leaderboard", "--add", tmp_path / "foreign") == 2
    assert "other samples: digest 'ffffffffffff', not '" in capsys.readouterr().err


def evaluated_record(tiny, run):
    return find_records(evaluated(run, board_file(tiny), "9"))[0]


def test_a_checkpoint_packed_and_unpacked_gives_the_published_figure(tiny, tmp_path, capsys):
    archives = PUBLISH["pack"]("tiny", tiny / "tiny", tmp_path, ["fno-seed1-*"])
    PUBLISH["unpack"](archives, tmp_path / "repository")
    records = find_records(tmp_path / "repository" / "pdebench_mano" / "benchmark" / "published" / "tiny")
    assert [path.read_text() for path in records] == [path.read_text() for path in find_records(tiny / "tiny")]
    (folder,) = (tmp_path / "repository" / "benchmarks" / "checkpoints" / "tiny").iterdir()
    (record,) = [read_record(path) for path in records if path.stem == folder.name]
    assert command("evaluate", folder, "--data", board_file(tiny), "--resolutions", "9,17", "--json") == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    again = {(row["model"], row["resolution"]): row["relative_l2"] for row in rows}
    assert {(row.model, row.resolution): again[row.model, row.resolution] for row in record.evaluations} == {
        (row.model, row.resolution): pytest.approx(row.mean(), rel=1e-4) for row in record.evaluations
    }


def test_times_are_packed_beside_records_and_become_what_operators_are_worth(tiny, tmp_path, monkeypatch):
    shutil.copytree(tiny / "tiny" / "records", tmp_path / "out" / "records")
    records = [read_record(path) for path in find_records(tmp_path / "out")]
    about = {"problem": "darcy", "precision": "float32", "mode": "eager", "rtol": None, "batch": 1, "latency_ms": 1.0}
    about |= {"spread": 0.0, "repeats": 5, "busy": False, "commit": "c", "device": "Some GPU", "resolution": 9}
    about |= {"dataset": digest(evaluated_on(records[0])), "throughput_ms": 1.0}
    (made,) = {architecture(record.configuration) for record in records if record.configuration}
    times = [Timing(name="fno", kind="operator", architecture=made, **about)]
    write_times(times, tmp_path / "out")
    archives = PUBLISH["pack"]("tiny", tmp_path / "out", tmp_path, [])
    PUBLISH["unpack"](archives, tmp_path / "repository")
    published = tmp_path / "repository" / "pdebench_mano" / "benchmark" / "published"
    assert read_times(published / "tiny") == times
    monkeypatch.setattr(leaderboard, "PUBLISHED", published)
    monkeypatch.setitem(PUBLISH["worth_of"].__globals__, "PUBLISHED", published)
    path = PUBLISH["worth_of"]("tiny", tmp_path / "results")
    assert path == tmp_path / "results" / "tiny" / "worth.json"
    (row,) = json.loads(path.read_text())
    assert (row["suite"], row["model"], row["resolution"], row["operator_ms"]) == ("tiny", "fno", 9, 1.0)
    (published / "tiny" / "times.jsonl").unlink()
    with pytest.raises(ValueError, match="tiny has no published times of an operator"):
        PUBLISH["worth_of"]("tiny", tmp_path / "results")


@given(sizes=st.lists(st.integers(0, 4000), max_size=12))
def test_archives_keep_within_their_limit_and_lose_nothing(tmp_path_factory, sizes):
    folder = tmp_path_factory.mktemp("files")
    groups = []
    for number, size in enumerate(sizes):
        (folder / str(number)).write_bytes(bytes(size))
        groups.append({f"{number}": folder / str(number), f"{number}-again": folder / str(number)})
    parts = PUBLISH["parts"](groups, 12000)
    assert all(sum(path.stat().st_size + 1024 for path in part.values()) <= 12000 for part in parts)
    assert sorted(name for part in parts for name in part) == sorted(name for group in groups for name in group)
    assert all(part.keys() >= group.keys() for group in groups for part in parts if group.keys() & part.keys())


def test_packing_says_what_does_not_fit(tiny, tmp_path):
    with pytest.raises(ValueError, match=r"no case with a run in .* fits swin\*"):
        PUBLISH["pack"]("tiny", tiny / "tiny", tmp_path, ["fno*", "swin*"])
    with pytest.raises(ValueError, match=r"checkpoints/tiny/fno-seed\d-\w+ has .* MiB, more than 0.01$"):
        PUBLISH["pack"]("tiny", tiny / "tiny", tmp_path, ["fno*"], limit=0.01)


def test_the_flagship_is_published_and_a_suite_has_checkpoints():
    assert leaderboard.suites()[0] == leaderboard.FLAGSHIP
    assert "darcy85" in {folder.parent.name for folder in CHECKPOINTS}


@pytest.mark.parametrize("folder", CHECKPOINTS, ids=lambda folder: folder.name)
def test_a_kept_checkpoint_gives_the_published_errors(folder):
    """On the first two test samples at the training resolution, drawn and solved anew."""
    record = read_record(leaderboard.PUBLISHED / folder.parent.name / "records" / f"{folder.name}.jsonl")
    resolution = training_resolution(folder)
    kept = json.loads(record.dataset["recipe"])
    darcy = build_problem("darcy", **{name: kept[name] for name in ("law", "law_args", "source", "mean", "method")})
    grid = Grid(tuple(kept["shape"]))
    _, stride = grid.coarsened(resolution)
    block = make_block(Recipe(kept["samples"], grid, darcy, kept["seed"]), record.samples[0], 2)
    a, u = (
        torch.from_numpy(np.ascontiguousarray(field[..., ::stride, ::stride])) for field in (block.nu, block.tensor)
    )
    (row,) = [row for row in record.evaluations if (row.model, row.resolution) == (record.model, resolution)]
    found = relative_l2(load(folder, device="cpu").predict(a[:, None]), u)
    assert found.tolist() == pytest.approx(row.errors["relative_l2"][:2], rel=1e-2)
