"""Draw sample 0 of each problem: its input, and the solution for it.

    python docs/pictures.py            # all of them, into docs/pages/problems
    python docs/pictures.py helmholtz  # one

Seed and grid stand below; nothing else enters, so that the same command draws the same picture.
"""

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("Agg")

from matplotlib import pyplot as plt

from data_gen import Grid, build_problem
from data_gen.problem import Problem
from data_gen.problems import kind_of

PAGES = Path(__file__).parent / "pages" / "problems"
DPI = 75
SEED, INDEX = 0, 0

DRAWN = {
    "darcy": (129, {}),
    "helmholtz": (129, {"omega": 40.0}),
    "navier-stokes": (128, {"viscosity": 1e-4, "times": [2.0, 5.0, 10.0]}),
    "transient-darcy": (129, {"times": [0.0025, 0.01, 0.04]}),
}
"""Points a side and parameters of each."""


def fields(problem: Problem, grid: Grid) -> list[tuple[str, np.ndarray]]:
    """Inputs and solutions of sample 0, with their titles."""
    a = problem.draw(grid, np.random.default_rng(np.random.SeedSequence(SEED, spawn_key=(INDEX,))), INDEX)
    shown = [(f"{each.name} {each.symbol}", field) for each, field in zip(problem.inputs, a, strict=True)]
    for t, state in zip(problem.times or ("",), problem.solve(a, grid).u, strict=True):
        at = f", t = {t:g}" if problem.times else ""
        shown += [(f"{each.name} {each.symbol}{at}", u) for each, u in zip(problem.outputs, state, strict=True)]
    return shown


def draw(name: str, path: Path) -> None:
    """One row of fields, x to the right and y upwards."""
    n, parameters = DRAWN[name]
    shown = fields(build_problem(name, **parameters), Grid((n, n), kind_of(name)))
    figure, axes = plt.subplots(1, len(shown), figsize=(3 * len(shown), 3), layout="constrained")
    for axis, (title, field) in zip(axes, shown, strict=True):
        signed = field.min() < 0
        size = np.abs(field).max()
        image = axis.imshow(
            field.T,
            origin="lower",
            extent=(0, 1, 0, 1),
            cmap="RdBu_r" if signed else "viridis",
            vmin=-size if signed else None,
            vmax=size if signed else None,
        )
        axis.set(title=title, xticks=[0, 1], yticks=[0, 1])
        figure.colorbar(image, ax=axis, shrink=0.8)
    figure.savefig(path, dpi=DPI, metadata={"Software": None})
    plt.close(figure)


if __name__ == "__main__":
    for name in sys.argv[1:] or DRAWN:
        draw(name, PAGES / f"{name}.png")
