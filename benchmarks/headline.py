"""The tables and figures of README and of the results' pages, made from the published records.

A table is between ``<!-- SUITE: made by benchmarks/headline.py -->`` and ``<!-- end -->``; with ``SUITE short`` it is
of operators and the quoted solver alone, with ``SUITE paired`` of paired differences, with ``SUITE times`` of errors
over time, with ``SUITE costs`` of what trainings take, with ``SUITE worth`` of what operators are worth. Of a suite of
several datasets, ``SUITE matrix`` is by what was trained on and what was tested on, and ``SUITE elsewhere`` of what
training elsewhere costs. A figure is a link of README, or of a results' page, to ``docs/pages/results/SUITE/NAME.png``.
What they ask for is what is made.

    python benchmarks/headline.py
"""

import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from pdebench_mano.benchmark.leaderboard import PUBLISHED, published
from pdebench_mano.evaluation.timing import read_times
from pdebench_mano.report import figures, naming, plane, tables, worth
from pdebench_mano.report.matrix import matrices

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
RESULTS = ROOT / "docs" / "pages" / "results"
TEXTS = (README, *sorted(RESULTS.glob("*.md")))
TABLE = re.compile(r"(<!-- ([\w-]+)( \w+)?: made by benchmarks/headline\.py -->\n).*?(<!-- end -->)", re.DOTALL)
FIGURE = re.compile(r"\((?:docs/pages/results/)?([\w-]+)/(error-against-resolution|over-time-\d+|plane-\d+)\.png\)")


def with_tables(text: str) -> str:
    """A text with every table made anew."""

    def made(found: re.Match[str]) -> str:
        return f"{found[1]}\n{MAKES[found[3]](found[2])}\n{found[4]}"

    return TABLE.sub(made, text)


def suite_tables(suite: str) -> str:
    """Models by resolution, relative L2 error, in Markdown: one table for each budget.

    Baselines know no budget and stand in the first alone.
    """
    return "\n".join(
        markdown(
            tables.headline(part if number == 0 else part[part.group != "baseline"]), f"relative L2 error, {budget}"
        )
        for number, (budget, part) in enumerate(comparisons(suite))
    )


def short_table(suite: str) -> str:
    """The first budget's operators, the quoted solver on each of its grids and the mean solution, in Markdown."""
    budget, part = next(comparisons(suite))
    shown = tables.of_quoted_schemes(part[part.kind.isin(["operator", "mean", "solver"])])
    return markdown(tables.headline(shown), f"relative L2 error, {budget}")


def paired_table(suite: str) -> str:
    """Differences to the best operator of the suite's first budget, in Markdown."""
    budget, part = next(comparisons(suite))
    return markdown(tables.differences(part), f"minus {tables.order(part)[0]}, {budget}")


def times_table(suite: str) -> str:
    """Errors over time on the training grid, of the suite's first budget, in Markdown."""
    budget, part = next(comparisons(suite))
    return markdown(tables.at_times(part, min(tables.resolutions(part))), f"relative L2 error, {budget}")


def costs_table(suite: str) -> str:
    """Size, operations, and time and memory of a training of the first budget's operators, in Markdown."""
    budget, part = next(comparisons(suite))
    cells = tables.resources(part[part.kind == "operator"])
    shown = ["parameters", "prediction [GFLOP]", "training [s]", "training [GB]"]
    devices = cells.device.unique()
    if len(devices) > 1:
        return markdown(cells[[*shown, "device"]], budget)
    return markdown(cells[shown], f"{budget} on one {devices[0]}")


def worth_table(suite: str) -> str:
    """What the operators of a suite are worth beside the rival that has their errors first, in Markdown."""
    records, times = naming.apart(published(suite)), read_times(PUBLISHED / suite)
    cells = worth.cells(worth.shown(worth.worth(records, times, suite), records))
    return markdown(cells, "milliseconds in the best batch")


def matrix_table(suite: str) -> str:
    """What was trained on by what was tested on, of the first budget, on the coarsest grid, in Markdown."""
    first = matrices(published(suite))[0]
    return markdown(first.errors, f"relative L2 error at {first.resolution}², {first.budget}")


def elsewhere_table(suite: str) -> str:
    """The same minus the model that was trained on what is tested on, in Markdown."""
    return markdown(matrices(published(suite))[0].beside_own, "minus the one trained on what is tested on")


def markdown(cells: pd.DataFrame, title: str) -> str:
    """Models by resolution."""
    rows = [
        [title, *map(tables.heading, cells.columns)],
        ["---", *("---:" for _ in cells.columns)],
        *([name, *row] for name, row in cells.iterrows()),
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def figure(suite: str, name: str) -> Figure:
    """A figure of the report, of the suite's first budget; times are those of all, on the first device of them."""
    _, part = next(comparisons(suite))
    records, times = naming.apart(published(suite)), read_times(PUBLISHED / suite)
    styles = figures.Styles(tables.rows(records))
    if name == "error-against-resolution":
        return figures.error_against_resolution(part, styles)
    if name.startswith("over-time-"):
        return figures.error_over_time(figures.uncrowded(part), styles, int(name.removeprefix("over-time-")))
    resolution, device = int(name.removeprefix("plane-")), times[0].device
    here = [each for each in times if each.device == device]
    operators, solvers = (points(records, here, resolution) for points in (plane.operator_points, plane.solver_points))
    return figures.plane(operators, solvers, styles, resolution, device)


MAKES = {
    None: suite_tables,
    " short": short_table,
    " paired": paired_table,
    " times": times_table,
    " costs": costs_table,
    " worth": worth_table,
    " matrix": matrix_table,
    " elsewhere": elsewhere_table,
}


def comparisons(suite: str) -> Iterator[tuple[str, pd.DataFrame]]:
    """The rows of each budget of a suite, beside the baselines."""
    table = tables.rows(naming.apart(published(suite)))
    for budget in tables.budgets(table):
        yield budget, tables.comparison(table, budget)


if __name__ == "__main__":
    for path in TEXTS:
        path.write_text(with_tables(path.read_text()))
    for suite, name in dict.fromkeys(chain.from_iterable(FIGURE.findall(path.read_text()) for path in TEXTS)):
        path = RESULTS / suite / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        figure(suite, name).savefig(path, dpi=120)
