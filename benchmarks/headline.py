"""The tables and figures of README, made from the published records.

A table stands between ``<!-- SUITE: made by benchmarks/headline.py -->`` and ``<!-- end -->``, one of paired
differences behind ``<!-- SUITE paired: … -->``; a figure is a link to ``docs/SUITE/NAME.png``. What README asks for is
what is made.

    python benchmarks/headline.py
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from pdebench_mano.benchmark.leaderboard import published
from pdebench_mano.report import figures, tables

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
TABLE = re.compile(r"(<!-- (\w+)( paired)?: made by benchmarks/headline\.py -->\n).*?(<!-- end -->)", re.DOTALL)
FIGURE = re.compile(r"docs/(\w+)/(error-against-resolution|accuracy-against-time)\.png")


def with_tables(text: str) -> str:
    """README's text with every table made anew."""

    def made(found: re.Match[str]) -> str:
        cells = paired_table(found[2]) if found[3] else suite_tables(found[2])
        return f"{found[1]}\n{cells}\n{found[4]}"

    return TABLE.sub(made, text)


def suite_tables(suite: str) -> str:
    """Models by resolution, relative L2 error, in Markdown: one table for each budget that several models had.

    Baselines know no budget and stand in the first alone.
    """
    parts = [
        (budget, part) for budget, part in comparisons(suite) if part[part.group == "operator"].model.nunique() > 1
    ]
    return "\n".join(
        markdown(
            tables.headline(part if number == 0 else part[part.group != "baseline"]), f"relative L2 error, {budget}"
        )
        for number, (budget, part) in enumerate(parts)
    )


def paired_table(suite: str) -> str:
    """Differences to the best operator of the suite's first budget, in Markdown."""
    budget, part = next(comparisons(suite))
    return markdown(tables.differences(part), f"minus {tables.order(part)[0]}, {budget}")


def markdown(cells: pd.DataFrame, title: str) -> str:
    """Models by resolution."""
    rows = [
        [title, *map(tables.heading, cells.columns)],
        ["---", *("---:" for _ in cells.columns)],
        *([name, *row] for name, row in cells.iterrows()),
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def figure(suite: str, name: str) -> Figure:
    """A figure of the report, of the suite's first budget."""
    _, part = next(comparisons(suite))
    styles = figures.Styles(part)
    if name == "accuracy-against-time":
        return figures.accuracy_against_time(part, styles, int(part.resolution.max()))
    return figures.error_against_resolution(part, styles)


def comparisons(suite: str) -> Iterator[tuple[str, pd.DataFrame]]:
    """The rows of each budget of a suite, beside the baselines."""
    table = tables.rows(published(suite))
    for budget in tables.budgets(table):
        yield budget, tables.comparison(table, budget)


if __name__ == "__main__":
    text = README.read_text()
    README.write_text(with_tables(text))
    for suite, name in dict.fromkeys(FIGURE.findall(text)):
        path = ROOT / "docs" / suite / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        figure(suite, name).savefig(path, dpi=120)
