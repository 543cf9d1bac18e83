"""What a grid of 85² shows of a coefficient: the equation solved, as exactly as can be, from what an operator sees.

    python benchmarks/coarse_inputs.py --out benchmarks/coarse_inputs.json

Test samples of suites in two phases are drawn at 841² and solved for with the mean that suits their law. The same is
solved for again at 841² from the coefficient at 85² alone: with the value of the nearest point, and with that of the
phase on whose side of one half their indicator is, interpolated bilinearly. Both know the equation and nothing of the
law. The discretisation at 85² itself, and operators on the same samples as their records have them, stand beside. All
errors are relative L2 errors at 85²; those of operators are against labels of 1681². Every suite done is in the record.
"""

import argparse
import json
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.ndimage import zoom

from data_gen.grid import Grid
from data_gen.problems.darcy import Darcy
from data_gen.samples import draw
from pdebench_mano.benchmark.leaderboard import published
from pdebench_mano.machine.provenance import commit, cpu

LAWS: dict[str, tuple[str, dict[str, float]]] = {
    "darcy85-refined": ("piecewise", {}),
    "channels85": ("channels", {}),
    "inclusions85": ("inclusions", {}),
    "barriers85": ("channels", {"contrast": 1e-3}),
}
SEED, COARSE, RTOL = 1, 85, 1e-6
"""Of the suites' test samples, and what operators are trained on."""


def refined(a: Float[np.ndarray, "n n"], points: int) -> dict[str, Float[np.ndarray, "points points"]]:
    """A coefficient of two values on a finer grid, guessed from that on a coarse one."""
    low, high = a.min(), a.max()
    nearest = np.rint(np.linspace(0, len(a) - 1, points)).astype(int)
    share = zoom((a > (low + high) / 2).astype(float), points / len(a), order=1)
    return {"nearest": a[np.ix_(nearest, nearest)], "bilinear": np.where(share > 0.5, high, low)}


def errors(law: str, parameters: dict[str, float], points: int, i: int) -> dict[str, float]:
    """Relative L2 errors at 85² of one test sample, by what the equation was solved from."""
    problem = Darcy(law, parameters, mean="auto")

    def seen(field: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "coarse coarse"]:
        step = (len(field) - 1) // (COARSE - 1)
        return field[::step, ::step]

    def solved(a: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "coarse coarse"]:
        return seen(problem.solve(a[None], Grid(a.shape), rtol=RTOL).u[0, 0])

    a = draw(problem, Grid((points, points)), SEED, i)[0]
    u = solved(a)
    guesses = {name: solved(guess) for name, guess in refined(seen(a), points).items()} | {"85²": solved(seen(a))}
    return {name: float(np.linalg.norm(guess - u) / np.linalg.norm(u)) for name, guess in guesses.items()}


def of_operators(suite: str, samples: int) -> dict[str, float]:
    """What published operators of a suite have on the same samples at 85², mean over seeds."""
    found: dict[str, list[float]] = {}
    for record in published(suite):
        for row in record.evaluations:
            if record.configuration and row.kind == "operator" and row.resolution == row.computed_at == COARSE:
                assert list(record.samples[:samples]) == list(range(samples))
                found.setdefault(row.model, []).append(float(np.mean(row.errors["relative_l2"][:samples])))
    return {name: float(np.mean(each)) for name, each in found.items()}


def compared(suite: str, samples: int, points: int, pool: Executor) -> dict[str, Any]:
    """Mean errors of some test samples of a suite."""
    each = list(pool.map(partial(errors, *LAWS[suite], points), range(samples)))
    solved = {name: float(np.mean([some[name] for some in each])) for name in each[0]}
    about = {"suite": suite, "samples": samples, "solved_at": points}
    return about | {"solved_from": rounded(solved), "operators": rounded(of_operators(suite, samples))}


def rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: float(f"{value:.3g}") for name, value in values.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--small", action="store_true", help="two samples solved for at 169², to see that it runs")
    options = parser.parse_args()
    samples, points = (2, 169) if options.small else (32, 841)
    rows = []
    with ProcessPoolExecutor(options.workers, get_context("spawn")) as pool:
        for suite in LAWS:
            rows.append(compared(suite, samples, points, pool))
            print(*rows[-1].values(), flush=True)
            options.out.write_text(json.dumps({"cpu": cpu(), "commit": commit(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
