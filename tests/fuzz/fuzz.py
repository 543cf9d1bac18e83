"""Bad input to every command, and what becomes of it: no test, since it takes minutes.

    python tests/fuzz/fuzz.py [--show KIND] [--only COMMAND]

A row is a command line, the exit status that it shall have, and words of which its message shall have one: every
option of every command with values that are none, and every file that the product reads missing, empty, cut in half,
overwritten with noise, or of another kind. Each runs in a process of its own. What is counted is

- traceback: Python's own words reached the user;
- status: another exit status than expected;
- silent: exit status 0 where 2 was expected;
- wordless: a message that names neither option, value nor file;
- lines: a message of more than one line;
- slow: no answer within `SECONDS`.
"""

import argparse
import itertools
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import torch

from data_gen import generate
from pdebench_mano import RunConfig, train
from pdebench_mano.cli import main
from pdebench_mano.evaluation.assess import assess

SECONDS = 60

WHOLE = ["-1", "0", "1.5", "x", "", "nan", "inf", "1e3", "99999999999999999999", "½", "2,3", "0x10", "--", "None"]
REAL = ["-1", "x", "", "nan", "inf", "-inf", "1e999", "½", "2,3", "None"]
WORD = ["x", "", "None", "[red]", "$HOME", "a b", "ä", "../x"]
GRIDS = ["x", "", "-9", "9,x", "9,,17", "8", "1000000", "9;17", "1e1", "nan", "9.0", "0", "1", "½", ",", "None"]
PAIRS = ["x", "=1", "a b=1", "1=2", "nosuch=1", "é=1", "--", "[red]=1"]
SPLITS = ["x", "", "1", "1,1,1", "-1,1,1", "nan,0,1", "0.5,0.5", "0.5,0.5,0,0", "inf,0,0", "0,0,0", "½,½,0"]
SHAPES = ["x", "", "-9", "9x", "x9", "9x9x9", "1.5", "nan", "0", "1", "2", "9,9", "100000000", "½"]
ADDRESSES = ["x", "", "tcp://127.0.0.1:1", "http://", "127.0.0.1"]


class Row(NamedTuple):
    """A command line, the exit status it shall have, and words of which its message shall have one."""

    words: list[str]
    status: int
    said: tuple[str, ...]


def options(out: str) -> dict[str, tuple[list[str], dict[str, list[str]]]]:
    """Commands with a line of theirs that works, and values of each option that do not."""
    made = ["--samples", "3", "--resolution", "9", "--out", out]
    training = [
        "--operator",
        "fno",
        "--data",
        "darcy.hdf5",
        "--out",
        out,
        "--epochs",
        "1",
        "--operator-args",
        "width=4",
    ]
    return {
        "generate": (
            ["generate", *made],
            {
                "--samples": WHOLE,
                "--resolution": SHAPES,
                "--seed": [each for each in WHOLE if each != "0"],
                "--problem": WORD,
                "--problem-args": PAIRS,
                "--law": WORD,
                "--law-args": [*PAIRS, "high=0", "high=-1", "high=nan", "low='x'", "alpha=0", "tau=-1"],
                "--source": ["x", "", "nan", "inf", "missing.npy", "text", "os:nothing", "darcy.hdf5", "0"],
                "--mean": WORD,
                "--method": WORD,
                "--rtol": [*REAL, "0", "1", "2"],
                "--split": SPLITS,
                "--workers": WHOLE,
                "--shard-size": WHOLE,
                "--device": [*WORD, "cuda", "cuda:9", "meta"],
                "--scheduler": ADDRESSES,
                "--label-refinement": WHOLE,
            },
        ),
        "inspect": (["inspect", "darcy.hdf5"], {"--device": [*WORD, "cuda"]}),
        "convert": (
            ["convert", "pairs.pt", out],
            {"--to": WORD, "--grid": WORD, "--source": REAL, "--split": WORD, "--resolution": WHOLE},
        ),
        "train": (
            ["train", *training],
            {
                "--operator": WORD,
                "--operator-args": [*PAIRS, "width=0", "width=-1", "width=x", "width=1.5", "modes=0", "depth=0"],
                "--regime": WORD,
                "--regime-args": PAIRS,
                "--resolution": GRIDS,
                "--epochs": WHOLE,
                "--seconds": [*REAL, "0"],
                "--batch-size": WHOLE,
                "--optimizer": WORD,
                "--lr": [*REAL, "0"],
                "--weight-decay": REAL,
                "--schedule": WORD,
                "--seed": [each for each in WHOLE if each != "0"] + ["4294967296"],
                "--loss": WORD,
                "--h1": REAL,
                "--norm": WORD,
                "--clip-norm": [*REAL, "0"],
                "--ema": [*REAL, "1"],
                "--precision": WORD,
                "--validation": [*REAL, "0", "1", "2"],
                "--checkpoint-seconds": REAL,
                "--track": WORD,
                "--device": [*WORD, "cuda", "cuda:9"],
            },
        ),
        "evaluate": (
            ["evaluate", "run", "--data", "darcy.hdf5", "--resolutions", "9"],
            {"--resolutions": GRIDS, "--split": WORD},
        ),
        "report": (["report", "run", "--out", out], {}),
        "time": (
            ["time", "run", "--data", "darcy.hdf5", "--resolutions", "9", "--out", out],
            {"--resolutions": GRIDS, "--device": [*WORD, "cuda"], "--repeats": WHOLE},
        ),
        "benchmark": (
            ["benchmark", "suite.toml", "--out", out],
            {"--only": WORD, "--jobs": WHOLE, "--scheduler": ADDRESSES},
        ),
        "leaderboard": (["leaderboard"], {"--suite": WORD, "--add": [*WORD, "darcy.hdf5"]}),
        "scaling": (
            ["scaling", "--operators", "fno", "--resolutions", "8", "--out", out],
            {"--operators": WORD, "--resolutions": ["x", "", "0", "-1", "8,x", "nan", "½"], "--repeats": WHOLE},
        ),
        "check": (["check", "fno"], {"OPERATOR": WORD}),
        "check-problem": (["check-problem", "darcy"], {"PROBLEM": WORD}),
        "demo": (["demo", "--quick", "--out", out], {}),
        "operators": (["operators"], {}),
        "problems": (["problems"], {}),
    }


def option_rows() -> Iterator[Row]:
    """Every option with every bad value, an unknown option, a missing and a superfluous argument."""
    for line, (base, bad) in options("new").items():
        for option, values in bad.items():
            for value in dict.fromkeys(values):
                named = option.lstrip("-")
                said = (named, named.replace("-", "_"), *([value, value.split("=")[0] or value] if value else []))
                words = [base[0], value] if option.isupper() else with_option(base, option, value)
                yield Row(words, 2, said)
        yield Row([*base, "--no-such-option"], 2, ("no-such-option", "no such option"))
        yield Row([*base, "--no-such-option", "1"], 2, ("no-such-option", "no such option"))
        if base[-1] != line:
            yield Row([*base, "superfluous", "superfluous"], 2, ("superfluous", "unexpected", "exist", "no such"))


def with_option(base: list[str], option: str, value: str) -> list[str]:
    """The line with an option of another value."""
    if option in base:
        at = base.index(option)
        return [*base[: at + 1], value, *base[at + 2 :]]
    return [*base, option, value]


def damaged(path: Path, kind: str) -> None:
    """Make a file what it should not be."""
    content = path.read_bytes() if path.is_file() else b""
    path.unlink(missing_ok=True)
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "half":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "noise":
        path.write_bytes(np.random.default_rng(0).bytes(max(64, len(content))))
    elif kind == "text":
        path.write_text("this is no such file\n")
    elif kind == "json":
        path.write_text('{"a": [1, 2, {}], "b": null}')
    elif kind == "list":
        path.write_text("[]")
    elif kind == "hdf5":
        with h5py.File(path, "w") as file:
            file["x"] = np.ones(3)
    elif kind == "zip":
        with path.open("wb") as stream:
            np.savez(stream, x=np.ones(3))
    elif kind == "folder":
        path.mkdir()
    elif kind == "circle":
        path.symlink_to(path)
    elif kind == "flipped":
        spoiled = bytearray(content)
        spoiled[len(spoiled) // 2] ^= 255
        path.write_bytes(bytes(spoiled))


KINDS = ["missing", "empty", "half", "noise", "text", "json", "list", "hdf5", "zip", "folder", "circle"]

READERS = {
    "darcy.hdf5": [
        ["inspect", "darcy.hdf5"],
        ["inspect", "darcy.hdf5", "--verify"],
        ["inspect", "darcy.hdf5", "--json"],
        ["inspect", "darcy.hdf5", "--richardson"],
        ["convert", "darcy.hdf5", "new.pt"],
        ["train", "--operator", "fno", "--data", "darcy.hdf5", "--out", "new", "--epochs", "1"],
        ["evaluate", "run", "--data", "darcy.hdf5", "--resolutions", "9"],
        ["time", "run", "--data", "darcy.hdf5", "--resolutions", "9", "--out", "new"],
        ["time", "--rivals", "--data", "darcy.hdf5", "--resolutions", "9", "--out", "new"],
        ["benchmark", "suite.toml", "--out", "new"],
    ],
    "pairs.pt": [["convert", "pairs.pt", "new.hdf5"]],
    "suite.toml": [["benchmark", "suite.toml", "--out", "new"], ["benchmark", "suite.toml", "--out", "new", "--time"]],
    "own.py": [
        ["train", "--operator", "own.py:Mine", "--data", "darcy.hdf5", "--out", "new", "--epochs", "1"],
        ["check", "own.py:Mine"],
        ["generate", "--problem", "own.py:Mine", "--samples", "2", "--resolution", "9", "--out", "new.hdf5"],
        ["generate", "--law", "own.py:law", "--samples", "2", "--resolution", "9", "--out", "new.hdf5"],
    ],
    "run/config.json": [
        ["evaluate", "run", "--data", "darcy.hdf5", "--resolutions", "9"],
        ["report", "run", "--out", "new"],
        ["leaderboard", "--add", "run"],
        ["time", "run", "--data", "darcy.hdf5", "--resolutions", "9", "--out", "new"],
    ],
    "run/best.pt": [
        ["evaluate", "run", "--data", "darcy.hdf5", "--resolutions", "9"],
        ["report", "run", "--out", "new"],
        ["time", "run", "--data", "darcy.hdf5", "--resolutions", "9", "--out", "new"],
    ],
    "run/summary.json": [
        ["evaluate", "run", "--data", "darcy.hdf5", "--resolutions", "9"],
        ["time", "run", "--data", "darcy.hdf5", "--resolutions", "9", "--out", "new"],
    ],
    "run/history.csv": [["evaluate", "run", "--data", "darcy.hdf5", "--resolutions", "9"]],
    "RECORD": [["report", "run", "--out", "new"], ["leaderboard", "--add", "run"]],
}

HARMLESS = {
    ("run/history.csv", "missing"),
    ("run/config.json", "report"),
}
"""What a command does well without."""


def file_rows(record: str) -> Iterator[tuple[str, str, Row]]:
    """Every file that is read, damaged in every way, and a command that reads it."""
    for name, commands in READERS.items():
        path = record if name == "RECORD" else name
        for kind, words in itertools.product(KINDS, commands):
            if (name, kind) not in HARMLESS and not (name == "own.py" and kind in ("json", "list")):
                yield path, kind, Row(words, 2, (Path(path).name, Path(path).parent.name or path, "no such", "own"))


def place(folder: Path) -> str:
    """A folder with one of everything; returns where its record lies."""
    generate(folder / "darcy.hdf5", 12, 17, split=(0.5, 0.25, 0.25))
    with h5py.File(folder / "darcy.hdf5") as file:
        fields = {"x": torch.from_numpy(file["nu"][:]), "y": torch.from_numpy(file["tensor"][:, 0])}
        torch.save(fields, folder / "pairs.pt")
    config = RunConfig(
        operator="fno",
        operator_args={"width": 4, "depth": 1, "modes": 4},
        data="darcy.hdf5",
        resolution=9,
        epochs=1,
        batch_size=4,
    )
    train(config, folder / "run", device="cpu")
    record = assess(folder / "run", folder / "darcy.hdf5", [9, 17])
    (folder / "text").write_text("text")
    (folder / "own.py").write_text("import torch\nclass Mine(torch.nn.Conv2d):\n    pass\n")
    (folder / "suite.toml").write_text(
        'title = "t"\nresolutions = [9]\n[data]\ntrain = "darcy.hdf5"\n[training]\nresolution = 9\nepochs = 1\n'
        '[[models]]\noperator = "fno"\noperator_args = {width = 4, depth = 1, modes = 4}\n'
    )
    return str(record.relative_to(folder))


def run(row: Row, whole: Path, path: str = "", kind: str = "") -> tuple[int | None, str]:
    """Exit status, None where there is no answer, and what was printed to stderr; in a copy of the folder."""
    with tempfile.TemporaryDirectory() as here:
        shutil.copytree(whole, here, dirs_exist_ok=True)
        if kind:
            damaged(Path(here) / path, kind)
        errors = Path(here) / ".stderr"
        child = os.fork()
        if child == 0:
            os.chdir(here)
            descriptor = os.open(errors, os.O_WRONLY | os.O_CREAT)
            os.dup2(descriptor, 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            sys.argv = ["pdebench-mano", *row.words]
            status = 1
            try:
                main()
            except SystemExit as end:
                status = end.code if isinstance(end.code, int) else 1
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(status)
        began = time.monotonic()
        while (ended := os.waitpid(child, os.WNOHANG))[0] == 0:
            if time.monotonic() - began > SECONDS:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return None, ""
            time.sleep(0.01)
        return os.waitstatus_to_exitcode(ended[1]), errors.read_text(errors="replace") if errors.exists() else ""


def faults(row: Row, status: int | None, text: str) -> Iterator[str]:
    """What is wrong with an answer."""
    if status is None:
        yield "slow"
        return
    if "Traceback" in text:
        yield "traceback"
    if status == 0 and row.status == 2:
        yield "silent"
    elif status != row.status:
        yield "status"
    elif not any(word.lower() in text.lower() for word in row.said):
        yield "wordless"
    lines = [line for line in text.splitlines() if line.startswith("pdebench-mano:")]
    if status == 2 and len(lines) != 1:
        yield "lines"


def fuzz() -> int:
    """Run all rows; prints the faulty ones and counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="a command")
    parser.add_argument("--every", type=int, default=1, help="run every n-th row alone")
    asked = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        if os.fork() == 0:  # threads that a child inherits, but not those who work in them, are waited for in vain
            Path("place").write_text(place(Path(folder)))
            os._exit(0)
        os.wait()
        record = Path("place").read_text()
        rows = [("", "", row) for row in option_rows()] + list(file_rows(record))
        rows = [each for each in rows if asked.only in (None, each[2].words[0])][:: asked.every]
        for path, kind, row in rows:
            status, text = run(row, Path(folder), path, kind)
            found = list(faults(row, status, text))
            counts.update(["rows", *found])
            if found:
                last = (text.strip().splitlines() or [""])[-1]
                print(json.dumps({"faults": found, "words": row.words, "file": path, "kind": kind, "said": last[:200]}))
    print(dict(counts))
    return sum(counts.values()) - counts["rows"] > 0


if __name__ == "__main__":
    sys.exit(fuzz())
