"""Time per sample of our solver against SciPy's and PyAMG's, on the same samples, on one core.

    python benchmarks/solvers.py [--resolutions 85,241,421,841] [--law piecewise] [--json]

All solve the same systems to a relative residual of 1e-10 or below. The others are given the assembled
matrix; ours begins at the coefficient. The samples are solved in turn by each, and the
fastest run of each sample counts, so that other load on the machine falls on all alike.
"""

import argparse
import json
import time
from collections.abc import Callable

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spla
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from data_gen.laws import LAWS
from data_gen.problems.darcy.scheme import matrix, relative_residual
from data_gen.problems.darcy.solvers import solve

RTOL = 1e-10
REFERENCE = "spsolve"


def spsolve(a: np.ndarray, A: sp.csc_array, b: np.ndarray) -> np.ndarray:
    return spla.spsolve(A, b)


def superlu_symmetric(a: np.ndarray, A: sp.csc_array, b: np.ndarray) -> np.ndarray:
    options = {"SymmetricMode": True}
    return spla.splu(A, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options).solve(b)


def pyamg_cg(a: np.ndarray, A: sp.csc_array, b: np.ndarray) -> np.ndarray:
    import pyamg

    return pyamg.ruge_stuben_solver(sp.csr_matrix(A)).solve(b, tol=RTOL, accel="cg")


def ours(a: np.ndarray, A: sp.csc_array, b: np.ndarray) -> np.ndarray:
    return solve(a, method="cg", rtol=RTOL)[1:-1, 1:-1].ravel()


SOLVERS: dict[str, Callable[[np.ndarray, sp.csc_array, np.ndarray], np.ndarray]] = {
    "spsolve": spsolve,
    "SuperLU, symmetric": superlu_symmetric,
    "PyAMG-CG": pyamg_cg,
    "ours (cg)": ours,
}


def measure(law: str, n: int, samples: int, repeats: int) -> list[dict]:
    """Seconds per sample and worst residual of each solver."""
    seconds = {name: np.full(samples, np.inf) for name in SOLVERS}
    residual = dict.fromkeys(SOLVERS, 0.0)
    for i in range(samples):
        a = LAWS[law]()((n, n), np.random.default_rng(i)).astype(np.float32).astype(np.float64)
        A, b = matrix(a).tocsc(), np.ones((n - 2) ** 2)
        for _ in range(repeats):
            for name, solver in SOLVERS.items():
                start = time.perf_counter()
                x = solver(a, A, b)
                seconds[name][i] = min(seconds[name][i], time.perf_counter() - start)
                u = np.pad(x.reshape(n - 2, n - 2), 1)
                residual[name] = max(residual[name], relative_residual(a, u))
    return [
        {
            "resolution": n,
            "law": law,
            "solver": name,
            "seconds_per_sample": float(times.mean()),
            "times_faster_than_spsolve": float(seconds[REFERENCE].mean() / times.mean()),
            "max_residual": residual[name],
        }
        for name, times in seconds.items()
    ]


def main() -> None:
    """Print the table, or its rows as JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--resolutions", default="85,241,421,841")
    parser.add_argument("--law", default="piecewise", choices=LAWS)
    parser.add_argument("--samples", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    table = Table("grid", "solver", "ms per sample", "times spsolve", "residual")
    with threadpool_limits(1):
        for n in map(int, arguments.resolutions.split(",")):
            repeats = arguments.repeats if n < 800 else 1
            for row in measure(arguments.law, n, arguments.samples, repeats):
                if arguments.json:
                    print(json.dumps(row), flush=True)
                table.add_row(
                    f"{n}²",
                    row["solver"],
                    f"{1e3 * row['seconds_per_sample']:.1f}",
                    f"{row['times_faster_than_spsolve']:.1f}",
                    f"{row['max_residual']:.0e}",
                )
            table.add_section()
    if not arguments.json:
        Console().print(table)


if __name__ == "__main__":
    main()
