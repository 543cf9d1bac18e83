"""How the time and memory of operators grow with the number of grid points.

Slopes are those of least squares in log-log axes: 1 is linear.
"""

import json
import math
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, fields
from multiprocessing import get_context
from os.path import lexists
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from data_gen.storage import atomic, leftovers, locked, read_json, to_json, write_text
from data_gen.tasks import end_with_parent
from pdebench_mano.benchmark.costs import Measurement, Settings, built, measure, unmeasured
from pdebench_mano.machine.provenance import environment
from pdebench_mano.report.figures import MARKERS, PALETTE, literally

LOCK = ".lock"
QUANTITIES = {"step_ms": "training step (ms)", "inference_ms": "inference (ms)", "peak_mb": "memory of a step (MB)"}


def scaling(names: Sequence[str], resolutions: Sequence[int], settings: Settings, out: Path) -> Iterator[Measurement]:
    """Measure every operator at every resolution into ``out/scaling.csv``; what is there already is not repeated.

    Yields each row as it is done; at the end ``scaling.json`` (settings, device, versions, slopes) and the figure
    ``scaling.png`` are written beside it.

    Raises
    ------
    ValueError
        If an operator is unknown, a resolution is below 2, or `out` holds measurements under other settings.
    FileExistsError
        If another process measures there.
    """
    for name in names:
        built(name)
    if min(resolutions) < 2:
        raise ValueError(f"resolutions must be at least 2, got {min(resolutions)}")
    description = {"settings": asdict(settings), "environment": environment()}
    out.mkdir(parents=True, exist_ok=True)
    with locked(out / LOCK, out):
        yield from _measured(names, resolutions, settings, out, description)


def _measured(
    names: Sequence[str], resolutions: Sequence[int], settings: Settings, out: Path, description: dict[str, Any]
) -> Iterator[Measurement]:
    table, about = out / "scaling.csv", out / "scaling.json"
    if lexists(about):
        known = read_json(about)
        if {key: known.get(key) for key in description} != description:
            raise ValueError(f"{out} holds measurements under other settings or versions: choose another folder")
    elif {*out.iterdir()} - {out / LOCK, *leftovers(out)}:
        raise ValueError(f"{out} holds something else: choose another folder")
    write_text(about, json.dumps(description, indent=1))
    rows = read_table(table) if lexists(table) else pd.DataFrame(columns=[each.name for each in fields(Measurement)])
    for name in names:
        measured = set(rows.resolution[rows.operator == name])
        for row in _apart(name, [each for each in sorted(resolutions) if each not in measured], settings):
            rows = pd.DataFrame([*rows.to_dict("records"), asdict(row)])
            write_text(table, rows.to_csv(index=False))
            yield row
    write_text(about, to_json(description | {"slopes": slopes(rows).to_dict("index")}, indent=1))
    with atomic(out / "scaling.png") as drawn:
        figure(rows, description).savefig(drawn, dpi=200)


def _apart(name: str, resolutions: Sequence[int], settings: Settings) -> Iterator[Measurement]:
    """Measure an operator in a process of its own, and in another one after whatever could not be measured.

    An illegal access takes the GPU from its process, and lack of memory the process itself, but neither takes the rows
    that are to come.
    """
    waiting = deque(resolutions)
    while waiting:
        with ProcessPoolExecutor(1, get_context("spawn"), end_with_parent) as process:
            note = ""
            while waiting and not note:
                resolution = waiting.popleft()
                try:
                    row = process.submit(measure, name, resolution, settings).result()
                except BrokenProcessPool:
                    row = unmeasured(name, resolution, "its process was killed, as for want of memory")
                note = row.note
                yield row


def read_table(path: Path) -> pd.DataFrame:
    """The measurements of ``scaling.csv``.

    Raises
    ------
    ValueError
        If the file holds something else.
    """
    try:
        table = pd.read_csv(path)
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if missing := {each.name for each in fields(Measurement)} - set(table.columns):
        raise ValueError(f"{path} is damaged, or another program's: it lacks {', '.join(sorted(missing))}")
    return table.assign(note=table.note.astype("object").where(table.note.notna(), ""))


def slopes(table: pd.DataFrame) -> pd.DataFrame:
    """d log(quantity)/d log(points) of every operator, by least squares over its grids; NaN with fewer than two."""

    def slope(rows: pd.DataFrame, quantity: str) -> float:
        rows = rows[rows[quantity] > 0]
        if rows.points.nunique() < 2:
            return float("nan")
        return float(np.polyfit(np.log(rows.points), np.log(rows[quantity].astype(float)), 1)[0])

    return pd.DataFrame(
        {name: {quantity: slope(rows, quantity) for quantity in QUANTITIES} for name, rows in table.groupby("operator")}
    ).T


def figure(table: pd.DataFrame, description: dict[str, Any]) -> Figure:
    """Every quantity against the number of grid points, log-log, with slopes in the legends."""
    drawing = Figure(figsize=(6.4, 9.6), layout="constrained")
    slope = slopes(table)
    points = sorted(table.points.unique())
    for axis, (quantity, label) in zip(drawing.subplots(len(QUANTITIES)), QUANTITIES.items(), strict=True):
        for i, (name, rows) in enumerate(table.groupby("operator", sort=False)):
            drawn = rows[rows[quantity] > 0].sort_values("points")
            text = f"{name}, {slope[quantity][str(name)]:.2f}" if len(drawn) > 1 else str(name)
            style = {"color": PALETTE[i % len(PALETTE)], "marker": MARKERS[i % len(MARKERS)], "markersize": 4}
            axis.loglog(drawn.points, drawn[quantity], label=literally(text), **style)
        axis.set_xticks(points, [f"{math.isqrt(n)}²" for n in points])
        axis.xaxis.set_minor_locator(NullLocator())
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.yaxis.set_minor_formatter(NullFormatter())
        axis.set_ylabel(label)
        axis.legend(fontsize=8, title="operator, slope", title_fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
        axis.grid(alpha=0.3)
    settings = description["settings"]
    graphs = ", CUDA graphs" if settings["cuda_graphs"] else ""
    device = literally(description["environment"]["device"])
    where = f"{device}, {settings['precision']}, batch {settings['batch_size']}{graphs}"
    axis.set_xlabel(f"grid points\n{where}")
    return drawing
