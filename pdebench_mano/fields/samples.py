"""What samples are, wherever they are stored: two are the same if their inputs are.

That is so if they are the same draw, whatever grid, solver, tolerance or device came after it; or if their float32
inputs agree on the finest grid that both stored grids stride to, as those of a converted copy do.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from data_gen.grid import Grid
from data_gen.recipe import drawn
from data_gen.storage import DatasetInfo, read_json, write_text
from pdebench_mano.machine.typed import typed

FEWEST, MOST = 9, 65
"""Points a side of the grids that inputs are compared on, beside the stored one: fewer do not tell samples apart."""

DIGITS = 16
"""Hexadecimal digits of a SHA-256 that are kept."""


@runtime_checkable
class Opened(Protocol):
    """What is read of a dataset file, such as of a `pdebench_mano.fields.data.Dataset`."""

    info: DatasetInfo

    @property
    def file(self) -> Any:
        """The open HDF5 file."""


@dataclass(frozen=True)
class Samples:
    """Some samples of a dataset file.

    Attributes
    ----------
    draw : dict or None
        What drew them, see `data_gen.recipe.drawn`.
    positions : list of int
        Their positions, in the draw and in the file.
    inputs : dict
        Grid, in words → digests of the float32 inputs on it, one a sample.
    """

    draw: dict[str, Any] | None
    positions: list[int]
    inputs: dict[str, list[str]]

    @classmethod
    def of(cls, data: Opened, positions: Iterable[int | np.integer[Any]]) -> "Samples":
        """The samples at these positions of a dataset."""
        rows = [int(i) for i in positions]
        return cls.among(drawn(data.info.attributes), data.info.grid, rows, (data.file["nu"][i] for i in rows))

    @classmethod
    def among(
        cls, draw: dict[str, Any] | None, grid: Grid, positions: list[int], inputs: Iterable[np.ndarray]
    ) -> "Samples":
        """Samples from their inputs, ([inputs,] *shape) float32 arrays each, in the order of their positions."""
        whole = grid.shape[0]
        grids = [grid.coarsened(n) for n in grid.coarsenings() if FEWEST <= n <= MOST or n == whole]
        digests: dict[str, list[str]] = {words(each): [] for each, _ in grids}
        for a in inputs:
            for each, stride in grids:
                part = np.ascontiguousarray(a[..., ::stride, ::stride], dtype="<f4")
                digests[words(each)].append(hashlib.sha256(part.tobytes()).hexdigest()[:DIGITS])
        return cls(draw, positions, digests)

    @classmethod
    def read(cls, path: Path) -> "Samples":
        """Read back what `write` wrote.

        Raises
        ------
        FileNotFoundError, ValueError
            If there is no such file, or it holds something else.
        """
        samples = typed(cls, read_json(path, "draw", "positions", "inputs"), path)
        if any(len(digests) != len(samples.positions) for digests in samples.inputs.values()):
            raise ValueError(f"{path} is damaged: it has not one digest for each of {len(samples.positions)} positions")
        return samples

    def write(self, path: Path) -> None:
        """Keep them in a file."""
        write_text(path, json.dumps(asdict(self)))

    def shared(self, others: "Samples") -> list[int]:
        """Positions of those that are among `others` too."""
        one_draw = self.draw is not None and self.draw == others.draw
        same = set(self.positions) & set(others.positions) if one_draw else set()
        common = [grid for grid in self.inputs if grid in others.inputs]
        if common:
            finest = max(common, key=lambda grid: int(grid.split()[1].split("×")[0]))
            known = set(others.inputs[finest])
            same |= {i for i, digest in zip(self.positions, self.inputs[finest], strict=True) if digest in known}
        return sorted(same)


def words(grid: Grid) -> str:
    """A grid as a key: ``vertices 17×17``."""
    return f"{grid.kind} {grid}"


def refuse_overlap(tested: Samples, trained: Samples, who: str) -> None:
    """Refuse to test on samples that were trained on, or that the epoch was chosen by.

    Raises
    ------
    ValueError
        If there is any.
    """
    if shared := tested.shared(trained):
        raise ValueError(
            f"{len(shared)} of the {len(tested.positions)} samples to test on, sample {shared[0]} first, "
            f"are among those that {who} was trained or validated on"
        )
