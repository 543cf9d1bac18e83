"""A dataset file as PyTorch sees it: opened and checked once, viewed at one split and resolution, by exact stride."""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import default_collate

from data_gen import storage
from data_gen.grid import exact_stride
from pdebench_mano.fields.operator import Fields

Sample = tuple[Float[Tensor, "1 height width"], Float[Tensor, "1 height width"]]

CACHE_BYTES = 1 << 30
"""Largest view that is kept in memory."""


class Dataset:
    """A dataset file, opened and checked once; it stands wherever its path does.

    Parameters
    ----------
    path : path
        A file of the suite's schema (see `data_gen.storage`).

    Attributes
    ----------
    path : Path
    info : DatasetInfo
        What the file says about itself.
    source : float, (n, m) array or None
        Source f; None where it is unknown.

    Raises
    ------
    FileNotFoundError, ValueError
        If the file, or a shard of it, is missing, truncated or not of the schema.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._process, self._open = os.getpid(), ExitStack()
        with ExitStack() as stack:
            self._file = stack.enter_context(storage.open_hdf5(self.path))
            self.info = storage.checked(self.path, self._file)
            self.source = storage.source_of(self._file)
            self._open = stack.pop_all()

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
        indices: Any = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> "View":
        """The samples of a split, or all of them, at one resolution; see `View`."""
        return View(self, split, resolution, indices=indices, cache_bytes=cache_bytes)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_process": None, "_open": None, "_file": None}


def opened(data: Dataset | str | Path) -> Dataset:
    """A dataset as it is, or opened, where a path is given."""
    return data if isinstance(data, Dataset) else Dataset(data)


class View(TorchDataset[Sample]):
    """Pairs (coefficient a, solution u), each (1, height, width) float32 in physical units.

    Fields are read from the file when asked for; a view that fits `cache_bytes` is read once and kept, a larger one is
    never held in memory.

    Parameters
    ----------
    dataset : Dataset
    split : {"train", "val", "test"}, optional
        Which samples; all of them by default.
    resolution : int, optional
        Points along the first axis, reached by an exact stride of the stored grid; the
        stored resolution by default.
    indices : sequence of int, optional
        Positions within the split to keep.
    cache_bytes : int
        Largest split, in bytes at the chosen resolution, that is kept in memory.

    Attributes
    ----------
    info : DatasetInfo
    resolution, stride : int
    shape : (int, int)
    grid : {"vertices", "left"}
    source : float or None
        The constant source f, None where it is unknown or varies.
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
        self.grid, self.source = self.info.grid, self.info.source
        if split is not None and split not in self.info.splits:
            held = ", ".join(self.info.splits) or "none"
            raise ValueError(f"split {split!r} is not in {self.path}; its splits are: {held}")
        samples = np.arange(self.info.samples) if split is None else np.asarray(self.info.splits[split])
        self.samples = samples if indices is None else samples[np.asarray(indices, dtype=int)]
        self.resolution = self.info.shape[0] if resolution is None else resolution
        self.stride = exact_stride(self.info.shape[0], self.resolution, self.grid)
        self.shape = tuple(len(range(0, n, self.stride)) for n in self.info.shape)
        if self.grid == "vertices" and (self.info.shape[1] - 1) % self.stride:
            raise ValueError(
                f"resolution {self.resolution} strides {self.info.shape[0]} points by {self.stride}, "
                f"which does not reach both ends of the other axis, {self.info.shape[1]} points"
            )
        size = len(self.samples) * self.shape[0] * self.shape[1] * 2 * 4
        self._cache = torch.empty(len(self.samples), 2, *self.shape) if size <= cache_bytes else None
        self._held = np.zeros(len(self.samples), dtype=bool)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.__getitems__([range(len(self))[index]])[0]

    def __getitems__(self, indices: list[int]) -> list[Sample]:
        a, u = self.batch(indices)
        return list(zip(a, u, strict=True))

    def batch(
        self, indices: Any
    ) -> tuple[Float[Tensor, "batch 1 height width"], Float[Tensor, "batch 1 height width"]]:
        """The samples at `indices`, stacked; on the device that `hold` moved them to, else the CPU."""
        indices = np.asarray(indices, dtype=int)
        if self._cache is None:
            fields = self._read(indices)
        else:
            missing = indices[~self._held[indices]]
            if len(missing):
                self._cache[missing] = self._read(missing).to(self._cache.device)
                self._held[missing] = True
            fields = self._cache[indices]
        return fields[:, :1], fields[:, 1:]

    def hold(self, device: torch.device) -> None:
        """Keep what is cached on a device: a step of training then waits for no copy."""
        if self._cache is not None:
            self._cache = self._cache.to(device)

    def _read(self, indices: np.ndarray) -> Float[Tensor, "batch 2 height width"]:
        file = self.dataset.file
        fields = np.empty((len(indices), 2, *self.shape), np.float32)
        for row, sample in enumerate(self.samples[indices]):
            fields[row, 0] = file["nu"][sample][:: self.stride, :: self.stride]
            fields[row, 1] = file["tensor"][sample, 0][:: self.stride, :: self.stride]
        if not np.isfinite(fields).all():
            bad = self.samples[indices][~np.isfinite(fields).all((1, 2, 3))]
            raise ValueError(f"{self.path} holds values that are not finite in sample {bad[0]}")
        if self.info.attributes.get("coefficient") == "physical" and (fields[:, 0] <= 0).any():
            bad = self.samples[indices][(fields[:, 0] <= 0).any((1, 2))]
            raise ValueError(f"{self.path} holds a coefficient that is not positive in sample {bad[0]}")
        return torch.from_numpy(fields)


def DarcyDataset(
    path: str | Path,
    split: str | None = None,
    resolution: int | None = None,
    *,
    indices: Any = None,
    cache_bytes: int = CACHE_BYTES,
) -> View:
    """The view of a file's samples at one split and resolution, in one call: parameters and errors of both classes."""
    return Dataset(path).view(split, resolution, indices=indices, cache_bytes=cache_bytes)


def fetch(data: TorchDataset[Any], indices: Any) -> tuple[Fields, Fields]:
    """The samples of `data` at `indices` as one batch, wherever it keeps them."""
    if hasattr(data, "batch"):
        return data.batch(indices)
    a, u = default_collate([data[int(index)] for index in indices])
    return a, u
