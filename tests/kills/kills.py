"""Generations that are killed again and again, and their content: no test, since it takes minutes.

    python tests/kills/kills.py [--kills 20] [--only PROBLEM] [--seed 0]

Each problem is generated once undisturbed. Then the same command is killed after a random time, the whole group of
processes or the parent alone in turn, and begun again, until it has been killed so many times; what is done by then is
removed, and generation begins anew. Every file that comes of it must have the bytes of the undisturbed one, and at the
end nothing else may lie in its folder but its card.

One line a problem: kills, files that were finished, kills that left shards behind, and how many bytes differ.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COMMANDS = {
    "helmholtz": "--problem helmholtz --problem-args omega=20 law=piecewise --resolution 65 --samples 40",
    "navier-stokes": "--problem navier-stokes --problem-args viscosity=1e-3 times=[0.5,1] --resolution 32 --samples 24",
    "transient-darcy": "--problem transient-darcy --label-refinement 2 --resolution 41 --samples 24",
}
SHARDS = "--workers 2 --shard-size 2"


def started(words: list[str], out: Path) -> "subprocess.Popen[bytes]":
    """The command, in a group of processes of its own."""
    command = [sys.executable, "-m", "pdebench_mano", "generate", *words, "--out", str(out)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)


def finished(process: "subprocess.Popen[bytes]") -> None:
    """Wait for the end of a generation that is not killed.

    Raises
    ------
    RuntimeError
        With its message, if it fails.
    """
    _, error = process.communicate()
    if process.returncode:
        raise RuntimeError(error.decode())


def killed(words: list[str], out: Path, seconds: float, alone: bool) -> bool:
    """Begin, and kill after some seconds; whether it was still at work.

    Raises
    ------
    RuntimeError
        If it failed by itself.
    """
    process = started(words, out)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        if alone:
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return True
    finished(process)
    return False


def disturbed(words: list[str], folder: Path, kills: int, seed: int) -> dict[str, int]:
    """What came of so many kills, beside one generation without."""
    rng, whole, out = random.Random(seed), folder / "whole.hdf5", folder / "killed.hdf5"
    shards = folder / "killed.hdf5.shards"
    began = time.perf_counter()
    finished(started(words, whole))
    seconds = time.perf_counter() - began
    truth = whole.read_bytes()
    counts = {"kills": 0, "files": 0, "with_shards": 0, "different": 0}

    def compare() -> None:
        counts["files"] += 1
        counts["different"] += out.read_bytes() != truth
        out.unlink()

    while counts["kills"] < kills:
        if killed(words, out, rng.uniform(0.3, 1.0) * seconds, alone=bool(counts["kills"] % 2)):
            counts["kills"] += 1
            counts["with_shards"] += any(shards.glob("[!.]*.hdf5"))
            time.sleep(0.5)  # workers of a parent that was killed alone end by themselves
        else:
            compare()
    finished(started(words, out))
    compare()
    left = {path.name for path in folder.iterdir()} - {"whole.hdf5", "whole.hdf5.md", "killed.hdf5.md"}
    return counts | {"left_behind": len(left)}


def main() -> int:
    """Kill, compare, and say what came of it; status 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--only", choices=COMMANDS)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    wrong = 0
    for problem in [asked.only] if asked.only else COMMANDS:
        with tempfile.TemporaryDirectory() as folder:
            counts = disturbed([*COMMANDS[problem].split(), *SHARDS.split()], Path(folder), asked.kills, asked.seed)
        print(json.dumps({"problem": problem, **counts}), flush=True)
        wrong += counts["different"] + counts["left_behind"]
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
