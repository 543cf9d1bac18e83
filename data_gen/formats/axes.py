"""Which axis of an array is which, as told or as its shape leaves no other choice.

A letter for each axis: s sample, t time, c channel, x, y. Arrays of three axes are read as ``sxy``, of four as ``scxy``
or ``sxyc``, in time ``stxy`` or ``sxyt``, of five as ``stcxy``, ``stxyc``, ``sctxy`` or ``sxytc``: the one in which
samples, points, times and coordinates of all arrays agree, and in which there are fewer channels than points a side.
Where none is, or several are, the axes must be told.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_gen.formats.foreign import Values

LETTERS = "stcxy"
STATIONARY = {3: ("sxy",), 4: ("scxy", "sxyc")}
IN_TIME = {4: ("stxy", "sxyt"), 5: ("stcxy", "stxyc", "sctxy", "sxytc")}
IN_WORDS = {"s": "sample", "t": "time", "c": "channel", "x": "x", "y": "y"}


@dataclass(frozen=True)
class Lettered:
    """An array whose axes are known; one along which it does not vary may be missing.

    Attributes
    ----------
    name : str
    values : Values
    axes : str
        A letter for each axis.
    """

    name: str
    values: Values
    axes: str

    def size(self, letter: str) -> int | None:
        """Length of an axis; None where there is none."""
        return int(self.values.shape[self.axes.index(letter)]) if letter in self.axes else None

    @property
    def channels(self) -> int:
        return self.size("c") or 1

    def read(self, rows: slice, shape: tuple[int, int], times: slice = slice(None)) -> np.ndarray:
        """Samples `rows`, and of them `times`, as (k, times, channels, *shape)."""
        picked = {"s": rows, "t": times}
        block = np.asarray(self.values[tuple(picked.get(letter, slice(None)) for letter in self.axes)])
        there = [letter for letter in LETTERS if letter in self.axes]
        block = block.transpose([self.axes.index(letter) for letter in there])
        block = block[tuple(slice(None) if letter in there else None for letter in LETTERS)]
        k, t, c = (rows.stop - rows.start if "s" not in there else block.shape[0], *block.shape[1:3])
        return np.broadcast_to(block, (k, t, c, *shape))


def lettered(
    path: Path,
    inputs: Sequence[tuple[str, Values]],
    outputs: Sequence[tuple[str, Values]],
    told: str = "",
    *,
    times: int | None = None,
    points: tuple[int | None, int | None] = (None, None),
) -> tuple[list[Lettered], list[Lettered]]:
    """The arrays of inputs and outputs with the letters of their axes.

    Parameters
    ----------
    path : Path
        For messages.
    inputs, outputs : sequences of (name, array)
    told : str
        Axes as they are told: of all arrays, or ``INPUTS,OUTPUTS``.
    times : int, optional
        How many there are, of solutions in time.
    points : pair of int, optional
        How many coordinates there are along x and y.

    Raises
    ------
    ValueError
        If no choice of axes fits the shapes, or several do.
    """
    arrays = [*inputs, *outputs]
    shapes = ", ".join(f"{name} {tuple(values.shape)}" for name, values in arrays)
    if told:
        chosen = [
            as_told(path, *each, axes) for each, axes in zip(arrays, per_array(told, inputs, outputs), strict=True)
        ]
        fitting = [chosen] if agree(chosen, times, points) else []
    else:
        choices = [[Lettered(*each, axes) for axes in STATIONARY.get(len(each[1].shape), ())] for each in inputs]
        known = STATIONARY if times is None else IN_TIME
        choices += [[Lettered(*each, axes) for axes in known.get(len(each[1].shape), ())] for each in outputs]
        fitting = [
            list(each)
            for each in itertools.product(*choices)
            if agree(each, times, points) and all(few_channels(one) for one in each)
        ]
        if not times and all(len(values.shape) == 3 for _, values in arrays):
            n, m, last = arrays[0][1].shape
            if n == m != last:
                raise ValueError(f"{path}: {shapes} look as if samples were last: say axes sxy, or xys")
    if len(fitting) != 1:
        how = "fit no order of axes" if not fitting else "fit more than one order of axes"
        beside = "" if times is None else f" with {times} times"
        beside += "".join(f" and {n} points along {axis}" for axis, n in zip("xy", points, strict=True) if n)
        raise ValueError(
            f"{path}: {shapes}{beside} {how}: say axes, a letter each of s sample, t time, c channel, x, y, "
            "as scxy or sxy,sxyt (inputs, outputs)"
        )
    return fitting[0][: len(inputs)], fitting[0][len(inputs) :]


def per_array(told: str, inputs: Sequence[Any], outputs: Sequence[Any]) -> list[str]:
    """What is told of each array, of inputs first.

    Raises
    ------
    ValueError
        If it is told of more than inputs and outputs, or other letters stand there.
    """
    words = told.split(",")
    if len(words) > 2 or any(set(word) - set(LETTERS) or len(set(word)) < len(word) for word in words):
        raise ValueError(f"axes must be letters of {LETTERS}, each once, of all arrays or INPUTS,OUTPUTS, got {told!r}")
    return [words[0]] * len(inputs) + [words[-1]] * len(outputs)


def as_told(path: Path, name: str, values: Values, axes: str) -> Lettered:
    """An array with the axes that are told of it; it may lack the channels or the times among them.

    Raises
    ------
    ValueError
        If they are more or fewer than it has, or samples or points are missing.
    """
    count = len(values.shape)
    for extra in ("c", "t"):
        if len(axes) > count:
            axes = axes.replace(extra, "")
    if len(axes) != count or not set("sxy") <= set(axes):
        raise ValueError(f"{path}: {name} has {count} axes, {tuple(values.shape)}, which are not {axes!r} of axes")
    return Lettered(name, values, axes)


def agree(arrays: Sequence[Lettered], times: int | None, points: tuple[int | None, int | None]) -> bool:
    """Whether all have as many samples, points and times."""
    known = {"s": None, "t": times, "x": points[0], "y": points[1]}
    sizes = ({each.size(letter) for each in arrays} | {n} for letter, n in known.items())
    return all(len(each - {None}) <= 1 for each in sizes)


def few_channels(array: Lettered) -> bool:
    """Whether there are fewer channels than points along each side."""
    sides = [array.size(letter) or 0 for letter in "xy"]
    return array.channels < min(sides) or array.channels == 1


def in_words(axes: str) -> str:
    """``scxy`` → ``sample, channel, x, y``."""
    return ", ".join(IN_WORDS[letter] for letter in axes)
