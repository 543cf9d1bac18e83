"""The part of a dataset of ours that is written to a file of another format."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Float

from data_gen import storage
from data_gen.formats.foreign import at_once


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

    Attributes
    ----------
    info : DatasetInfo
    indices : (samples,) int array
    grid : Grid
    x, y : arrays
        Coordinates.
    shape : (samples, n, m)
    indicator : bool
        Whether the input only names phases.

    Raises
    ------
    ValueError
        If there is no such split, or the resolution is no exact stride.
    """

    def __init__(self, file: h5py.File, split: str | None, resolution: int | None) -> None:
        self.file, self.info = file, storage.checked(Path(file.filename), file)
        if split is not None and split not in self.info.splits:
            raise ValueError(f"split must be one of {', '.join(self.info.splits) or 'none'}, got {split!r}")
        self.split = split
        self.indices = np.arange(self.info.samples) if split is None else self.info.splits[split]
        restriction = self.info.attributes.get("restriction", "stride")
        if resolution is not None and restriction != "stride":
            raise ValueError(f"{self.info.path} comes to coarser grids by {restriction}: export it at its resolution")
        self.grid, stride = self.info.grid, 1
        if resolution is not None:
            self.grid, stride = self.grid.coarsened(resolution)
        self.x, self.y = (file[name][::stride] for name in storage.COORDINATES)
        self.stride = stride
        self.shape = (len(self.indices), len(self.x), len(self.y))
        self.indicator = self.info.attributes.get("coefficient") == "indicator"

    @property
    def is_pair(self) -> bool:
        """Whether a sample is one input and one stationary output."""
        return len(self.info.inputs) == len(self.info.outputs) == 1 and not self.info.times

    @cached_property
    def states(self) -> list[int]:
        """The inputs that are the outputs at t = 0; none where some output is no input, or nothing is in time."""
        given, outputs = ([field.name for field in each] for each in (self.info.inputs, self.info.outputs))
        whole = bool(self.info.times) and set(outputs) <= set(given)
        return [given.index(name) for name in outputs] if whole else []

    def refuse(self, layout: str, holds: str) -> ValueError:
        """What is raised where a format cannot say what the file holds."""
        info = self.info
        return ValueError(
            f"{info.path} holds {len(info.inputs)} inputs, {len(info.outputs)} outputs and "
            f"{len(info.times) or 'no'} times: {layout} holds {holds}"
        )

    def blocks(
        self,
    ) -> Iterator[tuple[slice, Float[np.ndarray, "k inputs n m"], Float[np.ndarray, "k times outputs n m"]]]:
        """Rows of the export, inputs, and outputs with one time where they are stationary, float32."""
        s, (_, n, m) = slice(None, None, self.stride), self.shape
        size = at_once(len(self.info.inputs) + len(self.info.outputs) * max(1, len(self.info.times)), *self.grid.shape)
        for start in range(0, len(self.indices), size):
            rows = np.asarray(self.indices[start : start + size])
            order = np.argsort(rows)  # HDF5 reads in rising order
            a, u = (self.file[name][rows[order]][np.argsort(order)][..., s, s] for name in ("nu", "tensor"))
            a = a.reshape(len(rows), -1, n, m)
            yield slice(start, start + len(rows)), a, u.reshape(len(rows), -1, len(self.info.outputs), n, m)

    def pairs(self) -> Iterator[tuple[slice, Float[np.ndarray, "k n m"], Float[np.ndarray, "k n m"]]]:
        """The same of one input and one stationary output."""
        for rows, a, u in self.blocks():
            yield rows, a[:, 0], u[:, 0, 0]

    def trajectories(self) -> Iterator[tuple[slice, Float[np.ndarray, "k times outputs n m"]]]:
        """Outputs in time, from the state at t = 0 on."""
        for rows, a, u in self.blocks():
            yield rows, np.concatenate([a[:, None, self.states], u], 1)

    def arrays(self) -> tuple[Float[np.ndarray, "samples inputs n m"], Float[np.ndarray, "samples times outputs n m"]]:
        """All of it, in memory."""
        samples, n, m = self.shape
        a = np.empty((samples, len(self.info.inputs), n, m), np.float32)
        u = np.empty((samples, max(1, len(self.info.times)), len(self.info.outputs), n, m), np.float32)
        for rows, some_a, some_u in self.blocks():
            a[rows], u[rows] = some_a, some_u
        return a, u

    def splits(self) -> dict[str, np.ndarray]:
        """Indices of the splits among the samples that are written; none where only one split is."""
        return dict(self.info.splits) if self.split is None else {}
