"""Records → the tables that a terminal shows."""

from collections.abc import Sequence

import pandas as pd
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from pdebench_mano.evaluation.records import Record, described
from pdebench_mano.report import tables
from pdebench_mano.report.tables import budgets, comparison, differences, headline, order, rows


def print_comparison(records: Sequence[Record], added: Sequence[Record] = ()) -> None:
    """The headline table of each budget and paired differences, on stdout; what is `added` stands in all of them."""
    records = tables.apart(records)
    own = [rows(added)] if added else []
    grounds = tables.grounds(rows(records))
    for place, budget in [(place, budget) for place, table in grounds.items() for budget in budgets(table)]:
        here = [record for record in records if tables.ground(record) == place]
        part = pd.concat([comparison(grounds[place], budget), *own], ignore_index=True)
        on = f" on {described(here[0])}, dataset {place[0][:8]}" if len({dataset for dataset, _ in grounds}) > 1 else ""
        by = f" by {place[1]}" if place[1] != "points" else ""
        _print(headline(part), f"relative L2 error{by}{on}, trained for {budget}")
        there = [*(record for record in here if record.budget == budget), *added]
        if len(minus := differences(there, part)):
            _print(minus, f"minus that of {order(part)[0]}, paired over the test samples, with 95 % interval")


def _print(cells: pd.DataFrame, title: str) -> None:
    """Models by resolution, on stdout."""
    shown = Table(title=title, title_justify="left", box=SIMPLE)
    shown.add_column(min_width=max(len(word) for name in cells.index for word in str(name).split()))
    for resolution in cells.columns:
        shown.add_column(f"{resolution}²", justify="right")
    for name, row in cells.iterrows():
        shown.add_row(str(name), *row)
    Console().print(shown)
