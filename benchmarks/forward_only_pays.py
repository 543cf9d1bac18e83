"""Time and peak activation memory of one training step of an orthogonal FNO against depth, regime by regime.

    python benchmarks/forward_only_pays.py [--fields 85x8 421x1] [--depths 10 50 200] [--device cpu] [--out ROWS.jsonl]

The operator has 32 channels and 12 modes; 85x8 are eight fields of 85². Memory is measured as by
`benchmarks/activation_memory.py`: weights, gradients and the batch are not counted. Two steps are not timed, then five
are, fewer where they take more than three seconds together; a GPU is given one kernel after another, and on a CPU time
is that of the process, whatever else runs. A row of a step that a GPU's memory does not hold says so. Every row is
printed, and written to `--out`, when it is known, and tables of all of them at the end.
"""

import argparse
import itertools
import json
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from activation_memory import REGIMES, measure  # beside this file

from data_gen.storage import write_text
from pdebench_mano.machine.provenance import commit, cpu
from pdebench_mano.orthogonal import OrthogonalFNO

OPERATOR = {"width": 32, "modes": 12}
TRANSPORTED = "transported-foton", "transported-foton, slopes by block"
NAMES = ["backprop", "checkpointing", "foton-latent", *TRANSPORTED, "pepita"]
TIMING: dict[str, Any] = {"repeats": 5, "warmup": 1, "most": 3.0}


def fields(text: str) -> tuple[int, int]:
    """Points a side, and how many fields: "85x8"."""
    points, batch = map(int, text.split("x"))
    return points, batch


def row(name: str, operator: OrthogonalFNO, small: OrthogonalFNO, points: int, batch: int) -> dict[str, Any]:
    device = next(operator.parameters()).device
    torch.manual_seed(0)
    a, u = torch.randn(2, batch, 1, points, points, device=device)
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    about = {"device": torch.cuda.get_device_name() if device.type == "cuda" else cpu(), "torch": torch.__version__}
    about |= {"python": platform.python_version(), "threads": torch.get_num_threads(), "commit": commit()}
    said = {"regime": name, "depth": len(operator.blocks), "points": points, "batch": batch} | OPERATOR | about
    try:
        return said | measure(name, operator, small, a, u, **TIMING, clock=clock)
    except torch.OutOfMemoryError:
        return said | {"out_of_memory": True}


def cell(found: dict[str, Any]) -> str:
    if "out_of_memory" in found:
        return "out of memory"
    return f"{found['bytes'] / 2**20:.1f}, {1e3 * found['seconds']:.0f}"


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown: a line a regime and a column a depth, MiB and ms, of rows of the same fields."""
    depths = list(dict.fromkeys(each["depth"] for each in rows))
    cells = {(each["regime"], each["depth"]): cell(each) for each in rows}
    lines = [["depth", *map(str, depths)], ["---"] * (1 + len(depths))]
    lines += [[name, *(cells[name, depth] for depth in depths)] for name in dict.fromkeys(name for name, _ in cells)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--regimes", nargs="+", choices=REGIMES, default=NAMES, metavar="NAME")
    parser.add_argument("--fields", type=fields, nargs="+", default=[(85, 8), (421, 1)], metavar="POINTSxBATCH")
    parser.add_argument("--depths", type=int, nargs="+", default=[10, 50, 200])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, metavar="ROWS.jsonl")
    options = parser.parse_args()
    torch.set_flush_denormal(True)  # 200 untrained layers let their states fade to what takes a CPU many times as long
    small = OrthogonalFNO(**OPERATOR, depth=1).to(options.device)
    rows: list[dict[str, Any]] = []
    for depth in options.depths:
        operator = OrthogonalFNO(**OPERATOR, depth=depth).to(options.device)
        for shape, name in itertools.product(options.fields, options.regimes):
            rows.append(row(name, operator, small, *shape))
            print(json.dumps(rows[-1]), flush=True)
            if options.out:
                write_text(options.out, "".join(f"{json.dumps(each)}\n" for each in rows))
    for points, batch in options.fields:
        print(f"\n{batch} × {points}², MiB and ms\n")
        print(table([each for each in rows if (each["points"], each["batch"]) == (points, batch)]))


if __name__ == "__main__":
    main()
