"""What the formats share: a foreign file that is read slice by slice, and the part of ours that is written to one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from data_gen import storage

SAMPLES = 64
"""How many are in memory at once."""


@dataclass(frozen=True)
class Foreign:
    """An open file of another project, read slice by slice.

    Attributes
    ----------
    shape : (samples, n, m)
        Of the coefficients and of the solutions.
    coefficient, solution : callables
        From a slice of samples to (k, n, m) arrays.
    source : float or None
        Constant source, where the file says it.
    x, y : arrays or None
        Coordinates, where the file has them.
    """

    shape: tuple[int, int, int]
    coefficient: Callable[[slice], np.ndarray]
    solution: Callable[[slice], np.ndarray]
    source: float | None = None
    x: np.ndarray | None = None
    y: np.ndarray | None = None


def pair(path: Path, a: np.ndarray, u: np.ndarray) -> Foreign:
    """Coefficients and solutions (N, n, m) that are in memory.

    Raises
    ------
    ValueError
        If they are not of one such shape.
    """
    if a.ndim != 3 or a.shape != u.shape:
        raise ValueError(
            f"{path}: coefficients and solutions must be of one shape (N, n, m), got {a.shape} and {u.shape}"
        )
    return Foreign(a.shape, lambda rows: a[rows], lambda rows: u[rows])


class Selection:
    """The samples of a dataset that an export writes, at its resolution.

    Parameters
    ----------
    file : h5py.File
        An open file of this project's schema.
    split : str, optional
        Name of a split; all samples by default.
    resolution : int, optional
        Points along x, an exact stride of those there are.

    Raises
    ------
    ValueError
        If there is no such split, the resolution is no exact stride, or no foreign format can say what the file holds.
    """

    def __init__(self, file: h5py.File, split: str | None, resolution: int | None) -> None:
        self.file, self.info = file, storage.checked(Path(file.filename), file)
        if split is not None and split not in self.info.splits:
            raise ValueError(f"split must be one of {', '.join(self.info.splits) or 'none'}, got {split!r}")
        self.indices = np.arange(self.info.samples) if split is None else self.info.splits[split]
        if self.info.times or len(self.info.inputs) > 1 or len(self.info.outputs) > 1:
            raise ValueError(
                f"{self.info.path} holds {len(self.info.inputs)} inputs, {len(self.info.outputs)} outputs and "
                f"{len(self.info.times) or 'no'} times: other formats have one input, one output and no time"
            )
        restriction = self.info.attributes.get("restriction", "stride")
        if resolution is not None and restriction != "stride":
            raise ValueError(f"{self.info.path} comes to coarser grids by {restriction}: export it at its resolution")
        grid, stride = self.info.grid, 1
        if resolution is not None:
            grid, stride = grid.coarsened(resolution)
        self.x, self.y = (file[name][::stride] for name in storage.COORDINATES)
        self.stride = stride
        self.shape = (len(self.indices), len(self.x), len(self.y))
        self.indicator = self.info.attributes.get("coefficient") == "indicator"

    def blocks(self) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
        """Rows of the export, coefficients and solutions (k, n, m), float32."""
        s = slice(None, None, self.stride)
        for start in range(0, len(self.indices), SAMPLES):
            rows = np.asarray(self.indices[start : start + SAMPLES])
            a, u = self.file["nu"][rows], self.file["tensor"][rows, 0]
            yield slice(start, start + len(rows)), a[:, s, s], u[:, s, s]

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """All of it, in memory."""
        a, u = np.empty(self.shape, np.float32), np.empty(self.shape, np.float32)
        for rows, some_a, some_u in self.blocks():
            a[rows], u[rows] = some_a, some_u
        return a, u
