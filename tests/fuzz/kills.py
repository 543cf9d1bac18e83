"""SIGKILL at random times, and the same command again: no test, since it takes minutes.

    python tests/fuzz/kills.py [--kills 20] [--only NAME] [--seed 0]

Each command is run once undisturbed. Then it is killed at times drawn evenly over what that took, every second time
with all its processes, the others alone, and run again in what it left, until it ends by itself; and from the
beginning, until there were as many kills as asked for. Whatever it left in the end must be, bit for bit but for
measured times, what the undisturbed one left: no file more, none less.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from pathlib import Path

from processes import afresh, content, differences, end, start

from data_gen import generate

GENERATE = ["generate", "--samples", "48", "--resolution", "65", "--shard-size", "4", "--out", "new.hdf5"]
TRAIN = ["train", "--data", "darcy.hdf5", "--operator", "fno", "--operator-args", "width=8", "modes=4", "depth=2"]
COMMANDS = {
    "generate": GENERATE,
    "generate, two workers": [*GENERATE, "--workers", "2"],
    "generate, refined labels": [*GENERATE[:2], "12", *GENERATE[3:], "--label-refinement", "2"],
    "train": [*TRAIN, "--epochs", "24", "--batch-size", "4", "--ema", "0.9", "--symmetries", "--out", "new"],
    "train, muon": [
        *TRAIN,
        "--epochs",
        "16",
        "--batch-size",
        "4",
        "--optimizer",
        "muon",
        "--h1",
        "0.1",
        "--out",
        "new",
    ],
    "benchmark": ["benchmark", "suite.toml", "--jobs", "2", "--out", "new"],
}
SUITE = """title = "t"
resolutions = [17, 33]
seeds = [0, 1]
mean_solution = true
[data.generate]
samples = 24
resolution = 33
split = [0.5, 0.25, 0.25]
[training]
resolution = 17
epochs = 4
batch_size = 4
[[models]]
operator = "fno"
operator_args = {width = 4, depth = 1, modes = 4}
tune.lr = [1e-3, 1e-2]
"""
ATTEMPTS = 20
"""Of a command in one folder, after which it is no longer killed."""


def killed(name: str, whole: Path, folder: Path, kills: int, chance: random.Random) -> tuple[int, int, list[str]]:
    """Kill a command until it has been killed so often; returns kills, ends, and what was wrong."""
    words, errors = COMMANDS[name], folder.with_suffix(".stderr")
    began = time.monotonic()
    status = end(start(words, afresh(whole, folder), errors))
    took, undisturbed = time.monotonic() - began, content(folder)
    if status:
        return 0, 0, [f"undisturbed: {errors.read_text()}"]
    done, ends, wrong = 0, 0, []
    while done < kills:
        afresh(whole, folder)
        for attempt in range(ATTEMPTS + 1):
            group = done % 2 == 0
            limit = chance.uniform(0, took) if attempt < ATTEMPTS else None
            status = end(start(words, folder, errors), limit, group)
            if status >= 0:
                break
            done += 1
            time.sleep(0 if group else 1)  # until orphans have seen that they are
        ends += 1
        if status:
            wrong.append(f"status {status}: {errors.read_text()[-300:]}")
        elif found := differences(content(folder), undisturbed):
            wrong.append(f"differ: {', '.join(found)}")
    return done, ends, wrong


def kill() -> int:
    """Kill all commands; prints counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--only", help="a name")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    faults = 0
    with tempfile.TemporaryDirectory() as place:
        whole = Path(place) / "whole"
        whole.mkdir()
        if os.fork() == 0:
            generate(whole / "darcy.hdf5", 24, 33, split=(0.5, 0.25, 0.25))
            (whole / "suite.toml").write_text(SUITE)
            os._exit(0)
        os.wait()
        for name in COMMANDS if asked.only is None else [asked.only]:
            done, ends, wrong = killed(name, whole, Path(place) / "here", asked.kills, random.Random(asked.seed))
            print(f"{name}: {done} kills, {ends} ends, {len(wrong)} wrong", flush=True)
            for line in wrong:
                print(f"    {line}", flush=True)
            faults += len(wrong)
    return faults > 0


if __name__ == "__main__":
    sys.exit(kill())
