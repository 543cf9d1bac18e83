"""Error of the five-point scheme against the equation, by the mean of the coefficient on a face.

    python benchmarks/face_means.py --samples 32 --device cuda --out benchmarks/face_means.json

The equation's solution is that on the fine grid, averaged over arithmetic and harmonic means; half the distance of
these two is what it is uncertain by. All grids see the same coefficient, strided. Errors are means over samples of
‖u - v‖/‖v‖ on the vertices of the coarser grid. `face_means.json` is what the command left.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from data_gen.laws import build_law
from data_gen.problems.darcy.scheme import AVERAGED, MEANS, Mean
from data_gen.problems.darcy.solvers import solve
from pdebench_mano.machine.provenance import provenance

LAWS: dict[str, tuple[str, dict[str, Any]]] = {
    "piecewise": ("piecewise", {}),
    "channels": ("channels", {"contrast": 1e3}),
    "inclusions": ("inclusions", {"contrast": 1e3}),
    "barriers": ("channels", {"contrast": 1e-3}),
    "lognormal": ("lognormal", {"sigma": 2.0}),
}
FINE_RTOL = 1e-6
"""Of the fine solutions: far below their uncertainty, and within reach of any contrast."""


def solver(device: str) -> Callable[[np.ndarray, Mean, float], np.ndarray]:
    """Solve for one coefficient on a device, to a tolerance."""
    if device == "cpu":
        return lambda a, mean, rtol: solve(a, mean=mean, rtol=rtol)
    from data_gen.problems.darcy.gpu import solve_batch

    return lambda a, mean, rtol: solve_batch(a[None], mean=mean, rtol=rtol, device=device).u[0].cpu().numpy()


def distance(u: np.ndarray, v: np.ndarray) -> float:
    return float(np.linalg.norm(u - v) / np.linalg.norm(v))


def measure(name: str, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Mean errors of a law by mean and resolution, and what the truth is uncertain by."""
    solved = solver(args.device)
    law = build_law(*LAWS[name])
    errors: dict[tuple[Mean, int], list[float]] = {(mean, n): [] for mean in MEANS for n in args.resolutions}
    uncertainty = []
    for i in range(args.samples):
        a = np.asarray(law((args.fine, args.fine), np.random.default_rng(i)))
        one, two = (solved(a, mean, FINE_RTOL) for mean in AVERAGED)
        truth = (one + two) / 2
        uncertainty.append(distance(one, two) / 2)
        for n in args.resolutions:
            stride = (args.fine - 1) // (n - 1)
            coarse = np.ascontiguousarray(a[::stride, ::stride])
            for mean in MEANS:
                errors[mean, n].append(distance(solved(coarse, mean, FINE_RTOL), truth[::stride, ::stride]))
    return [
        {"law": name, "mean": mean, "resolution": n, "error": float(f"{np.mean(values):.3g}")}
        | {"uncertainty": float(f"{np.mean(uncertainty):.3g}"), "samples": args.samples}
        for (mean, n), values in errors.items()
    ]


def grids(text: str) -> list[int]:
    return [int(n) for n in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--resolutions", type=grids, default="43,85,141,211,421")
    parser.add_argument("--fine", type=int, default=1681)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if unfit := [n for n in args.resolutions if (args.fine - 1) % (n - 1)]:
        parser.error(f"resolutions must divide {args.fine - 1} when one is taken off, got {unfit}")
    rows = [row for name in LAWS for row in measure(name, args)]
    table = Table("law", "uncertain by", "mean", *(f"{n}²" for n in args.resolutions))
    for name in LAWS:
        for mean in MEANS:
            found = {row["resolution"]: row for row in rows if (row["law"], row["mean"]) == (name, mean)}
            values = [f"{found[n]['error']:.4f}" for n in args.resolutions]
            table.add_row(name, f"{found[args.resolutions[0]]['uncertainty']:.4f}", mean, *values)
    Console().print(table)
    if args.out:
        made = {"fine": args.fine, "rtol": FINE_RTOL, "device": args.device, "environment": provenance(), "rows": rows}
        args.out.write_text(json.dumps(made) + "\n")


if __name__ == "__main__":
    main()
