"""Records → the tables that a terminal shows."""

import re
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from pdebench_mano.evaluation.records import Record, described
from pdebench_mano.report import naming, tables
from pdebench_mano.report.matrix import matrices
from pdebench_mano.report.tables import budgets, comparison, differences, headline, note, order, rows

MEAN_AND_INTERVAL = re.compile(r"(?P<mean>\S*\d) [\[(](?P<low>\S+)(?:,| …) (?P<high>\S+)[\])]")
"""``.0123 [.0119, .0128]`` and ``-0.00017 (-0.00021 … -0.00012)``, as tables have them."""

INTERVAL = "with 95 % interval"

WIDE = 10_000
"""Letters of a line that holds any table."""


def print_comparison(records: Sequence[Record], added: Sequence[Record] = ()) -> None:
    """The headline table of each budget and paired differences, on stdout; what is `added` stands in all of them.

    Of a suite of several datasets, to which nothing is added, these are the `matrices`.
    """
    if not added and (several := matrices(records)):
        for each in several:
            at = f"at {each.resolution}², tested on, trained for {each.budget}"
            _print(each.errors, f"relative L2 error{tables.by(each.norm)} {at}, {INTERVAL}")
            _print(each.beside_own, f"minus that of the model trained on what is tested on, paired, {at}")
        return
    records = naming.apart([*records, *(replace(record, budget="") for record in added)])
    grounds = tables.grounds(rows(records))
    for place, budget in [(place, budget) for place, table in grounds.items() for budget in budgets(table)]:
        here = [record for record in records if naming.ground(record) == place]
        part = comparison(grounds[place], budget)
        on = f" on {described(here[0])}, dataset {place[0][:8]}" if len({dataset for dataset, _ in grounds}) > 1 else ""
        shown = tables.of_quoted_schemes(part)
        _print(headline(shown), f"relative L2 error{tables.by(place[1])}{on}, {INTERVAL}, trained for {budget}")
        if part.quoted.any():
            print("quoted is the solver with the least validation error on the training grid")
            if left_out := part.model.nunique() - shown.model.nunique():
                print(f"solvers by other schemes ({left_out}) are in the report, and in --json of leaderboard")
            print()
        for reference in (order(part)[0], *part[part.quoted].model.unique()):
            if len(minus := differences(part, reference)):
                seeds = f" ({said})" if (said := note(part, reference)) else ""
                _print(minus, f"minus that of {reference}{seeds}, paired over the test samples, {INTERVAL}")


def _print(cells: pd.DataFrame, title: str) -> None:
    """Models by resolution, on stdout; where they are too wide for it, intervals are `concise`."""
    console = Console(markup=False, emoji=False)
    shown = _table(cells)
    if console.measure(shown, options=console.options.update(width=WIDE)).maximum > console.width:
        shown, title = _table(cells.map(concise)), title.replace(INTERVAL, f"{INTERVAL}, .0123(5) being ±.0005")
        shown.show_edge = False
    console.print(title, style="italic", highlight=False)  # a table cuts its title off where it is wider than lines
    console.print(shown, end="\n" * (1 + (not shown.show_edge)))


def concise(cell: str) -> str:
    """A mean with its interval as its uncertainty, the larger of both sides in units of the last digit: two at most.

    Examples
    --------
    >>> concise(".0123 [.0119, .0128]")
    '.0123(5)'
    >>> concise("-0.00017 (-0.00021 … -0.00012)")
    '-0.00017(5)'
    >>> concise("1.3137 [1.2207, 1.4187]")
    '1.31(10)'
    """

    def shorter(found: re.Match[str]) -> str:
        mean, low, high = (float(found[name]) for name in ("mean", "low", "high"))
        uncertainty, digits = max(high - mean, mean - low), len(found["mean"].partition(".")[2])
        while digits > 1 and round(uncertainty * 10**digits) >= 100:
            digits -= 1
        text = f"{mean:{'+' * found['mean'].startswith('+')}.{digits}f}"
        if abs(mean) < 1 and "0." not in found["mean"]:
            text = text.replace("0.", ".")
        return f"{text}({round(uncertainty * 10**digits)})"

    return MEAN_AND_INTERVAL.sub(shorter, cell)


def _table(cells: pd.DataFrame) -> Table:
    table = Table(box=SIMPLE)
    table.add_column(min_width=max(len(word) for name in cells.index for word in str(name).split()))
    for column in cells.columns:
        noted = column == tables.NOTE
        table.add_column(tables.heading(column), justify="left" if noted else "right", no_wrap=noted)
    for name, row in cells.iterrows():
        table.add_row(str(name), *row)
    return table
