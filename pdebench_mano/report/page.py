"""The HTML page: which tables and figures there are, in which order, and what is said beside them."""

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from itertools import chain, count
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, StrictUndefined
from matplotlib.figure import Figure

from data_gen.problem import Field
from data_gen.recipe import installed, unsolved
from data_gen.storage import COEFFICIENT, SOLUTION, fields_of, locked, write_text
from pdebench_mano.evaluation.assess import slug
from pdebench_mano.evaluation.in_time import THRESHOLD
from pdebench_mano.evaluation.records import (
    Evaluation,
    Record,
    described,
    kind_of,
    read_examples,
    read_record,
)
from pdebench_mano.evaluation.timing import TIMES, Timing
from pdebench_mano.report import figures, tables, tuning
from pdebench_mano.report import worth as value
from pdebench_mano.report.matrix import matrices

PAGE = "report.html"
RESOURCES = (
    "Means over the seeds on this device. Operations are those of one prediction on the training grid: matrix "
    "products, convolutions, attention and FFTs, a complex multiply-add as eight; what acts point by point is not "
    "counted."
)
PARTIAL = f".{PAGE}.tmp"
LOCK = ".report.lock"
"""Stands in a folder that a report is being written to: what a kill leaves is known as ours."""


def write_report(
    paths: Sequence[Path], out: str | Path, title: str = "Neural operators on Darcy flow", suite: str | None = None
) -> Path:
    """Write the report of some records.

    Parameters
    ----------
    paths : sequence of Path
        Files of records; examples are taken from the archives beside them, and times from ``times.jsonl`` in the
        folders of the runs and benchmarks, or in `out`.
    out : path
        Folder to write to: a new one, that of an earlier report, of a benchmark, or of times.
    title : str
    suite : str, optional
        Name of the suite that the records are of.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    ValueError
        If there is no record, or `out` holds something else.
    FileExistsError
        If another process writes its report there.
    """
    out = Path(out)
    if not paths:
        raise ValueError("a report needs at least one record")
    check_folder(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / PARTIAL).touch()
    with locked(out / LOCK, out):
        return _write(paths, out, title, suite)


def _write(paths: Sequence[Path], out: Path, title: str, suite: str | None) -> Path:
    times = value.beside(paths, out)
    as_recorded = [read_record(path) for path in paths]
    records = [value.with_times(each, times) for each in tables.apart(as_recorded)]
    table = tables.rows(records)
    _Keeper(out).csv("rows", table.drop(columns=["errors", "times", "per_time"]))
    styles = figures.Styles(table)
    grounds = tables.grounds(table)
    groups = [(ground, budget) for ground, part in grounds.items() for budget in tables.budgets(part)]
    comparisons = []
    for (dataset, norm), budget in groups:
        by = "" if norm == "points" else f"{norm}-"
        prefix = f"{dataset[:8]}-{by}{slug(budget)}-" if len(groups) > 1 else ""
        here = [
            (path, record)
            for path, record in zip(paths, records, strict=True)
            if tables.ground(record) == (dataset, norm) and record.budget in (budget, "")
        ]
        part = tables.comparison(grounds[dataset, norm], budget)
        comparisons.append(_comparison(here, part, budget, styles, _Keeper(out, prefix), times))
    if times:
        value.write_worth(value.worth(records, times, suite), out / value.WORTH)
    trained = [record for record in records if record.configuration]
    template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True).from_string(
        (files("pdebench_mano.report") / "page.html").read_text(encoding="utf-8")
    )
    page = template.render(
        title=title,
        summary=_summary(records, table),
        matrices=_matrices(as_recorded, _Keeper(out)),
        comparisons=comparisons,
        commands=list(dict.fromkeys(line for record in records for line in record.commands if line)),
        datasets=[
            {"digest": dataset["digest"], "facts": [(name, value) for name, value in dataset.items()]}
            for dataset in {record.dataset["digest"]: record.dataset for record in records}.values()
        ],
        configurations=[
            {
                "name": f"{record.model}, seed {record.seed}, {record.budget}",
                "text": json.dumps(record.configuration | {"training": record.training, "key": record.key}, indent=2),
            }
            for record in trained
        ],
        environments=_unique([list(record.environment.items()) for record in records]),
        version=installed("pdebench-mano"),
        count=len(records),
    )
    write_text(out / PAGE, page)
    (out / PARTIAL).unlink(missing_ok=True)
    return out / PAGE


def check_folder(out: Path) -> None:
    """Refuse a folder that holds neither a report, be it unfinished, nor a benchmark.

    Raises
    ------
    ValueError
        If it does.
    """
    if out.exists() and not out.is_dir():
        raise ValueError(f"out={out} is a file; choose a folder")
    ours = any((out / name).exists() for name in (PAGE, PARTIAL, TIMES, "records"))
    if out.exists() and {*out.iterdir()} - {out / LOCK} and not ours:
        raise ValueError(f"out={out} holds something that is no report; choose a new folder")


@dataclass(frozen=True)
class _Keeper:
    """Writes every table and figure as a file, and gives it back as the page shows it.

    Of several that would have one name, as of the models ``x`` and ``_x``, those after the first have a number, too.
    """

    out: Path
    prefix: str = ""
    written: set[Path] = field(default_factory=set)

    def path(self, folder: str, name: str) -> Path:
        """Where the next table or figure of a name goes, without suffix."""
        (self.out / folder).mkdir(exist_ok=True)
        first = self.out / folder / f"{self.prefix}{name}"
        numbered = (first.with_name(f"{first.name}-{number}") for number in count(2))
        path = next(each for each in chain([first], numbered) if each not in self.written)
        self.written.add(path)
        return path

    def csv(self, name: str, table: pd.DataFrame, index: bool = False) -> None:
        table.to_csv(f"{self.path('tables', name)}.csv", index=index)

    def table(
        self, name: str, cells: pd.DataFrame, caption: str, kinds: dict[str, str] | None = None
    ) -> dict[str, Any]:
        self.csv(name, cells.rename_axis("model"), index=True)
        columns = ["", *map(tables.heading, cells.columns)]
        rows = [
            {"kind": (kinds or {}).get(str(label), ""), "cells": [label, *cells.loc[label]]} for label in cells.index
        ]
        return {"caption": caption, "columns": columns, "rows": rows}

    def figure(self, name: str, figure: Figure, caption: str, embed: str = "svg") -> dict[str, str]:
        path, data = self.path("figures", name), {}
        for suffix, options in {"svg": {"metadata": {"Date": None}}, "png": {"dpi": 200}}.items():
            buffer = io.BytesIO()
            figure.savefig(buffer, format=suffix, **options)  # type: ignore[arg-type]
            figure.set_layout_engine("none")  # what the first one has laid out serves the second
            data[suffix] = buffer.getvalue()
            Path(f"{path}.{suffix}").write_bytes(data[suffix])
        kind = {"svg": "image/svg+xml", "png": "image/png"}[embed]
        return {"caption": caption, "source": f"data:{kind};base64,{base64.b64encode(data[embed]).decode()}"}


def _comparison(
    here: list[tuple[Path, Record]],
    part: pd.DataFrame,
    budget: str,
    styles: figures.Styles,
    keep: _Keeper,
    times: Sequence[Timing],
) -> dict[str, Any]:
    """Everything about the models of one budget on one dataset."""
    records = [record for _, record in here]
    trained = [(path, record) for path, record in here if record.configuration]
    resolutions = tables.resolutions(part)
    coarsest, finest = resolutions[0], resolutions[-1]
    kinds = dict(zip(part.model, part.group, strict=True))
    models = tables.order(part)
    solvers = [str(name) for name in part[part.quoted].model.unique()]
    reason = "" if "solver" in set(part.kind) else unsolved(records[0].dataset)

    keep.csv("error", tables.means(part).rename_axis("model"), index=True)
    headline = keep.table(
        "headline",
        tables.headline(part),
        "Relative L2 error, mean over seeds and test samples, with the 95 % interval of a bootstrap that resamples "
        "both: that of one seed, or of what is not trained, is of the samples alone, and few seeds give too narrow a "
        "one. Upsampled rows predict at the training resolution and interpolate by splines"
        + (
            f". No solver stands beside them: {reason}."
            if reason
            else "; solvers solve the equation on the grid they name."
        )
        + " The solver that is quoted is the scheme with the least validation error there." * bool(solvers)
        + " The label uncertainty is an estimate of the error of the labels themselves." * ("labels" in set(part.kind)),
        kinds | {models[0]: "best"},
    )
    details = [
        keep.table(
            f"details-{n}",
            tables.details(part, n),
            f"Mean errors at {n}², with intervals. Bands are in cycles per unit length; their squares sum to that of "
            "the relative L2 error, as those of near jumps and elsewhere do. The residual is that of the problem's "
            "discrete equation.",
            kinds,
        )
        for n in dict.fromkeys([coarsest, finest])
    ]
    paired = [
        keep.table(
            f"paired-{n}" + (f"-{slug(solver.strip('²'))}" if solver else ""),
            differences,
            f"Relative L2 error at {n}² minus that of {reference}"
            + (f" ({seeds})" if (seeds := tables.note(part, reference)) else "")
            + ", paired over the test samples, with bootstrap interval; the seeds of each are drawn on their own.",
            kinds,
        )
        for n in dict.fromkeys([coarsest, finest])
        for solver in ("", *solvers)
        for reference in [solver or next(name for name in models if name in tables.at(part, n))]
        if len(differences := tables.paired(part, [reference, *(name for name in models if name != reference)], n))
    ]
    overview = [
        keep.figure(
            "error-against-resolution",
            figures.error_against_resolution(part, styles),
            "Error against resolution. Dashed: the coarse prediction, upsampled. Dotted: no learning at all. "
            "Bars span the seeds." + " Of the solvers, the scheme that is quoted." * bool(part.quoted.any()),
        ),
    ]
    worth = _worth(records, times, styles, keep)
    if not worth["planes"] and (part[part.resolution == finest].seconds > 0).any():
        overview.append(
            keep.figure(
                "accuracy-against-time",
                figures.accuracy_against_time(part, styles, finest),
                f"Accuracy against time, at {finest}². Left and down is better. Open: the coarse prediction and its "
                "interpolation. Grey: finite differences.",
            )
        )
    return {
        "title": (f"{records[0].tested_on}: " if records[0].tested_on else "")
        + f"{described(records[0])}: trained for {budget}"
        + (f", errors by {records[0].norm}" if records[0].norm != "points" else ""),
        "headline": headline,
        "overview": overview,
        "in_time": _in_time(part, [coarsest, finest], kinds, styles, keep),
        "worth": worth,
        "resources": keep.table("resources", tables.resources(part), RESOURCES, kinds),
        "tuning": list(tuning.told([record for _, record in trained])),
        "paired": paired,
        "details": details,
        "parts": [
            keep.figure(
                f"parts-{n}",
                figures.parts_of_the_error(part, styles, n),
                f"Parts of the relative L2 error at {n}²: by frequency band; near jumps of the coefficient, elsewhere.",
            )
            for n in dict.fromkeys([coarsest, finest])
            if "operator" in set(part[part.resolution == n].group)
        ],
        "spectra": [
            keep.figure(
                f"spectra-{n}",
                figures.spectra(_first_seed(records, n), styles),
                f"Energy at {n}² by frequency, relative to that of the truth; mean over the test samples.",
            )
            for n in dict.fromkeys([coarsest, finest])
        ],
        "galleries": _galleries(trained, keep),
        "curves": _curves([record for _, record in trained if record.history], styles, keep),
    }


def _matrices(records: Sequence[Record], keep: _Keeper) -> list[dict[str, Any]]:
    """Two tables a budget and resolution, of a suite of several datasets: errors, and what training elsewhere costs."""
    shown = []
    for budget, norm, n, errors, beside_own in matrices(records):
        kinds = {str(name): "baseline" for name in errors.index if name not in beside_own.index}
        name = f"matrix-{n}-{slug(budget)}" + (f"-{norm}" if norm != "points" else "")
        shown.append(
            keep.table(
                name,
                errors,
                f"Relative L2 error{tables.by(norm)} at {n}², trained for {budget}: a row for what a model was trained "
                "on, a column for what it was tested on; mean over seeds and test samples, with bootstrap interval. "
                "Solvers and mean solutions are those of the dataset that is tested on.",
                kinds,
            )
        )
        caption = (
            "The same, minus that of the model that was trained on what is tested on, paired over the test samples, "
            "with bootstrap interval; the seeds of each are drawn on their own."
        )
        shown.append(keep.table(f"{name}-beside-own", beside_own, caption))
    return shown


def _in_time(
    part: pd.DataFrame, resolutions: Sequence[int], kinds: dict[str, str], styles: figures.Styles, keep: _Keeper
) -> list[dict[str, Any]]:
    """A figure and a table of errors over time for each resolution; none where nothing is rolled out."""
    shown = []
    for n in dict.fromkeys(resolutions):
        if not len(cells := tables.at_times(part, n)):
            continue
        caption = (
            f"Relative L2 error of the states at {n}², mean over seeds and test samples, relative to what the training "
            f"mean leaves of the last of them, and for how long an error is below {THRESHOLD:g}. All begin with the "
            "same state; solvers, on the grid that they name."
        )
        figure = figures.error_over_time(part, styles, n)
        shown.append(
            {
                "figure": keep.figure(f"error-over-time-{n}", figure, f"Error over time at {n}². Dotted: no learning."),
                "table": keep.table(f"over-time-{n}", cells, caption, kinds),
            }
        )
    return shown


def _worth(records: Sequence[Record], times: Sequence[Timing], styles: figures.Styles, keep: _Keeper) -> dict[str, Any]:
    """What the operators are worth: a table, and the plane of accuracy and time for each grid and device."""
    rows = value.shown(value.worth(records, times), records)
    if not rows:
        return {"table": None, "planes": []}
    there = list(dict.fromkeys(row.device for row in rows))
    here = [each for each in times if each.dataset == tables.ground(records[0])[0] and each.device in there]
    planes = []
    for device, n in dict.fromkeys((row.device, row.resolution) for row in rows):
        by = [each for each in here if each.device == device]
        operators, solvers = (points(records, by, n) for points in (value.operator_points, value.solver_points))
        planes.append(
            keep.figure(
                f"plane-{n}" + f"-{slug(device)}" * (len(there) > 1),
                figures.plane(operators, solvers, styles, n, device),
                f"Accuracy against time at {n}², on {device}. Left and down is better. Grey: solvers on their grids.",
            )
        )
    caption = (
        f"Milliseconds of a prediction in the best batch on {' or '.join(there)}. The rival is the solver that "
        "validation samples chose, at the error of the operator, between two grids. Break-even: predictions after "
        "which labels and training are paid for, and tuning, too."
    )
    caption += " Some were timed on a busy machine: times.jsonl says which." * any(each.busy for each in here)
    return {"table": keep.table("worth", value.cells(rows), caption), "planes": planes}


def _first_seed(records: Sequence[Record], resolution: int) -> list[Evaluation]:
    """One row for each operator and its upsampled predictions at a resolution."""
    rows: dict[str, Evaluation] = {}
    for record in records:
        for row in record.evaluations:
            if row.resolution == resolution and tables.group_of(row, record) != "baseline":
                rows.setdefault(row.model, row)
    return list(rows.values())


def _galleries(trained: list[tuple[Path, Record]], keep: _Keeper) -> list[dict[str, str]]:
    """One gallery a model, of its first seed, at the finest resolution."""
    shown = {}
    for path, record in trained:
        fields = read_examples(path)
        if fields and record.model not in shown:
            own = [row for row in record.evaluations if kind_of(row, record) == "operator"]
            row = max(own, key=lambda row: row.resolution)
            shown[record.model] = keep.figure(
                f"samples-{slug(record.model)}",
                figures.gallery(fields, row, first_fields(record)),
                f"{record.model} at {row.resolution}²: the samples with the smallest, the median and the largest "
                "relative L2 error, which stands at the left. Each column has one colour scale, truth and prediction "
                "the same.",
                embed="png",
            )
            if "times" in fields:
                shown[f"{record.model} in time"] = keep.figure(
                    f"states-{slug(record.model)}",
                    figures.states(fields, row, first_fields(record)[1]),
                    f"{record.model} at {row.resolution}²: the sample with the median error, over time.",
                    embed="png",
                )
    return list(shown.values())


def first_fields(record: Record) -> tuple[Field, Field]:
    """The first input and the first output of the problem that a record is of."""
    return fields_of(record.dataset, "inputs", COEFFICIENT)[0], fields_of(record.dataset, "outputs", SOLUTION)[0]


def _curves(records: Sequence[Record], styles: figures.Styles, keep: _Keeper) -> list[dict[str, str]]:
    """Loss by epoch for all models, and alignment for those that logged it, of their first seed."""
    if not records:
        return []
    caption = "Validation error (thick) and training loss (thin) by epoch."
    shown = {"": keep.figure("training", figures.curves(records, styles), caption)}
    for record in records:
        logged = any(name.startswith("cosine ") for name in record.history[0])
        if logged and record.model not in shown:
            shown[record.model] = keep.figure(
                f"alignment-{slug(record.model)}",
                figures.alignment(record),
                f"{record.model}: updates against those of backpropagation at the same weights, in the first step of "
                "every epoch; one line a layer, from the input (dark) to the output (light).",
            )
    return list(shown.values())


def _summary(records: Sequence[Record], table: pd.DataFrame) -> str:
    names = ", ".join(table[table.group == "operator"].model.unique())
    samples = sorted({len(record.samples) for record in records})
    resolutions = ", ".join(f"{n}²" for n in sorted(table.resolution.unique()))
    return f"{names}, tested on {' or '.join(map(str, samples))} samples at {resolutions}, beside baselines."


def _unique(items: list[list[tuple[str, str]]]) -> list[list[tuple[str, str]]]:
    return [item for i, item in enumerate(items) if item not in items[:i]]
