"""``pdebench-mano evaluate`` and ``report``."""

import json
from pathlib import Path
from typing import Annotated

import typer

from pdebench_mano.cli.app import app, integers, say
from pdebench_mano.machine.progress import Progress


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    data: Annotated[Path, typer.Option(help="Dataset file, of which the test split is used.")],
    resolutions: Annotated[str, typer.Option(help="Points a side, as 33,65,129: exact strides of the stored grid.")],
    split: Annotated[
        str | None,
        typer.Option(
            help="Other samples than those to test on, for choosing settings: val; or all, of a file without."
        ),
    ] = None,
    start: Annotated[
        float | None, typer.Option(help="Of an operator of steps: roll out from the stored state at this time.")
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(help="A metric of your own, file.py:function of prediction and truth; may be repeated."),
    ] = None,
    trust: Annotated[
        bool,
        typer.Option("--trust", help="Run code of your own: an operator that RUN names, a problem that DATA names."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line on stdout.")] = False,
) -> None:
    """Evaluate a trained operator at any resolutions, beside upsampling and a coarse solver.

    Upsampled rows predict at the training resolution and interpolate; the coarse solver solves the equation there,
    where it is known. What was trained on steps is rolled out, from t = 0 or --start. The record is kept in the run
    folder, for the report. Of another split than the test samples, the operator's errors are shown and nothing is kept.
    """
    from data_gen.recipe import unsolved
    from pdebench_mano.evaluation.assess import assess, other_data
    from pdebench_mano.evaluation.evaluate import evaluate as evaluate_operator
    from pdebench_mano.evaluation.records import read_record
    from pdebench_mano.fields.data import Dataset
    from pdebench_mano.fields.metrics import own_metric
    from pdebench_mano.machine.progress import bar
    from pdebench_mano.report.terminal import print_comparison
    from pdebench_mano.training.folder import read_config, read_summary
    from pdebench_mano.training.runs import load

    sizes, own = integers(resolutions, "resolutions"), metric or []
    for each in own:
        own_metric(each)
    if split not in (None, "all"):
        read_summary(run)
        name = read_config(run).operator
        operator = load(run, trust=trust)
        for row in evaluate_operator(
            operator, name, Dataset(data, trust), sizes, split=split, start=start, metrics=own
        ):
            error = f"{row.mean('relative_l2'):.3g} on {len(row.errors['relative_l2'])} samples of {split}"
            print(json.dumps(row.summary()) if as_json else f"{name} at {row.resolution}²: relative L2 error {error}")
        return
    with bar("samples", shown=not as_json) as progress:
        record = read_record(assess(run, opened := Dataset(data, trust), sizes, progress, split, start, own))
    if reason := unsolved(opened.info.attributes):
        say(f"no solver row: {reason}")
    if different := other_data(record):
        say(f"note: {data} is not what {run} was trained on: {different}")
    if split == "all":
        say(f"note: these are all samples of {data}, not a test split")
    if as_json:
        for row in record.evaluations:
            print(json.dumps(row.summary()))
    else:
        print_comparison([record])


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, or folders of benchmarks.")],
    out: Annotated[Path, typer.Option(help="Folder of the report.")],
    title: Annotated[str | None, typer.Option(help="Heading of the page; by default it names the problems.")] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Run code of your own: operators that runs name, problems that data name.")
    ] = False,
) -> None:
    """Write one HTML page, with its figures and tables as files, about evaluated runs.

    A run that was never evaluated is evaluated first, on the data it was trained with.
    """
    from pdebench_mano.evaluation.records import read_record, records_of
    from pdebench_mano.machine.progress import bar
    from pdebench_mano.report import check_folder, write_report
    from pdebench_mano.report.terminal import print_comparison

    check_folder(out)
    paths = []
    for run in runs:
        with bar("samples") as progress:
            paths += records_of(run) or [_evaluated(run, progress, trust)]
    page = write_report(paths, out, title)
    print_comparison([read_record(path) for path in paths])
    print(f"report: {page}")


def _evaluated(run: Path, progress: Progress, trust: bool) -> Path:
    """The record of a run that had none; what is no run is refused before PyTorch is imported."""
    from pdebench_mano.training.folder import read_config

    read_config(run)
    from pdebench_mano.evaluation.assess import assess_on_own_data

    return assess_on_own_data(run, progress, trust)
