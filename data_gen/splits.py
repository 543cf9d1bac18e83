"""Which samples of a file that is taken over are trained on, validated with and tested on.

================ =============================================================================================
split            is
================ =============================================================================================
0.8,0.1,0.1      fractions of train, val and test, in the order of the samples
train=A,test=B   arrays A and B of the file: indices from 0, or a truth value for each sample
pdebench         PDEBench's convention: the first tenth is the test, all others are trained on
================ =============================================================================================
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, combinations
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from data_gen.recipe import splits

NAMES = ("train", "val", "test")
PDEBENCH = "pdebench"
Split = str | Sequence[float] | Mapping[str, str]
Indices = dict[str, Int[np.ndarray, " _"]]


def parsed(split: Split) -> str | tuple[float, ...] | dict[str, str]:
    """A split as it is typed, as what it means: a name, fractions, or arrays by split.

    Raises
    ------
    ValueError
        If it means nothing.

    Examples
    --------
    >>> parsed("0.8,0.1,0.1"), parsed("train=i,test=j"), parsed("pdebench")
    ((0.8, 0.1, 0.1), {'train': 'i', 'test': 'j'}, 'pdebench')
    """
    if not isinstance(split, str):
        return dict(split) if isinstance(split, Mapping) else tuple(split)
    if split == PDEBENCH:
        return split
    words = [word.strip() for word in split.split(",")]
    if all("=" in word for word in words):
        pairs = [(name.strip(), key.strip()) for name, _, key in (word.partition("=") for word in words)]
        if len(dict(pairs)) == len(pairs):
            return dict(pairs)
    try:
        return tuple(float(word) for word in words)
    except ValueError:
        raise ValueError(
            f"split must be fractions as 0.8,0.1,0.1, arrays as train=NAME,test=NAME, or pdebench, got {split!r}"
        ) from None


def indices(split: Split, samples: int, array: Callable[[str], Any], path: Path) -> Indices:
    """Indices of the samples of each split.

    Parameters
    ----------
    split : as `parsed` takes it
    samples : int
        How many there are.
    array : callable
        The array of that name in the file; None where there is none.
    path : Path
        For messages.

    Raises
    ------
    ValueError
        If the file has no such array, or it holds no indices of samples; if a sample is in two splits.
    """
    meant = parsed(split)
    if isinstance(meant, tuple):
        parts = splits(samples, meant)  # type: ignore[arg-type]
        if not parts:
            raise ValueError(f"{path} holds {samples} samples, too few for split {','.join(f'{x:g}' for x in meant)}")
        return parts
    if isinstance(meant, str):
        first = samples // 10
        if not first:
            raise ValueError(f"{path} holds {samples} samples, and the first tenth of them is the test of {PDEBENCH}")
        return {"train": np.arange(first, samples), "test": np.arange(first)}
    if unknown := [name for name in meant if name not in NAMES]:
        raise ValueError(f"split must be of {', '.join(NAMES)}, got {unknown[0]!r}")
    return checked({name: array(key) for name, key in meant.items()}, samples, path, meant)


def checked(arrays: Mapping[str, Any], samples: int, path: Path, called: Mapping[str, str] | None = None) -> Indices:
    """Arrays of indices, or of a truth value for each sample, as indices.

    Raises
    ------
    ValueError
        As `indices`.
    """
    called, parts = called or {}, {}
    for name, stored in arrays.items():
        key = called.get(name, name)
        if stored is None:
            raise ValueError(f"{path} has no array {key!r} for split {name}")
        values = np.squeeze(np.asarray(stored[...]))
        if values.dtype == bool and values.shape == (samples,):
            values = np.flatnonzero(values)
        values = np.atleast_1d(values)
        if values.ndim != 1 or values.dtype.kind not in "iuf" or not values.size or (values % 1).any():
            raise ValueError(
                f"{path}: {key} must be one row of indices for split {name}, got {values.dtype} of shape {values.shape}"
            )
        rows = values.astype(np.int64)
        if rows.min() < 0 or rows.max() >= samples:
            raise ValueError(
                f"{path}: {key} must be indices from 0 to {samples - 1}, got {rows.min()} … {rows.max()}"
                + ", as those of MATLAB that count from 1" * bool(rows.min() == 1 and rows.max() == samples)
            )
        if len(np.unique(rows)) < len(rows):
            raise ValueError(f"{path}: {key} names a sample twice")
        parts[name] = rows
    for one, other in combinations(parts, 2):
        if len(shared := np.intersect1d(parts[one], parts[other])):
            raise ValueError(f"{path}: sample {shared[0]} is in split {one} and in split {other}")
    return parts


def first(counts: Mapping[str, int], samples: int, points: str, path: Path) -> Indices:
    """Indices of so many samples of each split, one split after another, from the first sample on.

    Raises
    ------
    ValueError
        If there are fewer.
    """
    asked = ", ".join(f"{name} {count}" for name, count in counts.items())
    if not counts or min(counts.values()) < 1:
        raise ValueError(f"counts must be at least 1 for each split, got {asked or 'none'}")
    *starts, end = accumulate(counts.values(), initial=0)
    if end > samples:
        raise ValueError(f"{path} holds {samples} samples of {points} points, too few for {asked}")
    return {name: np.arange(start, start + counts[name]) for name, start in zip(counts, starts, strict=True)}


def in_words(parts: Indices) -> str:
    """``train 80 (0 … 79), test 20 (80 … 99)``, and whether they stand apart."""

    def each(rows: np.ndarray) -> str:
        whole = len(rows) == rows.max() - rows.min() + 1
        return f"{rows.min()} … {rows.max()}" if whole else f"among {rows.min()} … {rows.max()}"

    return ", ".join(f"{name} {len(rows)} ({each(rows)})" for name, rows in parts.items())
