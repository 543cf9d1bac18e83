"""Records → figures: each a matplotlib `Figure` in the palette of Okabe & Ito (2008), readable without colours too.

Figures are narrow, so that their text is legible on a phone; a model has one colour and one marker in all of them.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter, ScalarFormatter

from data_gen.problem import Field
from data_gen.storage import COEFFICIENT, SOLUTION
from pdebench_mano.evaluation.records import Evaluation, Record, ranked
from pdebench_mano.report.plane import Point, front
from pdebench_mano.report.tables import metric_name, of_quoted_schemes, order, over_time, timed

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vPX*"  # one more than colours, so that pairs repeat late
GREYS = ("#777777", "#999999", "#555555", "#AAAAAA")
CROSSES = "x+1234|"  # seven, so that pairs with the four greys repeat late
WIDTH = 4.8
UNLISTED = "_ "
"""Begins the label of a line that stands in no legend, before the name of the series that it belongs to."""
LOSS = ", training loss"
"""Ends it where the line is of the training loss."""
REACH, DEPTH, MARGIN = 10, 1000, 0.85
"""How far a logarithmic axis reaches above the median of what is greatest of each series, and below that of what is
least, at most: what is beyond squashes the rest. Else it begins at `MARGIN` of the least value."""


class Styles:
    """Colour, marker and label of every model: an operator's own; its upsampled predictions are open and dashed."""

    def __init__(self, table: pd.DataFrame) -> None:
        rows = table.drop_duplicates("model").set_index("model").loc[order(table)]
        self.operators = list(dict.fromkeys(rows[rows.group != "baseline"].of))
        self.baselines = list(table[table.group == "baseline"].model.unique())
        self.rows = {str(model): (row.group, row.of) for model, row in rows.iterrows()}

    def __call__(self, model: str) -> dict[str, Any]:
        group, operator = self.rows[model]
        style: dict[str, Any] = {"label": literally(model)}
        if group == "baseline":
            i = self.baselines.index(model)
            return style | {"color": GREYS[i % len(GREYS)], "marker": CROSSES[i % len(CROSSES)], "linestyle": ":"}
        i = self.operators.index(operator)
        style |= {"color": PALETTE[i % len(PALETTE)], "marker": MARKERS[i % len(MARKERS)], "linestyle": "-"}
        return style if group == "operator" else style | {"linestyle": "--", "markerfacecolor": "white"}


def canvas(height: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Figure, np.ndarray]:
    """An empty figure and its axes, (rows, columns)."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    for axis in axes.flat:
        axis.tick_params(labelsize=8)
    return figure, axes


def error_against_resolution(table: pd.DataFrame, styles: Styles, everything: bool = False) -> Figure:
    """Mean relative L2 error of `uncrowded` rows, or of all, against the resolution; bars are the range over seeds.

    The axis ends before a curve that would squash the others, unless all rows are asked for.
    """
    figure, ((axis,),) = canvas(3.8)
    table = table if everything else uncrowded(table)
    for model in order(table):
        cells = table[table.model == model].groupby("resolution").relative_l2.agg(["mean", "min", "max"])
        bars = [cells["mean"] - cells["min"], cells["max"] - cells["mean"]]
        axis.errorbar(cells.index, cells["mean"], bars, markersize=5, linewidth=1.3, **styles(model))
    axis.set(xscale="log", yscale="log", xlabel="grid points a side", ylabel="relative L2 error")
    axis.xaxis.set_major_locator(FixedLocator(sorted(table.resolution.unique())))
    axis.xaxis.set_major_formatter(ScalarFormatter())
    axis.xaxis.set_minor_formatter(NullFormatter())
    plain_numbers(axis.yaxis)
    if not everything and (ends := reach([list(line.get_ydata()) for line in axis.lines])):
        axis.set_ylim(*ends)
    gridded(axis)
    legend(figure, axis)
    return figure


def reach(columns: Sequence[Sequence[float | None]]) -> list[float] | None:
    """Least and greatest value for a logarithmic axis on which no series squashes the others; None if all fit."""
    values = [[each for each in column if each is not None and each > 0] for column in columns]
    least, greatest = ([end(column) for column in values if column] for end in (min, max))
    if not least:
        return None
    bottom, top = float(np.median(least)) / DEPTH, REACH * float(np.median(greatest))
    if bottom <= min(least) and max(greatest) <= top:
        return None
    return [max(bottom, MARGIN * min(least)), min(top, max(greatest) / MARGIN)]


def uncrowded(table: pd.DataFrame) -> pd.DataFrame:
    """Without the schemes beside the quoted one, and a mean solution that squashes the rest: ten times as wrong."""
    table = of_quoted_schemes(table)
    means = table.groupby("model").relative_l2.mean()
    mean = table.model.isin(table[table.kind == "mean"].model)
    usual = means[table[~mean].model.unique()].median() if (~mean).any() else math.inf
    return table[~mean | (table.model.map(means) < REACH * usual)]


def accuracy_against_time(table: pd.DataFrame, styles: Styles, resolution: int) -> Figure:
    """Mean relative L2 error against the time of one prediction, both at one resolution: solvers and networks.

    The time of an upsampled prediction is that of the coarse one and of its interpolation. What is no prediction has no
    place in it: the mean solution is left out, the uncertainty of the labels is a line. So is the Pareto front. Where
    operators ran on one device and solvers on another, these are left out.
    """
    figure, ((axis,),) = canvas(3.8)
    here = table[table.resolution == resolution]
    operators_on = here[here.kind == "operator"].device.mode()[:1]
    here = here[here.device.isin(operators_on) | (here.kind == "labels") | operators_on.empty]
    kinds = here.groupby("model").kind.first()
    here = here.groupby("model")[["relative_l2"]].mean().join(timed(here).groupby("model").seconds.mean())
    points: list[Point] = []
    for model in order(table):
        if model not in here.index or kinds[model] == "mean":
            continue
        error, seconds = map(float, here.loc[model])
        if kinds[model] == "labels":
            axis.axhline(error, **styles(model) | {"marker": ""})
        elif seconds > 0:
            points.append(Point(model, resolution, error, 1e3 * seconds))
            axis.plot(1e3 * seconds, error, markersize=7, **styles(model) | {"linestyle": ""})
    pareto(axis, points)
    axis.set(
        xscale="log", yscale="log", xlabel=f"time of one prediction at {resolution}² [ms]", ylabel="relative L2 error"
    )
    plain_numbers(axis.xaxis)
    plain_numbers(axis.yaxis)
    gridded(axis)
    legend(figure, axis)
    return figure


def plane(operators: Sequence[Point], solvers: Sequence[Point], styles: Styles, resolution: int, device: str) -> Figure:
    """Mean relative L2 error against time, operators and solvers on one device, with the Pareto front of all.

    A solver has a line through its grids.
    """
    figure, ((axis,),) = canvas(4.0)
    for point in operators:
        axis.plot(point.ms, point.error, markersize=7, **styles(point.name) | {"linestyle": ""})
    for i, name in enumerate(dict.fromkeys(point.name for point in solvers)):
        line = sorted((point for point in solvers if point.name == name), key=lambda point: point.grid)
        style = {"color": GREYS[i % len(GREYS)], "marker": CROSSES[i % len(CROSSES)], "linestyle": ":"}
        style |= {"label": literally(name)}
        axis.plot([point.ms for point in line], [point.error for point in line], markersize=7, **style)
        for point in line:
            axis.annotate(f"{point.grid}²", (point.ms, point.error), (4, 3), textcoords="offset points", fontsize=6)
    pareto(axis, [*operators, *solvers])
    axis.set(xscale="log", yscale="log", ylabel=f"relative L2 error at {resolution}²")
    axis.set_xlabel(f"time of a prediction in the best batch [ms]\n{literally(device)}")
    plain_numbers(axis.xaxis)
    plain_numbers(axis.yaxis)
    gridded(axis)
    legend(figure, axis)
    return figure


def pareto(axis: Axes, points: Sequence[Point]) -> None:
    """A line through the points of which no other is both as fast and as accurate."""
    best = front(points)
    steps: dict[str, Any] = {"color": "black", "linewidth": 0.8, "drawstyle": "steps-post", "label": "Pareto front"}
    axis.plot([point.ms for point in best], [point.error for point in best], zorder=1, **steps)


def parts_of_the_error(table: pd.DataFrame, styles: Styles, resolution: int) -> Figure:
    """Mean relative L2 error of the operators by frequency band, and near jumps and elsewhere, at one resolution."""
    figure, ((axis,),) = canvas(3.8)
    here = table[(table.resolution == resolution) & (table.group == "operator")].dropna(axis="columns", how="all")
    bands = [name for name in here.columns if name.startswith("band_")]
    parts = [*bands, *(name for name in ("near_jumps", "elsewhere") if name in here)]
    here = here.groupby("model")[parts].mean()
    for model in order(table):
        if model in here.index:
            axis.plot(range(len(parts)), here.loc[model], markersize=6, **styles(model) | {"linestyle": ""})
    axis.axvline(len(bands) - 0.5, color="#dddddd")
    axis.set_xticks(range(len(parts)), [metric_name(part) for part in parts])
    axis.set(yscale="log", xlabel="frequency band [cycles per unit length] | place", ylabel="part of relative L2 error")
    plain_numbers(axis.yaxis)
    gridded(axis)
    legend(figure, axis)
    return figure


def spectra(rows: Sequence[Evaluation], styles: Styles) -> Figure:
    """Energy of truth, predictions and errors by frequency, at the resolution of the rows."""
    figure, ((upper,), (lower,)) = canvas(5.4, rows=2, sharex=True)
    frequency = np.arange(len(rows[0].spectra.truth)) + 0.5
    for axis in (upper, lower):
        axis.plot(frequency, rows[0].spectra.truth, color="black", linewidth=2.2, alpha=0.35, label="truth")
        axis.set(xscale="log", yscale="log")
    for row in rows:
        style = styles(row.model) | {"marker": "", "linewidth": 1.3}
        upper.plot(frequency, row.spectra.prediction, **style)
        lower.plot(frequency, row.spectra.error, **style)
    upper.set_ylabel("energy of predictions")
    lower.set_ylabel("energy of errors")
    lower.set_xlabel("frequency [cycles per unit length]")
    plain_numbers(lower.xaxis)
    gridded(upper, lower)
    floor = 0.1 * min(value for value in rows[0].spectra.truth if value > 0)
    lower.set_ylim(bottom=floor)
    upper.set_ylim(bottom=floor)
    legend(figure, upper)
    return figure


def curves(records: Sequence[Record], styles: Styles) -> Figure:
    """Training loss (thin) and validation error (thick) against the epoch; one line a seed."""
    figure, ((axis,),) = canvas(3.8)
    named: set[str] = set()
    for record in records:
        style = styles(record.model) | {"marker": "." if len(record.history) == 1 else ""}
        name = style["label"]
        thick = {"linewidth": 1.5} | ({"label": UNLISTED + name} if record.model in named else {})
        thin = {"linewidth": 0.6, "alpha": 0.7, "label": UNLISTED + name + LOSS}
        epochs = [row["epoch"] for row in record.history]
        axis.plot(epochs, [row["validation"] for row in record.history], **style | thick)
        axis.plot(epochs, [row["loss"] for row in record.history], **style | thin)
        named.add(record.model)
    axis.set(yscale="log", xlabel="epoch", ylabel="validation error, training loss (thin)")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    plain_numbers(axis.yaxis)
    gridded(axis)
    legend(figure, axis)
    return figure


def alignment(record: Record) -> Figure:
    """Cosine and norm ratio of the regime's updates to backpropagation's against the epoch, one line a layer."""
    layers = [name.removeprefix("cosine ") for name in record.history[0] if name.startswith("cosine ")]
    figure, ((upper,), (lower,)) = canvas(4.6, rows=2, sharex=True)
    epochs = [row["epoch"] for row in record.history]
    for place, layer in enumerate(layers):
        shade = 0.9 * place / max(1, len(layers) - 1)  # the last tenth is too light to be seen on white
        line = {"color": colormaps["cividis"](shade), "linewidth": 1.3, "label": literally(layer)}
        upper.plot(epochs, [row[f"cosine {layer}"] for row in record.history], **line)
        lower.plot(epochs, [row[f"ratio {layer}"] for row in record.history], **line)
    upper.set(ylabel="cosine", ylim=(-1.05, 1.05))
    lower.set(yscale="log", ylabel="ratio of norms", xlabel="epoch")
    lower.xaxis.set_major_locator(MaxNLocator(integer=True))
    plain_numbers(lower.yaxis)
    gridded(upper, lower)
    legend(figure, upper, fontsize=7)
    return figure


def error_over_time(table: pd.DataFrame, styles: Styles, resolution: int) -> Figure:
    """Mean relative L2 error of every rollout at one resolution against time."""
    figure, ((axis,),) = canvas(3.8)
    for model, (times, means) in over_time(table, resolution).items():
        axis.plot(times, means, markersize=4, linewidth=1.3, **styles(model))
    axis.set(yscale="log", xlabel="time", ylabel=f"relative L2 error at {resolution}²")
    plain_numbers(axis.yaxis)
    gridded(axis)
    legend(figure, axis)
    return figure


def states(fields: dict[str, np.ndarray], row: Evaluation, shown: Field = SOLUTION[0]) -> Figure:
    """Truth, prediction and error of the median sample of a row at some times, one colour scale for each of them.

    `shown` is what the states are of.
    """
    truth, prediction = fields["truths"][1], fields["predictions"][1]
    figure, axes = canvas(3.9, rows=3, columns=len(truth), sharex=True, sharey=True)
    error = prediction - truth
    largest, size = (np.nanmax(np.abs(each)) or 1.0 for each in (error, truth))
    parts = [(f"truth {symbol(shown)}", truth, "RdBu_r", size), ("prediction", prediction, "RdBu_r", size)]
    for line, (name, values, colours, reach) in zip(axes, [*parts, ("error", error, "PuOr", largest)], strict=True):
        for axis, field in zip(line, values, strict=True):
            options = {"cmap": colours, "vmin": -reach, "vmax": reach, "interpolation": "nearest"}
            image = axis.imshow(field.T, origin="lower", extent=(0, 1, 0, 1), **options)
            axis.set_xticks([])
            axis.set_yticks([])
        line[0].set_ylabel(name, fontsize=8)
        figure.colorbar(image, ax=line, aspect=12, pad=0.02).ax.tick_params(labelsize=6)
    for axis, time in zip(axes[0], fields["times"], strict=True):
        axis.set_title(f"t = {time:g}", fontsize=8)
    for axis in axes[-1]:
        axis.set_xlabel("x", fontsize=7)
    return figure


def gallery(
    fields: dict[str, np.ndarray], row: Evaluation, shown: tuple[Field, Field] = (COEFFICIENT[0], SOLUTION[0])
) -> Figure:
    """Best, median and worst sample of a row: input, truth, prediction, error, one colour scale a column.

    `shown` is what the input and the solution are.
    """
    figure, axes = canvas(4.6, rows=3, columns=4, sharex=True, sharey=True)
    error = fields["prediction"] - fields["truth"]
    largest = np.nanmax(np.abs(error)) or 1.0
    both = np.concatenate([fields["truth"], fields["prediction"]])
    u = {"cmap": "viridis", "vmin": np.nanmin(both), "vmax": np.nanmax(both)}
    a = {"cmap": "Greys", "vmin": fields["a"].min(), "vmax": fields["a"].max()}
    columns = (
        (f"{literally(shown[0].name)} {symbol(shown[0])}", fields["a"], a),
        (f"truth {symbol(shown[1])}", fields["truth"], u),
        ("prediction", fields["prediction"], u),
        ("error", error, {"cmap": "PuOr", "vmin": -largest, "vmax": largest}),
    )
    places = ranked(row.errors["relative_l2"])
    for column, (title, values, scale) in enumerate(columns):
        for axis, field in zip(axes[:, column], values, strict=True):
            image = axis.imshow(field.T, origin="lower", extent=(0, 1, 0, 1), interpolation="nearest", **scale)
            axis.set_xticks([0, 1])
            axis.set_yticks([0, 1])
            axis.tick_params(labelsize=6)
        axes[0, column].set_title(title, fontsize=8)
        axes[2, column].set_xlabel("x", fontsize=7, labelpad=-4)
        bar = figure.colorbar(image, ax=axes[:, column], location="bottom", aspect=12, pad=0.02)
        bar.ax.tick_params(labelsize=6, rotation=45)
    for axis, (name, place) in zip(axes[:, 0], places.items(), strict=True):
        axis.set_ylabel(f"{name}: {row.errors['relative_l2'][place]:.4f}\ny", fontsize=7, labelpad=-2)
    return figure


def symbol(field: Field) -> str:
    """The symbol of a field as mathematics, if it is plain letters."""
    return f"${field.symbol}$" if field.symbol.isalnum() else literally(field.symbol)


def literally(text: str) -> str:
    """Text that Matplotlib shows as it is: a dollar begins no mathematics, and a leading _ hides no label."""
    return ("\u200b" if text.startswith("_") else "") + text.replace("$", r"\$")


def plain_numbers(axis: Axis) -> None:
    """Numbers as 0.02 instead of 2·10⁻² on a logarithmic axis, the more of them the fewer decades there are."""
    low, high = axis.get_view_interval()
    digits = "123456789" if high < 5 * low else "125" if high < 100 * low else "1"
    numbers = FuncFormatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in digits else "")
    axis.set_major_formatter(numbers)
    axis.set_minor_formatter(numbers)
    axis.set_tick_params(which="minor", labelsize=8)


def gridded(*axes: Axes) -> None:
    """A light grid behind the data."""
    for axis in axes:
        axis.grid(which="both", color="#dddddd", linewidth=0.5)
        axis.set_axisbelow(True)


def legend(figure: Figure, axis: Axes, fontsize: int = 8) -> None:
    """The legend below the axes, where it covers nothing; the figure grows by its lines."""
    handles, labels = axis.get_legend_handles_labels()
    columns = 2 if max(map(len, labels)) < 28 else 1
    figure.set_figheight(figure.get_figheight() + 0.17 * -(-len(labels) // columns))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=fontsize, frameon=False)
