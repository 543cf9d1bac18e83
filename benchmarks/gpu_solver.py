"""Throughput of the batched GPU solver, checked against the CPU's.

    python benchmarks/gpu_solver.py [--device cuda] [--resolutions 129,421,841] [--law piecewise]

One JSON object a line: samples per second of `data_gen.problems.darcy.gpu.solve_batch`, coefficients in host
memory and compilation left out, the largest residual, and the distance to `data_gen.solve` for the first samples.
"""

import argparse
import json
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from data_gen import solve
from data_gen.laws import LAWS
from data_gen.problems.darcy.gpu import solve_batch

POINTS = 2**24


def measure(law: str, n: int, batch: int, device: str, repeats: int) -> dict:
    """One line of the table."""
    draw = LAWS[law]()
    with ThreadPoolExecutor() as pool:
        drawn = list(pool.map(lambda i: draw((n, n), np.random.default_rng(i)), range(min(batch, 64))))
    a = np.stack([drawn[i % len(drawn)] for i in range(batch)]).astype(np.float32)
    solution = solve_batch(a, device=device)
    reference = np.stack([solve(x) for x in a[:4]])
    distance = np.linalg.norm(solution.u[:4].cpu().numpy() - reference) / np.linalg.norm(reference)
    seconds = []
    for _ in range(repeats):
        synchronize(device)
        start = time.perf_counter()
        solution = solve_batch(a, device=device)
        synchronize(device)
        seconds.append(time.perf_counter() - start)
    return {
        "law": law,
        "resolution": n,
        "batch": batch,
        "samples_per_second": round(batch / min(seconds), 1),
        "iterations": solution.iterations,
        "max_residual": float(solution.residual.max()),
        "distance_to_cpu": float(distance),
        "device": torch.cuda.get_device_name() if torch.device(device).type == "cuda" else device,
    }


def synchronize(device: str) -> None:
    """Wait for the device."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--law", default="piecewise", choices=LAWS)
    parser.add_argument("--resolutions", default="129,421,841")
    parser.add_argument("--points", type=int, default=POINTS, help="grid points in a batch")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    for n in map(int, arguments.resolutions.split(",")):
        batch = max(1, arguments.points // n**2)
        print(json.dumps(measure(arguments.law, n, batch, arguments.device, arguments.repeats)), flush=True)
