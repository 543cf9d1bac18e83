"""Time of one prediction at 85² on one CPU core: MANO and FNO at the sizes of darcy85, in float32 and in bfloat16.

    python benchmarks/predictions_cpu.py --out benchmarks/predictions_cpu.json

Weights are random. The four take turns, so that what else the machine does slows all; ratios are of medians, to FNO in
float32.
"""

import argparse
import json
import statistics
import time
from contextlib import nullcontext
from pathlib import Path

import torch

from pdebench_mano import build_operator
from pdebench_mano.machine.provenance import commit, cpu

OPERATORS = {
    "fno": {"modes": 24, "width": 64},
    "mano": {"width": 128, "depth": 8, "head_dim": 32, "mlp_width": 256},
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out", type=Path, required=True)
    arguments.add_argument("--repeats", type=int, default=31)
    options = arguments.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    a = torch.rand(1, 1, 85, 85)
    operators = {name: build_operator(name, 1, 1, **each).eval() for name, each in OPERATORS.items()}
    times: dict[tuple[str, str], list[float]] = {}
    for turn in range(options.repeats + 3):
        for name, operator in operators.items():
            for precision in ("float32", "bfloat16"):
                rounded = torch.autocast("cpu", torch.bfloat16) if precision == "bfloat16" else nullcontext()
                start = time.perf_counter()
                with torch.no_grad(), rounded:
                    operator(a)
                if turn >= 3:
                    times.setdefault((name, precision), []).append(1e3 * (time.perf_counter() - start))
    beside = statistics.median(times["fno", "float32"])
    results = [
        {
            "operator": name,
            "precision": precision,
            "median_ms": round(statistics.median(each), 1),
            "fastest_ms": round(min(each), 1),
            "ratio": round(statistics.median(each) / beside, 2),
        }
        for (name, precision), each in times.items()
    ]
    about = {"cpu": cpu(), "torch": torch.__version__, "commit": commit(), "repeats": options.repeats}
    options.out.write_text(json.dumps(about | {"results": results}, indent=1) + "\n")
    for each in results:
        print(*each.values())


if __name__ == "__main__":
    main()
