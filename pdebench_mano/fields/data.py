"""A dataset file as PyTorch sees it: opened and checked once, viewed at one split and resolution."""

import math
import os
from collections.abc import Callable, Hashable, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import h5py
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import default_collate

from data_gen import storage
from data_gen.grid import Grid
from data_gen.problem import Field, Problem, Symmetry
from data_gen.recipe import problem_of
from pdebench_mano.fields.operator import Fields

Stored = Float[np.ndarray, "_ stored_height stored_width"]
Sample = tuple[Float[Tensor, "inputs height width"], Float[Tensor, "outputs height width"]]

Pairs = Literal["final", "step"]
PAIRS: tuple[Pairs, ...] = get_args(Pairs)

CACHE_BYTES = 1 << 30
"""Largest view that is kept in memory."""


class Dataset:
    """A dataset file, opened and checked once; it stands wherever its path does.

    Parameters
    ----------
    path : path
        A file of the suite's schema (see `data_gen.storage`).
    trust : bool
        Whether to run a problem that is code of a user's own, where the file names one.

    Attributes
    ----------
    path : Path
    info : DatasetInfo
        What the file says about itself.
    arrays : dict
        Those parameters of the problem that are arrays.

    Raises
    ------
    FileNotFoundError, ValueError
        If the file, or a shard of it, is missing, truncated or not of the schema, or what it says is not as it was
        written; of the samples themselves, `data_gen.verification` recomputes the checksums.
    """

    def __init__(self, path: str | Path, trust: bool = False) -> None:
        self.path, self.trust = Path(path), trust
        self._process, self._open = os.getpid(), ExitStack()
        self._remembered: dict[Hashable, Tensor] = {}
        with ExitStack() as stack:
            self._file = stack.enter_context(storage.open_hdf5(self.path))
            self.info = storage.checked(self.path, self._file)
            self.arrays = storage.arrays_of(self._file)
            self._open = stack.pop_all()

    @property
    def grid(self) -> Grid:
        """The grid that the samples are stored on."""
        return self.info.grid

    @cached_property
    def problem(self) -> Problem | None:
        """The problem that the samples are of; None where it is not known.

        Raises
        ------
        ValueError
            If it is code of a user's own that is not trusted, or not what it was.
        """
        return problem_of(self.info, self.arrays, self.trust)

    @property
    def file(self) -> h5py.File:
        """The open file, opened again in another process: an HDF5 handle does not survive a fork."""
        if self._process != os.getpid():
            self._process, self._open = os.getpid(), ExitStack()
            self._file = self._open.enter_context(storage.open_hdf5(self.path))
        return self._file

    def __fspath__(self) -> str:
        return str(self.path)

    def view(
        self,
        split: str | None = None,
        resolution: int | None = None,
        *,
        pairs: str = "final",
        indices: Any = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> "View":
        """The samples of a split, or all of them, at one resolution.

        Parameters
        ----------
        pairs : {"final", "step"}
            final: the inputs and the solution, in time the last one, see `View`; step: a state, with the inputs that
            are no state, and the next one, see `pdebench_mano.fields.steps.Steps`.

        Raises
        ------
        ValueError
            For other pairs, steps of a file whose times are not evenly spaced from 0, and as `View`.
        """
        from pdebench_mano.fields.steps import Steps  # which is a view

        if pairs not in PAIRS:
            raise ValueError(f"pairs must be {' or '.join(PAIRS)}, got {pairs!r}")
        kind = View if pairs == "final" else Steps
        return kind(self, split, resolution, indices=indices, cache_bytes=cache_bytes)

    def remembered(self, key: Hashable, read: Callable[[], Tensor]) -> Tensor:
        """What was read under this key, or is read now: trainings one after another view the same samples.

        The last of it is remembered, up to `CACHE_BYTES`.
        """
        if key not in self._remembered:
            self._remembered[key] = read()
        self._remembered[key] = found = self._remembered.pop(key)
        while sum(each.nbytes for each in self._remembered.values()) > CACHE_BYTES:
            del self._remembered[next(iter(self._remembered))]
        return found

    def __getstate__(self) -> dict[str, Any]:
        kept = {name: value for name, value in self.__dict__.items() if name != "problem"}
        return kept | {"_process": None, "_open": None, "_file": None, "_remembered": {}}


def opened(data: Dataset | str | Path, trust: bool = False) -> Dataset:
    """A dataset as it is, or opened, where a path is given."""
    return data if isinstance(data, Dataset) else Dataset(data, trust)


class View(TorchDataset[Sample]):
    """Pairs (inputs a, solution u), (channels, height, width) float32 each, in physical units.

    Of a problem in time, u is the solution at the last of its times. Fields are read from the file when asked for; a
    view that fits `cache_bytes` is read once and kept, a larger one is never held in memory.

    Parameters
    ----------
    dataset : Dataset
    split : {"train", "val", "test"}, optional
        Which samples; all of them by default.
    resolution : int, optional
        Points along the first axis, to which the problem restricts the stored grid, by an exact stride if it says no
        more; the stored resolution by default.
    indices : sequence of int, optional
        Positions within the split to keep.
    cache_bytes : int
        Largest split, in bytes at the chosen resolution, that is kept in memory.

    Attributes
    ----------
    info : DatasetInfo
    grid : Grid
    resolution, stride : int
    shape : (int, int)
    inputs, outputs : tuple of Field
        What the channels of a pair are.
    source : float or None
        Constant source f of Darcy flow, None where it is unknown or varies.
    samples : (len,) int array
        Position of each sample in the file.

    Raises
    ------
    ValueError
        If the file has no such split, or if the resolution is no exact stride (the message lists those that are).
    """

    def __init__(
        self,
        dataset: Dataset,
        split: str | None = None,
        resolution: int | None = None,
        *,
        indices: Any = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self.dataset, self.info, self.path, self.split = dataset, dataset.info, dataset.path, split
        self.source = self.info.source
        if split is not None and split not in self.info.splits:
            held = ", ".join(self.info.splits) or "none"
            raise ValueError(f"split {split!r} is not in {self.path}; its splits are: {held}")
        samples = np.arange(self.info.samples) if split is None else np.asarray(self.info.splits[split])
        self.samples = samples if indices is None else samples[np.asarray(indices, dtype=int)]
        self.grid, self.stride = (self.info.grid, 1) if resolution is None else self.info.grid.coarsened(resolution)
        self.resolution, self.shape = self.grid.shape[0], self.grid.shape
        self.inputs: tuple[Field, ...] = self.info.inputs
        self.outputs: tuple[Field, ...] = self.info.outputs
        whole = (len(self.samples), self._kept, *self.shape)
        self._cache = torch.empty(whole) if 4 * math.prod(whole) <= cache_bytes else None
        self._held = np.zeros(len(self.samples), dtype=bool)

    @property
    def channels(self) -> tuple[int, int]:
        """How many a pair has, of inputs and of outputs."""
        return len(self.inputs), len(self.outputs)

    @property
    def _kept(self) -> int:
        """How many fields are kept of a sample."""
        return len(self.info.inputs) + len(self.info.outputs)

    @property
    def symmetries(self) -> Sequence[Symmetry]:
        """The maps of this grid that take solutions to solutions; none where the problem is not known."""
        problem = self.dataset.problem
        return problem.symmetries(self.grid) if problem is not None else []

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.__getitems__([range(len(self))[index]])[0]

    def __getitems__(self, indices: list[int]) -> list[Sample]:
        a, u = self.batch(indices)
        return list(zip(a, u, strict=True))

    def batch(
        self, indices: Any
    ) -> tuple[Float[Tensor, "batch inputs height width"], Float[Tensor, "batch outputs height width"]]:
        """The samples at `indices`, stacked; on the device that `hold` moved them to, else the CPU."""
        a, u = self._fields(np.asarray(indices, dtype=int)).split(self.channels, 1)
        return a, u

    def _fields(self, samples: np.ndarray, fields: np.ndarray | None = None) -> Float[Tensor, "batch _ height width"]:
        """All that is kept of samples, or those of their `fields` whose numbers are given, (batch, _)."""
        if self._cache is None:
            kept, rows = self._read(samples), np.arange(len(samples))
        else:
            if len(missing := np.unique(samples[~self._held[samples]])):
                self._cache[missing] = self._read(missing).to(self._cache.device)
                self._held[missing] = True
            kept, rows = self._cache, samples
        return kept[rows] if fields is None else kept[rows[:, None], fields]

    def read_all(self) -> None:
        """Read what memory holds whole, so that a sample that is no good is named before anything begins.

        What another view of the dataset has read of the same samples on the same grid is not read again.
        """
        if self._cache is not None and not self._held.all():
            key = type(self), self.resolution, self.samples.tobytes()
            self._cache = self.dataset.remembered(key, lambda: self._read(np.arange(len(self.samples))))
            self._held[:] = True

    def hold(self, device: torch.device) -> None:
        """Keep what is cached on a device: a step of training then waits for no copy."""
        if self._cache is not None:
            self._cache = self._cache.to(device)

    def _read(self, indices: np.ndarray) -> Float[Tensor, "batch _ height width"]:
        file, inputs = self.dataset.file, len(self.info.inputs)
        fields = np.empty((len(indices), self._kept, *self.shape), np.float32)
        for row, sample in enumerate(self.samples[indices]):
            a = file["nu"][sample].reshape(inputs, *self.info.shape)
            fields[row, :inputs] = self._restricted(a, "input")
            fields[row, inputs:] = self._restricted(self._solution(sample, a), "output")
        if not np.isfinite(fields).all():
            bad = self.samples[indices][~np.isfinite(fields).all((1, 2, 3))]
            raise ValueError(f"{self.path} holds values that are not finite in sample {bad[0]}")
        zero = ~fields[:, inputs:].any((1, 2, 3))
        if zero.any():
            raise ValueError(
                f"{self.path} holds a solution that is zero at all {self.grid} points in sample "
                f"{self.samples[indices][zero][0]}: no error is relative to it"
            )
        if self.info.attributes.get("coefficient") != "indicator":
            for channel, field in enumerate(self.info.inputs):
                if field.positive and (fields[:, channel] <= 0).any():
                    bad = self.samples[indices][(fields[:, channel] <= 0).any((1, 2))]
                    raise ValueError(f"{self.path} holds a {field.name} that is not positive in sample {bad[0]}")
        return torch.from_numpy(fields)

    def _solution(self, sample: int | np.integer, a: Stored) -> Stored:
        """What is kept of the solution for the inputs `a`, as it is stored."""
        return self.dataset.file["tensor"][(sample, -1) if self.info.times else sample]

    def _restricted(self, fields: Stored, what: str) -> Float[np.ndarray, "_ height width"]:
        """Stored fields on the grid of the view."""
        if self.stride == 1 or self.info.attributes.get("restriction", "stride") == "stride":
            return fields[:, :: self.stride, :: self.stride]
        assert self.dataset.problem is not None
        return self.dataset.problem.restrict(fields, self.info.grid, self.grid, what)


def DarcyDataset(
    path: str | Path,
    split: str | None = None,
    resolution: int | None = None,
    *,
    indices: Any = None,
    cache_bytes: int = CACHE_BYTES,
    trust: bool = False,
) -> View:
    """The view of a file's samples at one split and resolution, in one call: parameters and errors of both classes."""
    return Dataset(path, trust).view(split, resolution, indices=indices, cache_bytes=cache_bytes)


def fetch(data: TorchDataset[Any], indices: Any) -> tuple[Fields, Fields]:
    """The samples of `data` at `indices` as one batch, wherever it keeps them."""
    if hasattr(data, "batch"):
        return data.batch(indices)
    a, u = default_collate([data[int(index)] for index in indices])
    return a, u
