"""Bad input to every command, and what becomes of it: no test, since it takes minutes.

    python tests/fuzz/fuzz.py [--only COMMAND] [--every N] [--first ROW]

A row is a command line, the exit status that it shall have, and words of which its message shall have one: every
option of every command with values that are none, and every file that the product reads missing, empty, cut in half,
overwritten with noise, of another kind, or with values that no writer of ours writes. Each runs in a process of its
own, forked from one that has imported everything, in a copy of a folder that has one of everything. What is counted is

- traceback: Python's own words reached the user;
- status: another exit status than expected;
- silent: exit status 0 where 2 was expected;
- wordless: a message that names neither option, value nor file;
- lines: a message of more than one line;
- slow: no answer within `SECONDS`.
"""

import argparse
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

import h5py
import numpy as np
import torch
from damage import damaged
from table import SUITE, Row, file_rows, option_rows

from data_gen import convert, generate
from pdebench_mano import RunConfig, parse_config, train
from pdebench_mano.benchmark.costs import Settings
from pdebench_mano.benchmark.run import run_suite
from pdebench_mano.benchmark.scaling import scaling
from pdebench_mano.benchmark.suite import read_suite
from pdebench_mano.cli import main
from pdebench_mano.evaluation.assess import assess
from pdebench_mano.evaluation.records import find_records
from pdebench_mano.evaluation.timing.rows import About, Timing, write_times
from pdebench_mano.report.export import export

SECONDS = 60


def place() -> dict[str, str]:
    """A folder with one of everything; returns where the files lie whose names depend on what is in them."""
    generate("darcy.hdf5", 12, 17, split=(0.5, 0.25, 0.25))
    generate("waves.hdf5", 2, 33, problem="helmholtz")
    generate("virtual.hdf5", 4, 9, shard_size=2, merge=False)
    generate("data", 4, 9, shard_size=2, merge=False)
    Path("data").unlink()
    with h5py.File("darcy.hdf5") as file:
        fields = {"x": torch.from_numpy(file["nu"][:]), "y": torch.from_numpy(file["tensor"][:, 0])}
        np.save("stored.npy", file["nu"][:, ::2, ::2])
    torch.save(fields, "pairs.pt")
    convert("darcy.hdf5", "pairs.mat")
    np.savez("arrays.npz", a=fields["x"].numpy(), u=fields["y"].numpy())
    for to, name in (("pdebench", "pdebench.hdf5"), ("the_well", "well.hdf5"), ("netcdf", "fields.nc")):
        convert("darcy.hdf5", name, to=to)
    config = RunConfig(
        operator="fno",
        operator_args={"width": 4, "depth": 1, "modes": 4},
        data="darcy.hdf5",
        resolution=9,
        epochs=1,
        batch_size=4,
    )
    train(config, "run", device="cpu")
    record = assess("run", "darcy.hdf5", [9, 17])
    train(parse_config({"operator": "fno", "operator_args": {"width": 4}, "data": "darcy.hdf5", "epochs": 2}), "begun")
    for name in ("summary.json", "history.csv"):
        (Path("begun") / name).unlink()
    settings = Settings(repeats=5)
    list(scaling(["fno"], [8], settings, Path("scaling")))
    about = About("fno", "operator", "darcy", 9, "a CPU, one core", "float32", "eager", "a", "d", 1)
    write_times([Timing(**about._asdict(), rtol=None, batch=1, latency_ms=1.0, throughput_ms=1.0, spread=0.0, repeats=5,
                        busy=False, commit="c")], Path("times"))  # fmt: skip
    export("run", "exported")
    Path("text").write_text("text")
    Path("circle").symlink_to("circle")
    Path("own.py").write_text("import torch\nclass Mine(torch.nn.Conv2d):\n    pass\n")
    Path("suite.toml").write_text(SUITE)
    run_suite(read_suite("suite.toml"), "bench")
    (other,) = (path for path in find_records(Path("bench")) if path.name.startswith("fno"))
    names = {"RECORD": record, "EXAMPLES": record.with_suffix(".npz"), "bench/records/RECORD": other}
    return {name: str(path) for name, path in names.items()}


def run(row: Row, whole: Path, path: str = "", kind: str = "") -> tuple[int | None, str]:
    """Exit status, None where there is no answer, and what was printed; in a copy of the folder."""
    with tempfile.TemporaryDirectory() as here:
        shutil.copytree(whole, here, symlinks=True, dirs_exist_ok=True)
        if kind:
            damaged(Path(here) / path, kind)
        errors, output = Path(here) / ".stderr", Path(here) / ".stdout"
        child = os.fork()
        if child == 0:
            os.chdir(here)
            descriptor = os.open(errors, os.O_WRONLY | os.O_CREAT)
            os.dup2(descriptor, 2)
            os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT), 1)
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
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        began = time.monotonic()
        while (ended := os.waitpid(child, os.WNOHANG))[0] == 0:
            if time.monotonic() - began > SECONDS:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return None, ""
            time.sleep(0.01)
        said = [path.read_text(errors="replace") for path in (output, errors) if path.exists()]
        return os.waitstatus_to_exitcode(ended[1]), "\n".join(said)


def faults(row: Row, status: int | None, text: str) -> Iterator[str]:
    """What is wrong with an answer."""
    if status is None:
        yield "slow"
        return
    if "Traceback" in text:
        yield "traceback"
    if status == 0 and row.status:
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
    parser.add_argument("--first", type=int, default=0, help="number of the first row to run")
    asked = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        if os.fork() == 0:  # threads that a child inherits, but not those who work in them, are waited for in vain
            Path("place").write_text(json.dumps(place()))
            os._exit(0)
        os.wait()
        records = json.loads(Path("place").read_text())
        rows = [("", "", row) for row in option_rows()] + list(file_rows(records))
        rows = [each for each in rows if asked.only in (None, each[2].words[0])][asked.first :: asked.every]
        for path, kind, row in rows:
            status, text = run(row, Path(folder), path, kind)
            found = list(faults(row, status, text))
            counts.update(["rows", *found])
            if found:
                last = (text.strip().splitlines() or [""])[-1]
                line = {"faults": found, "words": row.words, "file": path, "kind": kind, "said": last[:300]}
                print(json.dumps(line), flush=True)
    print(dict(counts))
    return sum(counts.values()) - counts["rows"] > 0


if __name__ == "__main__":
    sys.exit(fuzz())
