"""Two processes that write to one place at the same time: no test, since it takes minutes.

    python tests/fuzz/writers.py [--tries 20] [--only NAME] [--seed 0]

Each command is begun twice, in the same folder, a random moment apart. One shall win, and the other say in one line
that the place is in use; or come so late that it finds all done. What they leave must be what one alone leaves.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from processes import afresh, content, differences, end, start

from data_gen import convert, generate
from pdebench_mano import RunConfig, train
from pdebench_mano.benchmark.run import run_suite
from pdebench_mano.benchmark.suite import read_suite
from pdebench_mano.evaluation.assess import assess

FNO = ["--operator", "fno", "--operator-args", "width=4", "modes=4", "depth=2", "--data", "darcy.hdf5"]
TIME = ["time", "run", "--data", "darcy.hdf5", "--resolutions", "9", "--repeats", "1"]
COMMANDS = {
    "generate": ["generate", "--samples", "24", "--resolution", "33", "--shard-size", "4", "--out", "new.hdf5"],
    "train": ["train", *FNO, "--epochs", "24", "--batch-size", "4", "--out", "new"],
    "convert": ["convert", "darcy.hdf5", "new.pt"],
    "convert back": ["convert", "pairs.pt", "new.hdf5"],
    "evaluate": ["evaluate", "fresh", "--data", "darcy.hdf5", "--resolutions", "9,17"],
    "report": ["report", "run", "--out", "new"],
    "export": ["export", "run", "--out", "new"],
    "benchmark": ["benchmark", "suite.toml", "--out", "new"],
    "benchmark --jobs 2": ["benchmark", "suite.toml", "--out", "new", "--jobs", "2"],
    "scaling": ["scaling", "--operators", "fno,unet", "--resolutions", "16,32", "--repeats", "1", "--out", "new"],
    "time": [*TIME, "--out", "new"],
    "benchmark --time": ["benchmark", "suite.toml", "--out", "bench", "--time"],
}
MEASURING = ("scaling", "time", "benchmark --time")
"""Commands whose results are measured: of these only the names of the files are compared."""

SUITE = """title = "t"
resolutions = [9, 17]
[data]
train = "darcy.hdf5"
[training]
resolution = 9
epochs = 6
batch_size = 4
[[models]]
operator = "fno"
operator_args = {width = 4, depth = 1, modes = 4}
"""


def place() -> None:
    """Make what the commands read, in the current folder."""
    generate("darcy.hdf5", 24, 17, split=(0.5, 0.25, 0.25))
    convert("darcy.hdf5", "pairs.pt")
    arguments = {"width": 4, "modes": 4, "depth": 2}
    for run in ("run", "fresh"):
        train(RunConfig(operator="fno", operator_args=arguments, data="darcy.hdf5", resolution=9, epochs=2), run)
    assess("run", "darcy.hdf5", [9, 17])
    Path("suite.toml").write_text(SUITE)
    run_suite(read_suite("suite.toml"), "bench")


def outcome(statuses: list[int], errors: list[str]) -> str:
    """What became of two writers, in a word."""
    said = [text.strip().splitlines()[-1:] for status, text in zip(statuses, errors, strict=True) if status]
    if any("Traceback" in text for text in errors):
        return "traceback"
    if statuses == [0, 0]:
        return "both ended well"
    if sorted(statuses) == [0, 2] and said[0] and "in use by another process" in said[0][0]:
        return "one said so"
    if sorted(statuses) == [0, 2] and said[0] and "left as it is" in said[0][0]:
        return "one came late, and said so"
    return "both refused" if statuses == [2, 2] else "otherwise"


def write() -> int:
    """Let two write to one place, with every command; prints counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tries", type=int, default=20)
    parser.add_argument("--only", help="a name")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    chance, faults = random.Random(asked.seed), 0
    with tempfile.TemporaryDirectory() as folder:
        whole, here = Path(folder) / "whole", Path(folder) / "here"
        whole.mkdir()
        if os.fork() == 0:
            os.chdir(whole)
            place()
            os._exit(0)
        os.wait()
        logs = [Path(folder) / f"{number}.stderr" for number in (1, 2)]
        for name in COMMANDS if asked.only is None else [asked.only]:
            words, counts = COMMANDS[name], Counter[str]()
            began = time.monotonic()
            end(start(words, afresh(whole, here), logs[0]))
            took, alone = time.monotonic() - began, content(here)
            for _ in range(asked.tries):
                first = start(words, afresh(whole, here), logs[0])
                time.sleep(chance.uniform(0, took / 2) ** 2 / took)
                second = start(words, here, logs[1])
                statuses, errors = [end(first), end(second)], [log.read_text() for log in logs]
                counts[result := outcome(statuses, errors)] += 1
                left = content(here)
                wrong = sorted(left.keys() ^ alone.keys()) if name in MEASURING else differences(left, alone)
                if wrong or result in ("traceback", "both refused", "otherwise"):
                    counts["wrong"] += 1
                    print(f"    {name}: {result}, {statuses}, {wrong}, {[text[-300:] for text in errors]}", flush=True)
            print(f"{name}: {dict(counts)}", flush=True)
            faults += counts["wrong"]
    return faults > 0


if __name__ == "__main__":
    sys.exit(write())
