"""``pdebench-mano time``."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pdebench_mano.cli.app import app, integers, say

if TYPE_CHECKING:
    from pdebench_mano.evaluation.timing import Timing


@app.command()
def time(
    data: Annotated[Path, typer.Option(help="Dataset file, of whose test samples the inputs are taken.")],
    resolutions: Annotated[str, typer.Option(help="Points a side, as 33,65,129: exact strides of the stored grid.")],
    out: Annotated[Path, typer.Option(help="Folder for times.jsonl: that of the run, or a new one.")],
    runs: Annotated[list[Path] | None, typer.Argument(help="Run folders.", metavar="RUN")] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; by default CUDA where there is one.")] = None,
    rivals: Annotated[
        bool, typer.Option("--rivals", help="Time the problem's own solvers, and the labels, too.")
    ] = False,
    start: Annotated[
        float | None,
        typer.Option(help="When rollouts of operators trained on steps start: 0, the default, or a time of DATA."),
    ] = None,
    repeats: Annotated[
        int, typer.Option(help="Repeats of which the median is taken; of a call of ten seconds or more, one.")
    ] = 5,
    trust: Annotated[
        bool, typer.Option("--trust", help="Run code of your own: operators that runs name, a problem that DATA names.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line on stdout.")] = False,
) -> None:
    """Time operators, and the solvers they stand beside, on one device that should do nothing else.

    Latency is that of one sample alone, throughput that of one within the batch that serves it fastest; of an operator
    trained on steps, of its whole rollout, and of solvers over the same interval. The same command again times what is
    missing, and what was timed on a busy machine, less often, or by another commit.
    """
    from itertools import chain

    from pdebench_mano.evaluation import timing
    from pdebench_mano.fields.data import Dataset
    from pdebench_mano.training.folder import read_config, read_summary
    from pdebench_mano.training.runs import TRUSTED

    sizes = integers(resolutions, "resolutions")
    if not (runs or rivals):
        raise ValueError("nothing to time: name run folders, or --rivals")
    if out.exists() and not out.is_dir():
        raise ValueError(f"out={out} is a file; choose a folder")
    file, watch = Dataset(data, trust), timing.Stopwatch.on(device, repeats)
    names = [read_config(run).operator for run in runs or []]
    for run in runs or []:
        read_summary(run)
    if start is None and (pairs := {read_config(run).pairs for run in runs or []}) >= {"step"}:
        if pairs != {"step"}:
            raise ValueError("operators of steps and others have no time in common: time them one after another")
        start = 0.0
    if trust:
        for config in map(read_config, runs or []):
            TRUSTED.update((config.operator, config.regime))
    entrants = [
        timing.Entrant(name if names.count(name) == 1 else f"{name} ({run})", run, sizes)
        for name, run in zip(names, runs or [], strict=True)
    ]
    contenders = [timing.operators(entrants, file, watch, start)]
    contenders += [timing.solvers(file, sizes, watch, start), timing.labels(file, watch, start)] if rivals else []
    show(timing.take(chain(*contenders), watch, out, say if not as_json else lambda line: None), as_json)


def show(times: "Iterable[Timing]", as_json: bool = False) -> None:
    """Print times, one JSON object a line as they come, or as a table in the end.

    Raises
    ------
    ValueError
        If there is none.
    """
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    shown = []
    for each in times:
        shown.append(each)
        if as_json:
            print(json.dumps(asdict(each)), flush=True)
    if not shown:
        raise ValueError("nothing could be timed")
    if as_json:
        return
    several = any(each.steps > 1 for each in shown)
    columns = ["", "grid", "mode", "rtol", "latency", "throughput", "batch", *["steps", "a step"] * several]
    table = Table(*columns, title_justify="left", box=SIMPLE)
    table.title = f"ms a sample on {', '.join(dict.fromkeys(each.device for each in shown))}; * on a busy machine"
    for each in shown:
        rtol = "" if each.rtol is None else f"{each.rtol:g}"
        times_ms = (f"{ms:.3g}" + "*" * each.busy for ms in (each.latency_ms, each.throughput_ms))
        steps = [str(each.steps), f"{each.throughput_ms / each.steps:.3g}"] if several else []
        table.add_row(each.name, f"{each.resolution}²", each.mode, rtol, *times_ms, str(each.batch), *steps)
    Console(markup=False, emoji=False).print(table)
