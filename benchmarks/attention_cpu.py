"""Time of one multipole attention layer on a CPU, against its published formulation.

    python benchmarks/attention_cpu.py --out benchmarks/attention_cpu.json

One training step (forward and backward, float32) on a 128² grid, 64 channels, 4 heads × 16, batch 1. The two
forms take turns, so that what else the machine does slows both; ratios are of medians.
"""

import argparse
import json
import os
import platform
import statistics
import time
from pathlib import Path

import torch

from pdebench_mano import MultipoleAttention
from pdebench_mano.mano.unfolded import UnfoldedAttention

SETTINGS = {"2/1": (2, 1, 7), "8/4": (8, 4, 5)}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out", type=Path, required=True)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--repeats", type=int, default=15)
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    x, g = torch.randn(1, 128, 128, 64, requires_grad=True), torch.randn(1, 128, 128, 64)
    results = {}
    for name, (window, stride, levels) in SETTINGS.items():
        geometry = (64, 4, 16, window, stride, 2, levels)
        layers = {"fast": MultipoleAttention(*geometry), "published": UnfoldedAttention(*geometry)}
        times: dict[str, list[float]] = {form: [] for form in layers}
        for turn in range(options.repeats + 1):
            for form, layer in layers.items():
                start = time.perf_counter()
                layer(x).backward(g)
                if turn:
                    times[form].append(1e3 * (time.perf_counter() - start))
                layer.zero_grad()
                x.grad = None
        median = {form: statistics.median(values) for form, values in times.items()}
        results[name] = {
            **{f"{form}_ms": round(value, 1) for form, value in median.items()},
            **{f"{form}_fastest_ms": round(min(values), 1) for form, values in times.items()},
            "ratio": round(median["published"] / median["fast"], 2),
        }
        print(name, results[name])
    record = {
        "machine": platform.processor() or platform.machine(),
        "cpus": os.cpu_count(),
        "threads": options.threads,
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "results": results,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
