"""Records → the tables that a terminal shows."""

from collections.abc import Sequence

import pandas as pd
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from pdebench_mano.evaluation.records import Record
from pdebench_mano.report.tables import budgets, comparison, differences, headline, order, rows


def print_comparison(records: Sequence[Record], added: Sequence[Record] = ()) -> None:
    """The headline table of each budget and paired differences, on stdout; what is `added` stands in all of them."""
    table = rows(records)
    own = [rows(added)] if added else []
    for budget in budgets(table):
        part = pd.concat([comparison(table, budget), *own], ignore_index=True)
        _print(headline(part), f"relative L2 error, trained for {budget}")
        there = [*(record for record in records if record.budget == budget), *added]
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
