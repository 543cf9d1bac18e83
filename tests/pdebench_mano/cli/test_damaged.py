"""Our own files, cut off, empty or another program's: one line that names the file, and exit status 2."""

import json
import platform
import shlex
import shutil
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from data_gen import generate, read_info, storage
from pdebench_mano import RunConfig, train
from pdebench_mano.cli import main
from pdebench_mano.evaluation.records import read_record, write_record
from pdebench_mano.report import export

TRAIN = "train --operator fno --operator-args width=4 depth=1 modes=4 --data darcy.hdf5 --resolution 9 --epochs 4"
EVALUATE = "evaluate run --data darcy.hdf5 --resolutions 9"
TIMED, EXPORT = "time run --data darcy.hdf5 --resolutions 9 --out times", "export run --out exported"
TIME = "time --rivals --data darcy.hdf5 --resolutions 5 --repeats 1"
REPORT = "report run --out report"


def run(words):
    """Run the command line in this process; returns the exit status."""
    sys.argv = ["pdebench-mano", *shlex.split(words)]
    with pytest.raises(SystemExit) as stopped:
        main()
    return stopped.value.code


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder with a dataset and an evaluated run."""
    whole = tmp_path_factory.mktemp("whole")
    generate(whole / "darcy.hdf5", 12, 17, split=(0.5, 0.25, 0.25))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(whole)
        arguments = {"width": 4, "depth": 1, "modes": 4}
        train(RunConfig(operator="fno", operator_args=arguments, data="darcy.hdf5", resolution=9, epochs=4), "run")
        assert run(EVALUATE) == 0
        (whole / "run" / "records").rename(whole / "records")
        shutil.copytree("records", "run/records")
        for path in (whole / "run" / "records").iterdir():
            path.rename(path.with_stem("record"))
    return whole


@pytest.fixture
def place(whole, tmp_path, monkeypatch):
    """A copy of it to do damage in."""
    shutil.copytree(whole, tmp_path / "place")
    monkeypatch.chdir(tmp_path / "place")
    return tmp_path / "place"


def refused(capsys, words):
    """The one line by which a command is refused."""
    capsys.readouterr()
    assert run(words) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    return line


@pytest.mark.parametrize("damage", ["empty", "half", "foreign"])
@pytest.mark.parametrize(
    ("name", "commands"),
    [
        ("config.json", [TRAIN + " --out run", EVALUATE, REPORT, "leaderboard --add run"]),
        ("summary.json", [TRAIN + " --out run", EVALUATE, REPORT, "leaderboard --add run", TIMED, EXPORT]),
        ("history.csv", [TRAIN + " --out run", EVALUATE]),
        ("best.pt", [EVALUATE, EVALUATE + " --split val", REPORT, "check fno --run run"]),
        ("samples.json", [EVALUATE, REPORT]),
        ("records/record.jsonl", [REPORT, "leaderboard --add run"]),
        ("records/record.npz", [REPORT]),
    ],
)
def test_a_damaged_file_of_a_run_is_named(place, capsys, name, commands, damage):
    path = place / "run" / name
    if damage == "half":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif damage == "empty":
        path.write_bytes(b"")
    elif path.suffix == ".pt":
        torch.save([1, 2], path)
    elif path.suffix == ".npz":
        np.savez(path, other=np.ones(3))
    else:
        path.write_text("epoch\n1\n" if path.suffix == ".csv" else json.dumps({"mine": 1}))
    for words in commands:
        line = refused(capsys, words)
        assert f"run/{name}" in line, line
        assert "Traceback" not in line


@pytest.mark.parametrize("name", ["config.json", "history.csv", "samples.json", "records/record.npz"])
def test_a_link_that_leads_nowhere_is_no_missing_file(place, capsys, name):
    """What a record can do without was passed over."""
    path = place / "run" / name
    path.unlink()
    path.symlink_to(path.name)
    words = REPORT if name in ("config.json", "records/record.npz") else EVALUATE
    assert Path(name).name in refused(capsys, words)


def test_what_only_looks_like_the_history_of_a_run_is_refused(place, capsys):
    """Whole rows, and not all of them: that gave a wrong record, and status 0."""
    path = place / "run" / "history.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:3]))
    assert "history.csv is damaged or gone" in refused(capsys, EVALUATE)
    path.unlink()
    assert "history.csv is damaged or gone" in refused(capsys, TRAIN + " --out run")


@pytest.mark.parametrize(
    ("name", "keys", "value"),
    [
        ("config.json", "data", None),
        ("config.json", "data.channels", [1]),
        ("config.json", "data.channels", ["a", "b"]),
        ("config.json", "data.grid", "torus"),
        ("config.json", "data.resolution", "nine"),
        ("config.json", "environment", None),
        ("summary.json", "best_epoch", None),
        ("summary.json", "seconds", None),
        ("samples.json", "positions", [0]),
        ("records/record.jsonl", "evaluations", []),
        ("records/record.jsonl", "evaluations.0.errors", {}),
        ("records/record.jsonl", "evaluations.0.errors", {"relative_l2": []}),
        ("records/record.jsonl", "dataset", {}),
        ("records/record.jsonl", "configuration", {"config": {}}),
        ("records/record.jsonl", "history", [{}]),
    ],
)
def test_a_value_of_another_kind_is_named(place, capsys, name, keys, value):
    """Tables, cards and operators were made of such values, or a traceback."""
    path = place / "run" / name
    whole = part = json.loads(path.read_text())
    *above, last = keys.split(".")
    for key in above:
        part = part[int(key) if key.isdecimal() else key]
    part[last] = value
    path.write_text(json.dumps(whole))
    for words in (REPORT, EXPORT):
        if words == REPORT or name != "samples.json":
            assert f"run/{name} is " in refused(capsys, words)


def test_a_dataset_whose_seal_is_broken_is_not_used(place, capsys):
    with h5py.File(place / "darcy.hdf5", "r+") as file:
        file.attrs["grid"] = "left"
    for words in (
        TRAIN + " --out new",
        EVALUATE,
        TIME + " --out new",
        "inspect darcy.hdf5",
        "convert darcy.hdf5 new.pt",
    ):
        assert "darcy.hdf5 is damaged: an attribute" in refused(capsys, words)
    assert run("inspect darcy.hdf5 --verify") == 1
    assert "not as it was written" in capsys.readouterr().out


def test_a_training_that_was_killed_before_its_config_was_whole_begins_anew(place):
    """Its folder was taken for something else; so was that of another process at that moment."""
    (place / "new").mkdir()
    left = place / "new" / f".config.{platform.node()}-{2**22 + 1}.partial.json"  # of a process that cannot be
    left.write_text("{")
    assert run(TRAIN + " --out new") == 0
    assert not left.exists()


def test_an_interrupted_run_is_not_finished(place, capsys):
    (place / "run" / "summary.json").unlink()
    for words in (EVALUATE, EVALUATE + " --split val", REPORT, "leaderboard --add run"):
        assert "run is not finished: the same train command again goes on with it" in refused(capsys, words)
    assert run(TRAIN + " --out run") == 0
    (place / "run" / "best.pt").unlink()
    for words in (EVALUATE, REPORT, TRAIN + " --out run"):
        assert "run has lost its best.pt: remove the folder, and train again" in refused(capsys, words)


@pytest.mark.parametrize("content", [b"", b"PK", None])
def test_a_damaged_checkpoint_is_named(place, capsys, content):
    (place / "run" / "summary.json").unlink()
    path = place / "run" / "checkpoint.pt"
    if content is None:
        torch.save({"operator": {}, "settings": torch.load(path, weights_only=True)["settings"]}, path)
    else:
        path.write_bytes(content)
    line = refused(capsys, TRAIN + " --out run")
    assert "run/checkpoint.pt" in line


@pytest.mark.parametrize("content", ["", "{", "[]", '{"recipe": 1, "shard_size": 2}', '{"recipe": {}}'])
def test_a_damaged_manifest_of_shards_is_named(place, capsys, content):
    words = "generate --samples 4 --resolution 9 --shard-size 2 --out d.hdf5"
    generate("d.hdf5", 4, 9, shard_size=2, merge=False)
    (place / "d.hdf5").unlink()
    (place / "d.hdf5.shards" / "recipe.json").write_text(content)
    assert "d.hdf5.shards/recipe.json is damaged" in refused(capsys, words)


def test_an_export_that_was_written_meanwhile_is_compared(place, monkeypatch):
    """Of two at the same time, the second stumbled over the folder of the first."""
    alone = storage.alone

    @contextmanager
    def late(path):
        monkeypatch.setattr(export, "alone", alone)
        assert run(EXPORT) == 0
        with alone(path):
            yield

    monkeypatch.setattr(export, "alone", late)
    assert run(EXPORT) == 0
    assert sorted(path.name for path in place.glob(".*")) == []


@pytest.mark.parametrize(
    ("lock", "what", "words"),
    [
        ("new/.lock", "new", TRAIN + " --out new"),
        ("run/records/.{digest}.jsonl.lock", "run/records/{digest}.jsonl", EVALUATE),
        ("./.new.hdf5.lock", "new.hdf5", "convert darcy.pt new.hdf5"),
        ("times/.times.jsonl.lock", "times/times.jsonl", TIME + " --out times"),
        ("scaling/.lock", "scaling", "scaling --operators fno --resolutions 8 --repeats 1 --out scaling"),
    ],
)
def test_of_two_writers_one_says_so_and_the_other_is_not_disturbed(place, capsys, lock, what, words):
    assert run("convert darcy.hdf5 darcy.pt") == 0
    digest = read_info("darcy.hdf5").digest[:8]
    lock, what = place / lock.format(digest=digest), what.format(digest=digest)
    lock.parent.mkdir(exist_ok=True)
    with storage.locked(lock, place / what):
        before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
        assert f"{what} is in use by another process" in refused(capsys, words)
        after = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
        assert {path: value for path, value in after.items() if not path.name.endswith(".tmp")} == before
    assert run(words) == 0
    assert not lock.exists()


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (RuntimeError("CUDA error: out of\nmemory"), "RuntimeError: CUDA error: out of memory"),
        (MemoryError("Unable to allocate 74.5 GiB"), "there is not enough memory: Unable to allocate 74.5 GiB"),
    ],
)
def test_what_a_machine_cannot_do_is_one_line(place, capsys, monkeypatch, error, line):
    monkeypatch.setattr("data_gen.storage.open_hdf5", lambda *_: (_ for _ in ()).throw(error))
    assert line in refused(capsys, "inspect darcy.hdf5")


def test_names_are_no_markup_and_no_mathematics(place, capsys):
    """In a table [/red] was an error and [red] vanished; in a figure a single $ was an error."""
    name = "my [red] $m}_{ate$ [/blue] :smile:"
    record = read_record(place / "run" / "records" / "record.jsonl")
    rows = [replace(row, model=row.model.replace("fno", name)) for row in record.evaluations]
    write_record(replace(record, model=name, evaluations=rows), place / "run" / "records" / "record.jsonl")
    assert run(REPORT) == 0
    assert name in " ".join(capsys.readouterr().out.split())
    assert run("evaluate 'none [/red]' --data darcy.hdf5 --resolutions 9") == 2


def test_a_file_that_ends_too_early_is_no_interruption(place, capsys, monkeypatch):
    def ends(*_, **__):
        raise EOFError("ran out of input")

    monkeypatch.setattr("data_gen.storage.open_hdf5", ends)
    assert "a file ended too early: ran out of input" in refused(capsys, "inspect darcy.hdf5")
