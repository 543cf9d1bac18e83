"""Would labels be better for Richardson's extrapolation? Error against the equation, of a solution and of two combined.

    python benchmarks/extrapolation.py --samples 5 --out benchmarks/extrapolation.json

Of the solutions on n² and on half as many intervals, u + (u - v) / (2ᵖ - 1) is what u tends to where the error is of
order p in the spacing (Richardson 1911), for a quarter more work than u; half the spacing takes four times the work.
Both are of the mean on faces that suits the law. The equation's solution is that on the fine grid, averaged over
arithmetic and harmonic means, and extrapolated itself where the coefficient is smooth; half the distance of these two
is what it is uncertain by. Errors are means over samples of ‖u - v‖/‖v‖ on the vertices that all grids share.
`extrapolation.json` is what the command left: where the coefficient jumps, no order holds point by point, and little
is gained or nothing; where it is smooth, digits are gained that no operator comes near.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from face_means import LAWS, distance, grids, solver  # beside this file
from rich.console import Console
from rich.table import Table

from data_gen.laws import build_law
from data_gen.problems.darcy.scheme import AVERAGED
from pdebench_mano.machine.provenance import provenance

SMOOTH = ("lognormal",)
ORDERS = (1, 2)
RTOL = 1e-9
"""Far below the errors of what is extrapolated."""


def extrapolated(fine: np.ndarray, coarse: np.ndarray, order: int) -> np.ndarray:
    """What two solutions tend to, of which one has twice the spacing of the other."""
    return fine + (fine - coarse) / (2**order - 1)


def measure(name: str, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Mean errors of a law by resolution, plain and by the assumed order, and what the truth is uncertain by."""
    solved, law = solver(args.device), build_law(*LAWS[name])
    shared = (min(args.resolutions) - 1) // 2
    errors: dict[tuple[int, int | None], list[float]] = {}
    uncertainty = []
    for i in range(args.samples):
        a = np.asarray(law((args.fine, args.fine), np.random.default_rng(i)))

        def on(n: int, mean: Any, a: np.ndarray = a) -> np.ndarray:
            stride = (args.fine - 1) // (n - 1)
            u = solved(np.ascontiguousarray(a[::stride, ::stride]), mean, RTOL)
            return u[:: (n - 1) // shared, :: (n - 1) // shared]

        half = (args.fine + 1) // 2
        limits = [
            extrapolated(on(args.fine, mean), on(half, mean), 2) if name in SMOOTH else on(args.fine, mean)
            for mean in AVERAGED
        ]
        truth = (limits[0] + limits[1]) / 2
        uncertainty.append(distance(limits[0], limits[1]) / 2)
        for n in args.resolutions:
            u, v = on(n, law.face_mean), on((n + 1) // 2, law.face_mean)
            errors.setdefault((n, None), []).append(distance(u, truth))
            for order in ORDERS:
                errors.setdefault((n, order), []).append(distance(extrapolated(u, v, order), truth))
    return [
        {"law": name, "mean": law.face_mean, "resolution": n, "order": order, "error": float(f"{np.mean(values):.3g}")}
        | {"uncertainty": float(f"{np.mean(uncertainty):.3g}"), "samples": args.samples}
        for (n, order), values in errors.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=5)
    parser.add_argument("--resolutions", type=grids, default="211,421")
    parser.add_argument("--fine", type=int, default=841)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    least = (min(args.resolutions) - 1) // 2
    if unfit := [n for n in (*args.resolutions, args.fine) if (args.fine - 1) % (n - 1) or (n - 1) % (2 * least)]:
        parser.error(f"intervals must be even, divide {args.fine - 1} and be multiples of the least, got {unfit}")
    rows = [row for name in LAWS for row in measure(name, args)]
    table = Table("law", "uncertain by", "grid", "plain", *(f"of order {order}" for order in ORDERS))
    for name in LAWS:
        for n in args.resolutions:
            found = {row["order"]: row for row in rows if (row["law"], row["resolution"]) == (name, n)}
            values = [f"{found[order]['error']:.2e}" for order in (None, *ORDERS)]
            table.add_row(name, f"{found[None]['uncertainty']:.1e}", f"{n}²", *values)
    Console().print(table)
    if args.out:
        made = {"fine": args.fine, "rtol": RTOL, "device": args.device, "environment": provenance(), "rows": rows}
        args.out.write_text(json.dumps(made) + "\n")


if __name__ == "__main__":
    main()
