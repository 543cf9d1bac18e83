"""A Matplotlib figure → what a browser draws it from, with the same lines, colours and axes.

The page shows each figure of lines twice: as a picture, on paper and where no script runs, and as a plot whose series
can be switched and whose values can be read. Both come of one `Figure`, so that they say the same.
"""

import math
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator

from pdebench_mano.report.figures import LOSS, UNLISTED, reach

SYMBOLS = {
    "o": "circle",
    ".": "circle",
    "s": "square",
    "D": "diamond",
    "^": "triangle-up",
    "v": "triangle-down",
    "P": "cross",
    "X": "x",
    "*": "star",
    "x": "x-thin-open",
    "+": "cross-thin-open",
    "1": "y-down-open",
    "2": "y-up-open",
    "3": "y-left-open",
    "4": "y-right-open",
    "|": "line-ns-open",
}
DASHES = {"-": "solid", "--": "dash", ":": "dot"}


def plot(figure: Figure, whole: Figure | None = None) -> dict[str, Any] | None:
    """The axes of a figure, from top to bottom, with their lines; None if it has no lines.

    Parameters
    ----------
    figure : Figure
        Made by `pdebench_mano.report.figures`.
    whole : Figure, optional
        The same with series that it leaves out, which are drawn when their names are clicked.

    Returns
    -------
    dict
        ``axes``: a list of ``x``, ``y`` (title, log, ticks, range) and ``lines`` (name, x, y, color, …).
    """
    if not any(axis.lines for axis in figure.axes) or any(axis.images for axis in figure.axes):
        return None
    shown = {line["group"] for axis in figure.axes for line in _lines(axis)}
    return {"axes": [_axes(axis, shown) for axis in (whole or figure).axes]}


def shown_name(label: str) -> str:
    """What `figures.literally` has made legible for Matplotlib, as it was."""
    return label.removeprefix("\u200b").replace("\\$", "$")


def _axes(axes: Axes, shown: Collection[str]) -> dict[str, Any]:
    lines = [line | {"hidden": line["group"] not in shown} for line in _lines(axes)]
    drawn = [line for line in lines if not line["hidden"]]
    y = _axis(axes.yaxis, axes.get_ylabel(), axes.get_yscale())
    if not axes.get_autoscaley_on():
        y["range"] = [float(each) for each in axes.get_ylim()]
    elif y["log"]:
        y["range"] = reach([line["y"] for line in drawn])
    return {"x": _axis(axes.xaxis, axes.get_xlabel(), axes.get_xscale()), "y": y, "lines": lines}


def _axis(axis: Axis, title: str, scale: str) -> dict[str, Any]:
    told: dict[str, Any] = {"title": shown_name(title), "log": scale == "log", "ticks": None, "range": None}
    locator, formatter = axis.get_major_locator(), axis.get_major_formatter()
    if isinstance(locator, FixedLocator):
        places = [float(each) for each in locator()]
        told["ticks"] = {"places": places, "names": list(formatter.format_ticks(places))}
    return told


def _lines(axes: Axes) -> Iterator[dict[str, Any]]:
    """Every line of data: those with bars, then the others; what is no data, a separator, is not told."""
    barred: dict[Line2D, ErrorbarContainer] = {
        each.lines[0]: each for each in axes.containers if isinstance(each, ErrorbarContainer)
    }
    texts = {tuple(map(float, text.xy)): text.get_text() for text in axes.texts if hasattr(text, "xy")}
    for line in axes.lines:
        container = barred.get(line)
        label = str(container.get_label() if container else line.get_label())
        if label.startswith("_child"):
            continue
        told = _line(line, label, axes)
        if container:
            bars = container.lines[2][0].get_segments()
            told |= {"low": numbers(bar[0][1] for bar in bars), "high": numbers(bar[-1][1] for bar in bars)}
        points = zip(told["x"], told["y"], strict=True)
        told["texts"] = [texts.get(point, "") for point in points] if texts else None
        yield told


def _line(line: Line2D, label: str, axes: Axes) -> dict[str, Any]:
    """One line; one across the axes, as `axhline` draws it, goes from the least to the greatest abscissa."""
    x, y = (list(np.asarray(each, float)) for each in line.get_data())
    if line.get_transform() == axes.get_yaxis_transform(which="grid"):
        x = list(axes.get_xlim())
    marker, style = str(line.get_marker()), str(line.get_linestyle())
    symbol = SYMBOLS.get(marker)
    if symbol and line.get_markerfacecolor() == "white":
        symbol += "-open"
    drawn = style in DASHES
    return {
        "name": shown_name(label.removeprefix(UNLISTED)),
        "group": shown_name(label.removeprefix(UNLISTED)).removesuffix(LOSS),
        "listed": not label.startswith(UNLISTED),
        "x": numbers(x),
        "y": numbers(y),
        "color": to_hex(line.get_color()),
        "width": float(line.get_linewidth()),
        "opacity": float(line.get_alpha() or 1),
        "dash": DASHES.get(style, "solid"),
        "symbol": symbol,
        "mode": "+".join(["lines"] * drawn + ["markers"] * (symbol is not None)),
        "steps": line.get_drawstyle() == "steps-post",
        "low": None,
        "high": None,
        "texts": None,
    }


def numbers(values: Any) -> list[float | None]:
    """Numbers as JSON has them: five digits, and None for what is not finite."""
    return [float(f"{value:.5g}") if math.isfinite(value) else None for value in values]
