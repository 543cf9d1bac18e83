"""Commands that compare: evaluate, benchmark, report, demo."""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pdebench_mano.cli.app import app, console, integers

if TYPE_CHECKING:
    import pandas as pd

    from pdebench_mano.records import Record


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    data: Annotated[Path, typer.Option(help="Dataset file: its test split, or all samples if it has none.")],
    resolutions: Annotated[str, typer.Option(help="Points a side, as 33,65,129: exact strides of the stored grid.")],
    split: Annotated[
        str | None, typer.Option(help="Other samples than those to test on, for choosing settings: val.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line on stdout.")] = False,
) -> None:
    """Evaluate a trained operator at any resolutions, beside upsampling and a coarse solver.

    Upsampled rows predict at the training resolution and interpolate by splines; the coarse solver solves the equation
    there, where it is known. The record is kept in the run folder, for the report. Of another split than the test
    samples, the operator's errors are shown and nothing is kept.
    """
    from pdebench_mano.evaluation import evaluate as evaluate_operator
    from pdebench_mano.records import read_record
    from pdebench_mano.runs import load, read_config

    if split is not None:
        name = read_config(run).operator
        for row in evaluate_operator(load(run), name, data, integers(resolutions, "resolutions"), split=split):
            error = f"{row.mean('relative_l2'):.3g} on {len(row.errors['relative_l2'])} samples of {split}"
            print(json.dumps(row.summary()) if as_json else f"{name} at {row.resolution}²: relative L2 error {error}")
        return
    result = read_record(record(run, data, integers(resolutions, "resolutions"), shown=not as_json))
    if as_json:
        for row in result.evaluations:
            print(json.dumps(row.summary()))
    else:
        print_comparison([result])


def record(run: Path, data: Path, resolutions: list[int], shown: bool) -> Path:
    """Evaluate a run and keep the record in its folder, one for each dataset; returns the record's file."""
    from data_gen.storage import read_info
    from pdebench_mano.recording import record_run, train_command
    from pdebench_mano.runs import read_config

    sizes = ",".join(map(str, resolutions))
    command = ["pdebench-mano", "evaluate", str(run), "--data", str(data), "--resolutions", sizes]
    target = run / "records" / f"{read_info(data).digest[:8]}.jsonl"
    commands = [train_command(read_config(run), run), shlex.join(command)]
    made = record_run(run, data, resolutions, target, solver=True, commands=commands, shown=shown)
    trained_on = made.configuration["data"]["digest"]
    if made.dataset["digest"] == trained_on and len(made.samples) == made.dataset["samples"]:
        say(f"note: {data} has no test split; these are the samples that {run} was trained on")
    return target


@app.command()
def benchmark(
    suite: Annotated[Path, typer.Argument(help="TOML file, or the name of a suite that comes with the package.")],
    out: Annotated[Path, typer.Option(help="Folder of data, runs, records and report.")],
    only: Annotated[list[str] | None, typer.Option(help="Run this model only; may be repeated.")] = None,
    jobs: Annotated[
        int, typer.Option(min=1, help="Cases to run at the same time, on one thread each; they take the GPUs in turn.")
    ] = 1,
    fresh: Annotated[bool, typer.Option("--fresh", help="In a new OUT, take no published record over.")] = False,
) -> None:
    """Train and evaluate every case of a suite, then write the report; what is done is skipped.

    Done is what has a record in OUT, or, of a suite that comes with the package, a published one.
    """
    from pdebench_mano.leaderboard import PUBLISHED

    path = suite if suite.is_file() else packaged(suite.stem)
    published = None if fresh or suite.is_file() else PUBLISHED / path.stem
    run_and_report(path, out, f"pdebench-mano benchmark {suite} --out {out}", only or [], jobs, published)


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, or folders of benchmarks.")],
    out: Annotated[Path, typer.Option(help="Folder of the report.")],
    title: Annotated[str, typer.Option(help="Heading of the page.")] = "Neural operators on Darcy flow",
) -> None:
    """Write one HTML page, with its figures and tables as files, about evaluated runs.

    A run that was never evaluated is evaluated first, on the data it was trained with.
    """
    from pdebench_mano.records import find_records, read_record
    from pdebench_mano.report import write_report

    paths = [path for run in runs for path in find_records(run) or [evaluate_on_own_data(run)]]
    page = write_report(paths, out, title)
    print_comparison([read_record(path) for path in paths])
    print(f"report: {page}")


@app.command()
def demo(
    quick: Annotated[bool, typer.Option("--quick", help="Tiny sizes: seconds, and nothing learned.")] = False,
    out: Annotated[Path, typer.Option(help="Folder of data, runs, records and report.")] = Path("demo"),
) -> None:
    """Generate data, train FNO and MANO, evaluate zero-shot and report: the whole way in minutes.

    The same command again goes on where it stopped, or shows what is there.
    """
    run_and_report(packaged("demo-quick" if quick else "demo"), out, "pdebench-mano demo" + " --quick" * quick)


def packaged(name: str) -> Path:
    """The file of a suite that comes with the package."""
    folder = Path(__file__).parents[1] / "suites"
    known = {path.stem: path for path in sorted(folder.glob("*.toml"))}
    if name not in known:
        raise FileNotFoundError(f"there is no suite {name}: give a TOML file, or one of {', '.join(known)}")
    return known[name]


def run_and_report(
    suite_file: Path,
    out: Path,
    command: str,
    only: Sequence[str] = (),
    jobs: int = 1,
    published: Path | None = None,
) -> None:
    """Run a suite, then print its tables and write its report."""
    from pdebench_mano.benchmark import run_suite
    from pdebench_mano.records import find_records, read_record
    from pdebench_mano.report import write_report
    from pdebench_mano.suite import read_suite

    suite = read_suite(suite_file)
    records = run_suite(
        suite, out, folder=suite_file.parent, only=only, jobs=jobs, published=published, command=command, say=say
    )
    keys = {record.key for record in records}
    page = write_report([path for path in find_records(out) if read_record(path).key in keys], out, suite.title)
    print_comparison(records)
    print(f"report: {page}")


def evaluate_on_own_data(run: Path) -> Path:
    """Evaluate a run at its training resolution and the finest one of its own data; returns the record's file."""
    from data_gen.storage import read_info
    from pdebench_mano.runs import read_config, training_resolution

    data = Path(read_config(run).data)
    sizes = sorted({training_resolution(run), read_info(data).shape[0]})
    return record(run, data, sizes, shown=True)


def say(line: str) -> None:
    """Tell a person at the terminal what begins."""
    console.print(line, highlight=False)


def print_comparison(records: "Sequence[Record]", added: "Sequence[Record]" = ()) -> None:
    """The headline table of each budget and paired differences, on stdout; what is `added` stands in all of them."""
    import pandas as pd

    from pdebench_mano.report.tables import budgets, comparison, differences, headline, order, rows

    table = rows(records)
    own = [rows(added)] if added else []
    for budget in budgets(table):
        part = pd.concat([comparison(table, budget), *own], ignore_index=True)
        _print(headline(part), f"relative L2 error, trained for {budget}")
        there = [*(record for record in records if record.budget == budget), *added]
        if len(minus := differences(there, part)):
            _print(minus, f"minus that of {order(part)[0]}, paired over the test samples, with 95 % interval")


def _print(cells: "pd.DataFrame", title: str) -> None:
    """Models by resolution, on stdout."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    shown = Table(title=title, title_justify="left", box=SIMPLE)
    shown.add_column(min_width=max(len(word) for name in cells.index for word in str(name).split()))
    for resolution in cells.columns:
        shown.add_column(f"{resolution}²", justify="right")
    for name, row in cells.iterrows():
        shown.add_row(str(name), *row)
    Console().print(shown)
