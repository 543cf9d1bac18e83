"""How labels of high contrast are accepted on a GPU: by the tolerance, at the floor of float64, or not at all.

    python benchmarks/label_counts.py --out benchmarks/label_counts.json

Coefficients of the laws of `channels85`, `barriers85` and `inclusions85`, of seeds 0, 1, …, are solved for at 1681² by
harmonic means, to 1e-9, in the batches that `generate` takes. What a GPU does not solve goes to the CPU there, and is
counted as "cpu" here. Every law done is in the record.
"""

import argparse
import json
from collections import Counter
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data_gen.grid import Grid
from data_gen.problem import samples_at_once
from data_gen.problems.darcy import Darcy
from pdebench_mano.machine.devices import chosen
from pdebench_mano.machine.provenance import commit

LAWS: dict[str, tuple[str, float]] = {
    "channels85": ("channels", 1e3),
    "barriers85": ("channels", 1e-3),
    "inclusions85": ("inclusions", 1e3),
}
RTOL = 1e-9


def draw(problem: Darcy, grid: Grid, seed: int) -> np.ndarray:
    return problem.draw(grid, np.random.default_rng(seed), seed).astype(np.float32)


def counted(suite: str, samples: int, grid: Grid, device: str, pool: Executor) -> dict[str, Any]:
    """How many labels of a law were accepted by what, and the largest residual among them."""
    law, contrast = LAWS[suite]
    problem = Darcy(law, {"contrast": contrast}, mean="harmonic")
    ways: Counter[str] = Counter()
    worst, at_once = 0.0, 20 * samples_at_once(grid)
    for first in range(0, samples, at_once):
        a = np.stack(list(pool.map(partial(draw, problem, grid), range(first, min(samples, first + at_once)))))
        for found in problem.solve_batch(a, grid, rtol=RTOL, device=device):
            ways[found.accepted_by if found else "cpu"] += 1
            worst = max(worst, found.evidence if found else 0.0)
    return {
        "suite": suite,
        "law": law,
        "contrast": contrast,
        "resolution": grid.shape[0],
        "samples": samples,
        "accepted_by": dict(ways),
        "largest_residual": float(f"{worst:.2g}"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=14, help="processes that draw")
    parser.add_argument("--small", action="store_true", help="three samples at 33², to see that it runs")
    options = parser.parse_args()
    device, (samples, n) = chosen(None), (3, 33) if options.small else (1300, 1681)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    about, rows = {"device": name, "commit": commit(), "rtol": RTOL}, []
    with ProcessPoolExecutor(options.workers, get_context("spawn")) as pool:
        for suite in LAWS:
            rows.append(counted(suite, samples, Grid((n, n)), str(device), pool))
            print(*rows[-1].values(), flush=True)
            options.out.write_text(json.dumps(about | {"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
