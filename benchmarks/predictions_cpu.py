"""Time of one prediction at 85² on one CPU core: MANO and FNO at the sizes of darcy85, in float32 and in bfloat16.

    python benchmarks/predictions_cpu.py --out benchmarks/predictions_cpu.json

Weights are random. All take turns, so that what else the machine does slows all; ratios are of medians, to FNO in
float32. Beside them is a product of as many points as MANO handles at a time by a matrix of its MLP's, into memory that
is there: `products_ms` is what all products and transforms of an operator would take at the rate of its fastest turn.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import torch
from torch import nn

from pdebench_mano import build_operator
from pdebench_mano.evaluation.flops import flops
from pdebench_mano.machine.provenance import commit, cpu
from pdebench_mano.mano.in_place import POINTS

SHAPE = (85, 85)
OPERATORS = {
    "fno": {"modes": 24, "width": 64},
    "mano": {"width": 128, "depth": 8, "head_dim": 32, "mlp_width": 256},
}
PRECISIONS = ("float32", "bfloat16")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out", type=Path, required=True)
    arguments.add_argument("--repeats", type=int, default=31)
    options = arguments.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    operators = {name: build_operator(name, 1, 1, **each).eval() for name, each in OPERATORS.items()}
    times = taken(operators, options.repeats)
    product = 2 * POINTS * OPERATORS["mano"]["width"] * OPERATORS["mano"]["mlp_width"]
    rates = {precision: product / min(times["product", precision]) for precision in PRECISIONS}
    beside = statistics.median(times["fno", "float32"])
    results = [
        {
            "operator": name,
            "precision": precision,
            "median_ms": round(statistics.median(times[name, precision]), 1),
            "fastest_ms": round(min(times[name, precision]), 1),
            "ratio": round(statistics.median(times[name, precision]) / beside, 2),
            "products_ms": round(flops(operator, 1, SHAPE) / rates[precision], 1),
        }
        for name, operator in operators.items()
        for precision in PRECISIONS
    ]
    about = {"cpu": cpu(), "torch": torch.__version__, "commit": commit(), "repeats": options.repeats}
    about["products_gflops"] = {precision: round(rate / 1e6, 1) for precision, rate in rates.items()}
    options.out.write_text(json.dumps(about | {"results": results}, indent=1) + "\n")
    for each in results:
        print(*each.values())


def taken(operators: dict[str, nn.Module], repeats: int) -> dict[tuple[str, str], list[float]]:
    """Milliseconds of every operator and of a product, by precision."""
    a, size = torch.rand(1, 1, *SHAPE), OPERATORS["mano"]
    points, matrix = torch.rand(POINTS, size["width"]), torch.rand(size["width"], size["mlp_width"])
    calls: dict[tuple[str, str], Callable[[], object]] = {}
    for precision in PRECISIONS:
        x, w = (each.to(getattr(torch, precision)) for each in (points, matrix))
        calls |= {(name, precision): partial(operator, a) for name, operator in operators.items()}
        calls["product", precision] = partial(torch.mm, x, w, out=x @ w)
    times: dict[tuple[str, str], list[float]] = {key: [] for key in calls}
    for turn in range(repeats + 3):
        for (name, precision), call in calls.items():
            rounded = torch.autocast("cpu", torch.bfloat16) if precision == "bfloat16" else nullcontext()
            start = time.perf_counter()
            with torch.no_grad(), rounded:
                call()
            if turn >= 3:
                times[name, precision].append(1e3 * (time.perf_counter() - start))
    return times


if __name__ == "__main__":
    main()
