"""Tables and figures as files, and as the page shows them."""

import base64
import io
import math
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from pdebench_mano.report.interactive import plot
from pdebench_mano.report.tables import LASTING, NOTE, heading

TYPES = {"png": "image/png", "csv": "text/csv"}

WORDS = {"kind", "budget", NOTE}
UNRANKED = {"seeds", "parameters"}
"""Columns that no row is best in: those of words, and those of which less is not better."""

NUMBER = re.compile(r"[+-]?(\d[\d,]*)?\.?\d+(e[+-]?\d+)?")


@dataclass(frozen=True)
class Keeper:
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

    def csv(self, name: str, table: pd.DataFrame, index: bool = False) -> tuple[str, str]:
        """Write a table; returns the name of its file, and its text."""
        path = Path(f"{self.path('tables', name)}.csv")
        table.to_csv(path, index=index)
        return path.name, path.read_text(encoding="utf-8")

    def table(
        self,
        name: str,
        cells: pd.DataFrame,
        caption: str,
        kinds: dict[str, str] | None = None,
        best: Collection[str] = (),
        first: str = "model",
        links: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """Write a table; returns what the page shows.

        Parameters
        ----------
        name : str
            Of the file.
        cells : DataFrame
            Texts, a row a model.
        caption : str
        kinds : dict, optional
            Row → what it is, for its colour.
        best : collection of str
            Rows of which the best number of a column is shown in bold, see `best_of`.
        first : str
            Heading of the index.
        links : dict, optional
            Row → address.
        """
        file, text = self.csv(name, cells.rename_axis(first), index=True)
        cells = cells.loc[:, (cells != "").any()]  # the file keeps what nothing is known of
        values = {
            j: [None if name in WORDS else number(cell) for cell in cells.iloc[:, j]]
            for j, name in enumerate(cells.columns)
        }
        competing = [str(label) in best for label in cells.index]
        bold = {
            j: best_of(str(name), values[j], competing) if name not in UNRANKED else set()
            for j, name in enumerate(cells.columns)
        }
        rows = [
            {
                "kind": (kinds or {}).get(str(label), ""),
                "label": label,
                "link": (links or {}).get(str(label), ""),
                "cells": [{"text": cells.iloc[i, j], "best": i in bold[j]} for j in range(cells.shape[1])],
            }
            for i, label in enumerate(cells.index)
        ]
        columns = [
            {"name": heading(column), "numeric": any(value is not None for value in values[j])}
            for j, column in enumerate(cells.columns)
        ]
        return {
            "name": f"{self.prefix}{name}",
            "caption": caption,
            "first": first,
            "columns": columns,
            "rows": rows,
            "csv": {"name": file, "source": embedded("csv", text.encode())},
        }

    def figure(self, name: str, figure: Figure, caption: str, whole: Figure | None = None) -> dict[str, Any]:
        """Write a figure as SVG and PNG; returns what the page shows, a lighter copy of the PNG among it.

        Parameters
        ----------
        name : str
            Of the files.
        figure : Figure
        caption : str
        whole : Figure, optional
            With series that the picture leaves out; see `plot`.
        """
        path, data = self.path("figures", name), {}
        for suffix, options in {"svg": {"metadata": {"Date": None}}, "png": {"dpi": 200}}.items():
            buffer = io.BytesIO()
            figure.savefig(buffer, format=suffix, **options)  # type: ignore[arg-type]
            figure.set_layout_engine("none")  # what the first one has laid out serves the second
            data[suffix] = buffer.getvalue()
            Path(f"{path}.{suffix}").write_bytes(data[suffix])
        drawn = plot(figure, whole)
        picture = lighter(data["png"], 0.6, 256) if drawn is None else lighter(data["png"], 1.0, 48)
        return {
            "name": path.name,
            "caption": caption,
            "source": embedded("png", picture),
            "files": {suffix: f"figures/{path.name}.{suffix}" for suffix in data},
            "plot": drawn,
        }


def lighter(png: bytes, scale: float, colours: int) -> bytes:
    """A picture with fewer points a side and fewer colours, a fraction of its size."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    if scale < 1:
        image = image.resize((round(scale * image.width), round(scale * image.height)), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.quantize(colours).save(buffer, "png", optimize=True)
    return buffer.getvalue()


def embedded(suffix: str, data: bytes) -> str:
    """A file as a link that holds it."""
    return f"data:{TYPES[suffix]};base64,{base64.b64encode(data).decode()}"


def number(cell: Any) -> float | None:
    """The number that a cell begins with, to sort by; None if it begins with none.

    Examples
    --------
    >>> number(".0123 [.0119, .0127]"), number("1,234"), number("+.5"), number("one seed")
    (0.0123, 1234.0, 0.5, None)
    """
    found = NUMBER.match(str(cell))
    return float(found[0].replace(",", "")) if found else None


def best_of(name: str, column: list[float | None], competing: list[bool]) -> set[int]:
    """Places of the best value of those that compete, if several do and they differ: the smallest, or the longest time.

    They are times for which an error is small, see `pdebench_mano.report.tables.at_times`.
    """
    sign = -1 if name.startswith(LASTING) else 1
    values = {i: sign * value for i, value in enumerate(column) if value is not None and competing[i]}
    least = min(values.values(), default=math.nan)
    return {i for i, value in values.items() if value == least} if len({*values.values()}) > 1 else set()
