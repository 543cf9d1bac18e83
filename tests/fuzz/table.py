"""The rows of `fuzz`: every option with values that are none, and every file that the product reads, damaged."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from damage import FOUND, KINDS, SPOILED

WHOLE = ["-1", "0", "1.5", "x", "", "nan", "inf", "1e3", "99999999999999999999", "½", "2,3", "0x10", "--", "None"]
REAL = ["-1", "x", "", "nan", "inf", "-inf", "1e999", "½", "2,3", "None"]
WORD = ["x", "", "None", "[red]", "$HOME", "a b", "ä", "../x"]
GRIDS = ["x", "", "-9", "9,x", "9,,17", "8", "1000000", "9;17", "1e1", "nan", "9.0", "0", "1", "½", ",", "None"]
PAIRS = ["x", "=1", "a b=1", "1=2", "nosuch=1", "é=1", "--", "[red]=1"]
SPLITS = ["x", "", "1", "1,1,1", "-1,1,1", "nan,0,1", "0.5,0.5", "0.5,0.5,0,0", "inf,0,0", "0,0,0", "½,½,0"]
SHAPES = ["x", "", "-9", "9x", "x9", "9x9x9", "1.5", "nan", "0", "1", "2", "9,9", "100000000", "½"]
PLACES = [".", "text", "text/new", "darcy.hdf5", "darcy.hdf5/new", "/dev/null", "/proc/new", "x" * 300, ""]
FILES = ["x", "", "text", "text/x", "run", "own.py", "/dev/null", "circle", "scaling/scaling.csv"]
RUNS = ["x", "", "text", "text/x", "data.shards", "darcy.hdf5", "/dev/null", "circle", "."]
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
                "--out": PLACES,
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
        "inspect": (["inspect", "darcy.hdf5"], {"--device": [*WORD, "cuda"], "FILE": FILES}),
        "convert": (
            ["convert", "pairs.pt", out],
            {
                "--to": WORD,
                "--grid": WORD,
                "--source": [each for each in REAL if each != "-1"],
                "--split": [*WORD, *SPLITS, "train=x", "x=train", "train=", "train=x,train=x"],
                "--inputs": [*WORD[1:], "a=missing", "=x"],
                "--outputs": [*WORD, "u=missing", "=x"],
                "--axes": [*WORD, "sxy,sxy,sxy", "xxy"],
                "--resolution": WHOLE,
                "SOURCE": FILES,
            },
        ),
        "train": (
            ["train", *training],
            {
                "--out": [each for each in PLACES if each != "."],
                "--data": FILES,
                "--pairs": [*WORD, "step"],
                "--unroll": [each for each in WHOLE if each != "1"],
                "--noise": REAL,
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
            {
                "--resolutions": GRIDS,
                "--split": WORD,
                "--start": REAL,
                "--metric": [*WORD, "own.py:Mine", "own.py:x", "os:nothing"],
                "--data": FILES,
                "RUN": RUNS,
            },
        ),
        "report": (["report", "run", "--out", out], {"--out": PLACES, "RUN": RUNS, "--title": [""]}),
        "export": (["export", "run", "--out", out], {"--out": PLACES, "--records": RUNS, "RUN": RUNS}),
        "time": (
            ["time", "run", "--data", "darcy.hdf5", "--resolutions", "9", "--out", out],
            {
                "--resolutions": GRIDS,
                "--device": [*WORD, "cuda"],
                "--repeats": WHOLE,
                "--start": REAL,
                "--data": FILES,
                "--out": [each for each in PLACES if each != "."],
                "RUN": RUNS,
            },
        ),
        "benchmark": (
            ["benchmark", "suite.toml", "--out", out],
            {"--only": WORD, "--jobs": WHOLE, "--scheduler": ADDRESSES, "--out": PLACES[1:], "SUITE": RUNS},
        ),
        "leaderboard": (["leaderboard"], {"--suite": WORD, "--add": [*WORD, *RUNS]}),
        "scaling": (
            ["scaling", "--operators", "fno", "--resolutions", "8", "--out", out],
            {
                "--operators": WORD,
                "--resolutions": ["x", "", "0", "-1", "8,x", "nan", "½"],
                "--repeats": WHOLE,
                "--batch-size": WHOLE,
                "--precision": WORD,
                "--device": [*WORD, "cuda", "meta"],
                "--out": PLACES,
            },
        ),
        "check": (
            ["check", "fno"],
            {"OPERATOR": WORD, "--operator-args": PAIRS, "--grid": WORD, "--run": RUNS},
        ),
        "check-problem": (
            ["check-problem", "darcy"],
            {"PROBLEM": WORD, "--problem-args": [*PAIRS, "source=nan", "mean=x"], "--resolution": [*SHAPES[:-5], "½"]},
        ),
        "demo": (["demo", "--quick", "--out", out], {"--out": PLACES[1:]}),
        "operators": (["operators"], {}),
        "problems": (["problems"], {}),
    }


def option_rows() -> Iterator[Row]:
    """Every option with every bad value, an unknown option, a missing and a superfluous argument."""
    for line, (base, bad) in options("new").items():
        for option, values in bad.items():
            for value in dict.fromkeys(values):
                named = option.lstrip("-")
                parts = [value, value.split("=")[0] or value, *value.split("/")[:-1]] if value else ["empty"]
                said = (named, named.replace("-", "_"), *filter(None, parts))
                words = [base[0], value, *base[2:]] if option.isupper() else with_option(base, option, value)
                yield Row(words, 2, said)
        yield Row([*base, "--no-such-option"], 2, ("no-such-option", "no such option"))
        yield Row([*base, "--no-such-option", "1"], 2, ("no-such-option", "no such option"))
        yield Row([*base, ""], 2, ("empty",))
        if base[-1] != line:
            yield Row([*base, "superfluous", "superfluous"], 2, ("superfluous", "unexpected", "exist", "no such"))


def with_option(base: list[str], option: str, value: str) -> list[str]:
    """The line with an option of another value."""
    if option in base:
        at = base.index(option)
        return [*base[: at + 1], value, *base[at + 2 :]]
    return [*base, option, value]


EVALUATE = ["evaluate", "run", "--data", "darcy.hdf5", "--resolutions", "9"]
REPORT = ["report", "run", "--out", "new"]
TIME = ["time", "run", "--data", "darcy.hdf5", "--resolutions", "9", "--out", "new"]
TRAIN = ["train", "--operator", "fno", "--data", "darcy.hdf5", "--epochs", "1", "--out"]
GENERATE = ["generate", "--samples", "2", "--resolution", "9", "--out", "new.hdf5"]
RESUME = ["generate", "--samples", "4", "--resolution", "9", "--shard-size", "2", "--out", "data"]
EXPORT = ["export", "run", "--out", "new"]
BENCHMARK = ["benchmark", "suite.toml", "--out", "new"]

READERS = {
    "darcy.hdf5": [
        ["inspect", "darcy.hdf5"],
        ["inspect", "darcy.hdf5", "--verify"],
        ["inspect", "darcy.hdf5", "--json"],
        ["inspect", "darcy.hdf5", "--richardson"],
        ["inspect", "darcy.hdf5", "--card"],
        ["convert", "darcy.hdf5", "new.pt"],
        [*TRAIN, "new"],
        EVALUATE,
        TIME,
        ["time", "--rivals", "--data", "darcy.hdf5", "--resolutions", "9", "--out", "new"],
        BENCHMARK,
        ["generate", "--samples", "12", "--resolution", "17", "--split", "0.5,0.25,0.25", "--out", "darcy.hdf5"],
    ],
    "waves.hdf5": [["inspect", "waves.hdf5", "--verify"], ["convert", "waves.hdf5", "new", "--to", "the_well"]],
    "virtual.hdf5": [["inspect", "virtual.hdf5"]],
    "virtual.hdf5.shards/000000000.hdf5": [
        ["inspect", "virtual.hdf5"],
        ["inspect", "virtual.hdf5", "--verify"],
        ["train", "--operator", "fno", "--data", "virtual.hdf5", "--epochs", "1", "--out", "new"],
    ],
    "pairs.pt": [["convert", "pairs.pt", "new.hdf5"]],
    "pairs.mat": [["convert", "pairs.mat", "new.hdf5"]],
    "arrays.npz": [["convert", "arrays.npz", "new.hdf5"]],
    "fields.nc": [["convert", "fields.nc", "new.hdf5"]],
    "well.hdf5": [["convert", "well.hdf5", "new.hdf5"]],
    "pdebench.hdf5": [["convert", "pdebench.hdf5", "new.hdf5"]],
    "stored.npy": [[*GENERATE, "--law", "stored.npy"], [*GENERATE, "--source", "stored.npy"]],
    "suite.toml": [BENCHMARK, [*BENCHMARK, "--time"], [*BENCHMARK, "--jobs", "2"]],
    "own.py": [
        ["train", "--operator", "own.py:Mine", "--data", "darcy.hdf5", "--out", "new", "--epochs", "1"],
        ["check", "own.py:Mine"],
        [*GENERATE, "--problem", "own.py:Mine"],
        ["check-problem", "own.py:Mine"],
        [*GENERATE, "--law", "own.py:law"],
        [*GENERATE, "--source", "own.py:law"],
        ["train", "--operator", "fno", "--regime", "own.py:Mine", "--data", "darcy.hdf5", "--out", "new"],
        ["scaling", "--operators", "own.py:Mine", "--resolutions", "8", "--out", "new"],
    ],
    "run/config.json": [
        EVALUATE,
        REPORT,
        ["leaderboard", "--add", "run"],
        TIME,
        EXPORT,
        ["check", "fno", "--run", "run"],
    ],
    "run/best.pt": [EVALUATE, REPORT, TIME, EXPORT, ["check", "fno", "--run", "run"], [*TRAIN, "run"]],
    "run/summary.json": [EVALUATE, REPORT, TIME, EXPORT],
    "run/history.csv": [EVALUATE],
    "run/samples.json": [EVALUATE, REPORT],
    "begun/checkpoint.pt": [[*TRAIN[:-2], "2", "--operator-args", "width=4", "--out", "begun"]],
    "begun/config.json": [[*TRAIN[:-2], "2", "--operator-args", "width=4", "--out", "begun"]],
    "RECORD": [REPORT, ["leaderboard", "--add", "run"], EXPORT],
    "EXAMPLES": [REPORT],
    "data.shards/recipe.json": [RESUME],
    "data.shards/000000000.hdf5": [RESUME],
    "times/times.jsonl": [[*TIME[:-1], "times"], ["report", "run", "--out", "times"]],
    "scaling/scaling.json": [["scaling", "--operators", "fno", "--resolutions", "8", "--out", "scaling"]],
    "scaling/scaling.csv": [["scaling", "--operators", "fno", "--resolutions", "8", "--out", "scaling"]],
    "exported/config.json": [["export", "run", "--out", "exported"]],
    "bench/records/RECORD": [["benchmark", "suite.toml", "--out", "bench"], ["report", "bench", "--out", "new"]],
}
"""Files and the commands that read them."""

VALUES = {
    "darcy.hdf5": SPOILED,
    "run/config.json": [
        "config:null",
        'config.operator:"x"',
        "config.operator:1",
        "config.operator_args:[]",
        'config.operator_args:{"width": "x"}',
        "config.operator_args:{}",
        'config.regime:"x"',
        "config.data:null",
        "config.colour:1",
        "data:null",
        "data.channels:null",
        "data.channels:[1]",
        'data.channels:["a", "b"]',
        "data.channels:[2, 1]",
        'data.grid:"x"',
        'data.resolution:"x"',
        "data.digest:null",
        "environment:null",
    ],
    "run/summary.json": ["best_epoch:null", 'best_epoch:"x"', "best_epoch:7", "seconds:null", 'best_validation:"x"'],
    "run/history.csv": ["=epoch\n", "=epoch,loss\n1,2\n", "=\n", "=epoch,loss,lr,validation,seconds\n1,x,1,1,1\n"],
    "run/samples.json": ["=null", "={}", '={"positions": "x"}'],
    "RECORD": [
        "evaluations:[]",
        "evaluations:null",
        "evaluations.0.errors:{}",
        'evaluations.0.errors:{"relative_l2": []}',
        'evaluations.0.errors:{"relative_l2": ["x"]}',
        'evaluations.0.resolution:"x"',
        "dataset:{}",
        "dataset:null",
        "samples:[0]",
        "history:null",
        "model:null",
        'norm:"x"',
        "configuration:null",
        'configuration:{"config": {}}',
    ],
    "data.shards/recipe.json": ["recipe:null", "recipe:{}", "shard_size:0", 'shard_size:"x"', "recipe.seed:7"],
    "times/times.jsonl": ["name:null", 'resolution:"x"', "latency_ms:null", "name:1"],
    "scaling/scaling.json": ["settings:null", "environment:null", "settings.repeats:7"],
    "scaling/scaling.csv": ["=operator\nfno\n", "=\n", "=a,b\n1\n1,2,3\n"],
    "exported/config.json": ["schema:null", 'schema:"x"', "model:null", "data:null"],
    "suite.toml": [
        "=" + text
        for text in (
            'title = "t"',
            "title = 1",
            "[[models]]",
            "SUITE\ncolour = 1",
            "resolutions = []\nSUITE",
            "seeds = []\nSUITE",
            "seeds = [-1]\nSUITE",
            'seeds = ["x"]\nSUITE',
            "tune_epochs = 0\nSUITE",
            "rivals = [8]\nSUITE",
            "coarse_solver = [0]\nSUITE",
            'norm = "x"\nSUITE',
            "label_uncertainty = 3\nSUITE",
            "start = 1.0\nSUITE",
            "SUITE\ntune.lr = []",
            "SUITE\ntune.lr = 1",
            "SUITE\ntune.colour = [1]",
            'SUITE\nlabel = "baselines"',
            "SUITE\n[[models]]\noperator = 1",
            'SUITE\n[[models]]\noperator = "fno"',
        )
    ],
    "own.py": [
        "=" + text
        for text in (
            "raise SystemExit(0)",
            "1/0",
            "Mine = law = 3",
            "class Mine: pass\nlaw = Mine",
            "def Mine(*a, **k): 1/0\nlaw = Mine",
            "def Mine(*a, **k): return None\nlaw = Mine",
            "def Mine(*a, **k): raise KeyError(3)\nlaw = Mine",
            "from pathlib import Path as Mine\nlaw = Mine",
        )
    ],
}
"""Values that a file may not hold; the commands are those of `READERS`."""

SUITE = """title = "t"
resolutions = [9]
[data]
train = "darcy.hdf5"
[training]
resolution = 9
epochs = 1
[[models]]
operator = "fno"
operator_args = {width = 4, depth = 1, modes = 4}
"""

SEEN = {
    "~nan": ("inspect darcy.hdf5 --verify", "train", "benchmark"),
    "~inf": ("inspect darcy.hdf5 --verify", "train", "benchmark"),
    "~": ("inspect darcy.hdf5 --verify",),
    "": ("inspect", "train", "evaluate", "benchmark", "time", "convert"),
}
"""Which readers of a dataset see what is wrong in it: a value that could be one is found by its checksum alone, and
evaluate reads the test samples alone."""

HARMLESS = {
    ("run/history.csv", "missing", "evaluate"),
    ("run/samples.json", "missing", "evaluate"),
    ("run/samples.json", "missing", "report"),
    ("run/config.json", "missing", "report"),
    ("run/config.json", "missing", "leaderboard"),
    ("run/summary.json", "missing", "export"),
    ("run/best.pt", "missing", "generate"),
    ("darcy.hdf5", "missing", "generate"),
    ("begun/checkpoint.pt", "missing", "train"),
    ("RECORD", "missing", "report"),
    ("RECORD", "missing", "export"),
    ("EXAMPLES", "missing", "report"),
    ("data.shards/recipe.json", "missing", "generate"),
    ("data.shards/000000000.hdf5", "missing", "generate"),
    ("times/times.jsonl", "missing", "time"),
    ("times/times.jsonl", "missing", "report"),
    ("times/times.jsonl", "empty", "time"),
    ("times/times.jsonl", "empty", "report"),
    ("scaling/scaling.csv", "missing", "scaling"),
    ("run/config.json", "config.operator", "report"),
    ("run/config.json", "config.operator", "leaderboard"),
    ("run/config.json", "config.regime", "report"),
    ("run/config.json", "config.regime", "leaderboard"),
    ("run/config.json", "config.regime", "check"),
    ("run/config.json", "data.channels:[2", "report"),
    ("run/summary.json", "best_epoch:7", ""),
    ("bench/records/RECORD", "missing", "benchmark"),
    ("bench/records/RECORD", "missing", "report"),
}
"""What a command does well without, does not read, or makes anew: file, beginnings of kind and command line."""

SAID = {
    "run/config.json": ("operator", "configuration"),
    "RECORD": ("no record", "record"),
    "suite.toml": ("record", "seed", "colour", "tune", "rivals", "resolution", "solver"),
    "own.py": ("source", "own.py"),
    "virtual.hdf5.shards/000000000.hdf5": ("shard",),
    "darcy.hdf5": ("sample", "attribute"),
}
"""Other words than its name that tell which file is wrong."""


def file_rows(records: dict[str, str]) -> Iterator[tuple[str, str, Row]]:
    """Every file that is read, damaged in every way, and a command that reads it.

    `records` are the paths of the files whose names depend on what is in them.
    """
    for name, commands in READERS.items():
        path = records.get(name, name)
        values = [value.replace("SUITE", SUITE) for value in VALUES.get(name, [])]
        for kind, words in itertools.product([*KINDS, *values], commands):
            if not harmless(name, kind, " ".join(words)):
                verified = "--verify" in words and (kind in FOUND or ".shards" in name)
                said = (Path(path).name, Path(path).parent.name or path, *SAID.get(name, ()))
                yield path, kind, Row(words, 1 if verified else 2, said)


def harmless(name: str, kind: str, line: str) -> bool:
    """Whether a command does well with such a file, or cannot know better."""
    if name.endswith((".py", ".npy")) or name == "exported/config.json":
        return kind in ("json", "list")
    if name == "darcy.hdf5" and kind in SPOILED:
        return not line.startswith(next(seen for mark, seen in SEEN.items() if mark in kind))
    return any(name == each and kind.startswith(start) and line.startswith(words) for each, start, words in HARMLESS)
