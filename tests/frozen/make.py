"""Makes this folder's content, as commit 3eb6e9b did: what later versions read, resume and find again.

    git worktree add /tmp/before 3eb6e9b
    cd FOLDER && cp …/tests/frozen/{make,own_operator}.py . && PYTHONPATH=.:/tmp/before python make.py

It is run by no test: another version writes other bytes, and is to read these.
"""

import gzip
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
import typer

FNO = shlex.split("--operator fno --operator-args width=4 modes=4 depth=1 --resolution 9 --epochs 2 --batch-size 4")
MAIN = "import sys; sys.argv[0] = 'pdebench-mano'; from pdebench_mano.cli import main; main()"
KILLED = """
import os
from data_gen import generate
generate("killed.hdf5", 6, 17, seed=7, shard_size=2, progress=lambda done, total: done == 4 and os.kill(os.getpid(), 9))
"""
STOPPED = """
from pdebench_mano import RunConfig, train
config = RunConfig(operator="own_operator:Mortal", data="darcy.hdf5", resolution=9, epochs=3, batch_size=4, seed=2,
                   checkpoint_seconds=0)
train(config, "runs/{run}", device="cpu")
"""


def command(*words, out=None):
    """Run ``pdebench-mano``; keep what it prints."""
    text = subprocess.run([sys.executable, "-c", MAIN, *words], check=True, stdout=subprocess.PIPE, text=True).stdout
    if out is not None:
        Path(out).write_text(text)
    return text


def data():
    x, y = np.meshgrid(np.linspace(0, 1, 17), np.linspace(0, 1, 17), indexing="ij")
    np.save("source.npy", 1 + x * y)
    command(
        "generate", "--samples", "3", "--resolution", "17", "--seed", "5", "--law", "lognormal", "--out", "plain.hdf5"
    )
    command("generate", "--samples", "3", "--resolution", "17", "--source", "source.npy", "--out", "source.hdf5")
    command("generate", "--samples", "12", "--resolution", "17", "--split", "0.5,0.25,0.25", "--out", "darcy.hdf5")
    subprocess.run([sys.executable, "-c", KILLED], check=False)
    Path("killed.hdf5.shards/.000000004.hdf5.123.tmp").write_bytes(b"half a shard")
    command("generate", "--samples", "6", "--resolution", "17", "--seed", "7", "--out", "whole.hdf5")
    command("inspect", "whole.hdf5", "--json", out="whole.jsonl")
    Path("whole.hdf5").unlink()
    for name in ("plain", "source"):
        command("inspect", f"{name}.hdf5", "--verify", "--richardson", "--json", out=f"{name}.jsonl")


def runs():
    command("train", *FNO, "--data", "darcy.hdf5", "--out", "runs/fno")
    subprocess.run([sys.executable, "-c", STOPPED.format(run="mortal")], check=True)
    Path("fuse").touch()
    subprocess.run([sys.executable, "-c", STOPPED.format(run="stopped")], check=False)
    command("evaluate", "runs/fno", "--data", "darcy.hdf5", "--resolutions", "9,17", "--json", out="evaluate.jsonl")
    command("report", "runs/fno", "--out", "report")
    Path("report/tables/error.csv").rename("error.csv")

    from pdebench_mano import DarcyDataset, load

    test = DarcyDataset("darcy.hdf5", "test")
    a, _ = test.batch(range(len(test)))
    np.savez(
        "predictions.npz", **{run: load(f"runs/{run}", device="cpu").predict(a).numpy() for run in ("fno", "mortal")}
    )


def lists():
    from pdebench_mano import leaderboard
    from pdebench_mano.cli import app

    command("operators", "--json", out="operators.jsonl")
    suites = leaderboard.suites()
    board = "".join(command("leaderboard", "--suite", suite, "--json") for suite in suites)
    Path("leaderboard.jsonl.gz").write_bytes(gzip.compress(board.encode(), mtime=0))
    keys = {suite: sorted(record.key for record in leaderboard.published(suite)) for suite in suites}
    Path("keys.json").write_text(json.dumps(keys, indent=0))
    for name in app.COMMANDS:
        __import__(f"pdebench_mano.cli.{name}")
    group = typer.main.get_command(app.app)
    options = {
        name: {max(p.opts, key=len): p.default for p in each.params if p.name != "help"}
        for name, each in group.commands.items()
    }
    Path("commands.json").write_text(json.dumps(options, indent=1, default=str))


torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"
data()
runs()
lists()
