"""What a grid of 85² shows of a coefficient: the equation solved, as exactly as can be, from what an operator sees.

    python benchmarks/coarse_inputs.py --out benchmarks/coarse_inputs.json

Test samples of suites in two phases are drawn and solved for at 757², those of the suite that README quotes at 1597²,
with the mean that suits their law. The same is solved for again at 757² from the coefficient at 85² alone: with the
value of the nearest point, and with that of the phase on whose side of one half their indicator is, interpolated
bilinearly. Both know the equation and nothing of the law. Beside them stand what a solver does with the same points:
the discretisation at 85² itself, and that at 253², on a third of the intervals, from the bilinear guess; and operators
on the same samples as their records have them. All errors are relative L2 errors at 85²; those of operators are against
labels of 1681². Every suite done is in the record.

Grids are 3, 9 and 19 times as fine, and no even number of times: there indicators of one half, which are of neither
phase, are many.
"""

import argparse
import json
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from data_gen.grid import Grid
from data_gen.problems.darcy import Darcy
from data_gen.problems.darcy.refined import FACTOR, refine
from data_gen.samples import draw
from pdebench_mano.benchmark.leaderboard import published
from pdebench_mano.machine.provenance import commit, cpu
from pdebench_mano.report.bootstrap import difference

LAWS: dict[str, tuple[str, dict[str, float]]] = {
    "darcy85-refined": ("piecewise", {}),
    "channels85": ("channels", {}),
    "inclusions85": ("inclusions", {}),
    "barriers85": ("channels", {"contrast": 1e-3}),
}
REFERENCES = {"darcy85-refined": (200, 1597)}
"""Test samples, and points a side of the solutions that stand for the truth; (32, 757) of other suites."""
SEED, COARSE, FINEST, RTOL = 1, 85, 757, 1e-6
"""Seed of the suites' test samples; the grid that operators are trained on, and the finest of guesses."""
FINER = FACTOR * (COARSE - 1) + 1
"""The grid that the rival which refines solves on."""


def refined(a: Float[np.ndarray, "n n"], points: int) -> dict[str, Float[np.ndarray, "points points"]]:
    """A coefficient of two values on a finer grid, guessed from that on a coarse one."""
    nearest = np.rint(np.linspace(0, len(a) - 1, points)).astype(int)
    bilinear = refine(torch.from_numpy(a), (points - 1) // (len(a) - 1)).numpy()
    return {"nearest": a[np.ix_(nearest, nearest)], "bilinear": bilinear}


def errors(law: str, parameters: dict[str, float], points: int, i: int) -> dict[str, float]:
    """Relative L2 errors at 85² of one test sample, by what the equation was solved from, or on."""
    problem = Darcy(law, parameters, mean="auto")

    def seen(field: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "coarse coarse"]:
        step = (len(field) - 1) // (COARSE - 1)
        return field[::step, ::step]

    def solved(a: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "coarse coarse"]:
        return seen(problem.solve(a[None], Grid(a.shape), rtol=RTOL).u[0, 0])

    a = draw(problem, Grid((points, points)), SEED, i)[0]
    u = solved(a)
    guesses = refined(seen(a), min(points, FINEST)) | {
        f"{COARSE}²": seen(a),
        f"{FINER}²": refined(seen(a), FINER)["bilinear"],
    }
    return {name: float(np.linalg.norm(solved(guess) - u) / np.linalg.norm(u)) for name, guess in guesses.items()}


def of_operators(suite: str, samples: int) -> dict[str, Float[np.ndarray, "seeds samples"]]:
    """What published operators of a suite have on the same samples at 85²."""
    found: dict[str, list[list[float]]] = {}
    for record in published(suite):
        for row in record.evaluations:
            if record.configuration and row.kind == "operator" and row.resolution == row.computed_at == COARSE:
                assert list(record.samples[:samples]) == list(range(samples))
                found.setdefault(row.model, []).append(row.errors["relative_l2"][:samples])
    return {name: np.array(each) for name, each in found.items()}


def compared(suite: str, samples: int, points: int, pool: Executor) -> dict[str, Any]:
    """Mean errors of some test samples of a suite, and by how much operators exceed the solver that refines."""
    each = list(pool.map(partial(errors, *LAWS[suite], points), range(samples)))
    solved = {name: np.array([[some[name] for some in each]]) for name in each[0]}
    operators = of_operators(suite, samples)
    minus = {name: difference(its, solved[f"{FINER}²"]) for name, its in operators.items()}
    return {
        "suite": suite,
        "samples": samples,
        "reference": points,
        "solved_from": {name: rounded(its.mean()) for name, its in solved.items()},
        "operators": {name: rounded(its.mean()) for name, its in operators.items()},
        f"operators_minus_{FINER}²": {name: [rounded(end) for end in its] for name, its in minus.items()},
    }


def rounded(value: float) -> float:
    return float(f"{value:.3g}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--small", action="store_true", help="two samples solved for at 253², to see that it runs")
    options = parser.parse_args()
    rows = []
    with ProcessPoolExecutor(options.workers, get_context("spawn")) as pool:
        for suite in LAWS:
            samples, points = (2, FINER) if options.small else REFERENCES.get(suite, (32, FINEST))
            rows.append(compared(suite, samples, points, pool))
            print(*rows[-1].values(), flush=True)
            options.out.write_text(
                json.dumps({"cpu": cpu(), "commit": commit(), "rows": rows}, indent=1, ensure_ascii=False) + "\n"
            )


if __name__ == "__main__":
    main()
