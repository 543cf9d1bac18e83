"""Commands that compare: evaluate, benchmark, report, demo."""

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pdebench_mano.cli.app import app, integers

if TYPE_CHECKING:
    from pdebench_mano.records import Record


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    data: Annotated[Path, typer.Option(help="Dataset file: its test split, or all samples if it has none.")],
    resolutions: Annotated[str, typer.Option(help="Points a side, as 33,65,129: exact strides of the stored grid.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line on stdout.")] = False,
) -> None:
    """Evaluate a trained operator at any resolutions, beside upsampling and a coarse solver.

    Upsampled rows predict at the training resolution and interpolate by splines; the coarse solver solves the equation
    there, where it is known. The record is kept in the run folder, for the report.
    """
    from data_gen.storage import read_info
    from pdebench_mano.benchmark import record_run, train_command
    from pdebench_mano.runs import read_config

    words = ["pdebench-mano", "evaluate", str(run), "--data", str(data), "--resolutions", resolutions]
    record = record_run(
        run,
        data,
        integers(resolutions, "resolutions"),
        run / "records" / f"{read_info(data).digest[:8]}.jsonl",
        solver=True,
        commands=[train_command(read_config(run), run), shlex.join(words)],
        shown=not as_json,
    )
    if as_json:
        for row in record.evaluations:
            print(json.dumps(row.summary()))
    else:
        print_comparison([record])


def print_comparison(records: "list[Record]") -> None:
    """The headline table of each budget, on stdout."""
    from rich.console import Console
    from rich.table import Table

    from pdebench_mano.report.tables import comparison, headline, rows

    table = rows(records)
    for budget in [each for each in table.budget.unique() if each]:
        cells = headline(comparison(table, budget))
        shown = Table("relative L2 error", title=f"trained for {budget}", title_justify="left")
        for resolution in cells.columns:
            shown.add_column(f"{resolution}²", justify="right")
        for name, row in cells.iterrows():
            shown.add_row(str(name), *row)
        Console().print(shown)
