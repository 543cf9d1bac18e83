"""Training throughput of one process and of several, with the same batches, by the training command itself.

    python benchmarks/data_parallel.py --processes 2 [--resolution 421] [--out FILE]

Generates some samples, then trains for a few epochs under ``torchrun`` with 1 and with N processes, each on its GPU
(or on the CPU where there is none), and prints one JSON object: samples per second without the first epoch, which
compiles, and their ratio.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from data_gen import generate
from pdebench_mano.training.runs import environment


def samples_per_second(processes: int, data: Path, out: Path, options: list[str]) -> float:
    """Of all epochs but the first."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [*launcher, "-m", "pdebench_mano", "train", "--data", str(data), "--out", str(out), *options]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    with (out / "history.csv").open() as file:
        seconds = [float(row["seconds"]) for row in csv.DictReader(file)]
    return (len(seconds) - 1) / (seconds[-1] - seconds[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--resolution", type=int, default=421)
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--operator", default="mano")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    options = ["--operator", given.operator, "--epochs", str(given.epochs), "--batch-size", str(given.batch_size)]
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "darcy.hdf5"
        generate(data, 2 * given.samples, given.resolution, split=(0.5, 0.25, 0.25), workers=given.workers)
        speeds = {
            count: given.samples * samples_per_second(count, data, Path(folder) / f"run{count}", options)
            for count in (1, given.processes)
        }
    record = {
        **{name: value for name, value in vars(given).items() if name not in ("out", "workers")},
        "samples_per_second": {str(count): round(speed, 2) for count, speed in speeds.items()},
        "ratio": round(speeds[given.processes] / speeds[1], 3),
        "environment": environment(),
    }
    text = json.dumps(record)
    print(text)
    if given.out:
        given.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
