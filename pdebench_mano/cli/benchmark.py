"""``pdebench-mano benchmark`` and ``demo``."""

import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from pdebench_mano.cli import completion
from pdebench_mano.cli.app import app, say


@app.command()
def benchmark(
    suite: Annotated[
        Path,
        typer.Argument(
            help="TOML file, or the name of a suite that comes with the package.", autocompletion=completion.suites
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of data, runs, records and report.")],
    only: Annotated[list[str] | None, typer.Option(help="Run this model only; may be repeated.")] = None,
    jobs: Annotated[
        int, typer.Option(help="Cases to run at the same time, on one thread each; they take the GPUs in turn.")
    ] = 1,
    scheduler: Annotated[
        str | None,
        typer.Option(
            help="Address of a Dask scheduler: run cases on its workers, which must see OUT, one at a time in each. Of "
            "several GPUs a worker takes one for itself, among those that its CUDA_VISIBLE_DEVICES names."
        ),
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="In a new OUT, take no published record over.")] = False,
    time: Annotated[
        bool,
        typer.Option(
            "--time", help="Train nothing: time the operators of all records, and the solvers, then write the report."
        ),
    ] = False,
) -> None:
    """Train and evaluate every case of a suite, then write the report; what is done is skipped.

    Done is what has a record in OUT, or, of a suite that comes with the package, a published one. Times are a
    measurement of their own: `--time` takes them, on a machine that should do nothing else, into OUT/times.jsonl. It
    needs no weights: an untrained operator takes as long as a trained one, and stands for it where there is no run.
    """
    from pdebench_mano.benchmark.leaderboard import PUBLISHED
    from pdebench_mano.benchmark.suite import packaged

    if scheduler is not None and jobs != 1:
        raise ValueError(f"--jobs {jobs} is of this machine, --scheduler {scheduler} of another: give one of the two")
    named = suite.name == str(suite) and not suite.is_file()
    path = packaged(suite.name) if named else suite
    if time and (jobs != 1 or scheduler is not None):
        raise ValueError("--time trains nothing, and takes neither --jobs nor --scheduler")
    published = PUBLISHED / path.stem if named and not fresh else None
    if time:
        time_and_report(path, out, only or [], published)
        return
    typed = ["pdebench-mano", "benchmark", str(suite), "--out", str(out), *(f"--only={model}" for model in only or [])]
    run_and_report(path, out, shlex.join(typed), only or [], jobs, scheduler, published)


@app.command()
def demo(
    quick: Annotated[bool, typer.Option("--quick", help="Tiny sizes: seconds, and nothing learned.")] = False,
    out: Annotated[Path, typer.Option(help="Folder of data, runs, records and report.")] = Path("demo"),
) -> None:
    """Generate data, train FNO and MANO, evaluate zero-shot and report: the whole way in minutes.

    The same command again goes on where it stopped, or shows what is there.
    """
    from pdebench_mano.benchmark.suite import packaged

    typed = ["pdebench-mano", "demo", *["--quick"] * quick, *(["--out", str(out)] if out != Path("demo") else [])]
    run_and_report(packaged("demo-quick" if quick else "demo"), out, shlex.join(typed))


def run_and_report(
    suite_file: Path,
    out: Path,
    command: str,
    only: Sequence[str] = (),
    jobs: int = 1,
    scheduler: str | None = None,
    published: Path | None = None,
) -> None:
    """Run a suite, then print its tables and write its report."""
    from pdebench_mano.benchmark.run import run_suite
    from pdebench_mano.benchmark.suite import read_suite
    from pdebench_mano.evaluation.records import find_records, read_record
    from pdebench_mano.machine.workers import dask_workers
    from pdebench_mano.report import write_report
    from pdebench_mano.report.terminal import print_comparison

    suite = read_suite(suite_file)
    records = run_suite(
        suite,
        out,
        folder=suite_file.parent,
        only=only,
        jobs=jobs,
        workers=None if scheduler is None else partial(dask_workers, scheduler),
        published=published,
        command=command,
        say=say,
    )
    keys = {record.key for record in records}
    paths = [path for path in find_records(out) if read_record(path).key in keys]
    page = write_report(paths, out, suite.title, suite_file.stem, command=command)
    print_comparison(records)
    print(f"report: {page}")


def time_and_report(suite_file: Path, out: Path, only: Sequence[str] = (), published: Path | None = None) -> None:
    """Time what a suite has records of in a folder, published ones among them, and write its report anew.

    Raises
    ------
    ValueError
        If there is no record of the suite.
    """
    from pdebench_mano.benchmark.data import datasets
    from pdebench_mano.benchmark.suite import read_suite
    from pdebench_mano.benchmark.times import records_of_suite, time_records
    from pdebench_mano.cli.timing import show
    from pdebench_mano.evaluation.timing import Stopwatch
    from pdebench_mano.machine.progress import bar
    from pdebench_mano.report import write_report

    suite = read_suite(suite_file)
    suite.refuse_others(only)
    places = datasets(suite.data, out / "data", suite_file.parent)
    paths = records_of_suite(suite, places, out, published)
    if not paths:
        raise ValueError(f"{out} holds no record of {suite_file.stem}: run it without --time first")
    with bar("samples generated") as progress:
        times = time_records(
            paths, suite, places, out, Stopwatch.on(), only=only, published=published, say=say, progress=progress
        )
    show(times)
    print(f"report: {write_report(paths, out, suite.title, suite_file.stem)}")
