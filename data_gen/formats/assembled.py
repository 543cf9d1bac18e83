"""Named arrays → inputs and outputs: which array is what, as told, or as names in use say."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from data_gen.formats.axes import Lettered, in_words, lettered
from data_gen.formats.foreign import Foreign, Source, Values
from data_gen.problem import Field

PAIRS = (("a", "u"), ("x", "y"), ("input", "output"), ("inputs", "outputs"), ("coeff", "sol"), ("nu", "tensor"))
"""What inputs and outputs are called where nothing is told."""

COORDINATES = {"x": ("x", "x-coordinate", "grid/x"), "y": ("y", "y-coordinate", "grid/y")}
TIMES = ("t", "time", "times", "t-coordinate", "grid/t")


def assemble(source: Source, arrays: Mapping[str, Values], **about: Any) -> Foreign:
    """A file of named arrays as pairs of inputs and outputs.

    Parameters
    ----------
    source : Source
        What is told of it.
    arrays : mapping
    **about
        What the layout says beside, fields of `Foreign`; `notes` are added to.

    Raises
    ------
    ValueError
        If there are no such arrays, it is not told which are which, or their shapes do not fit one another.
    """
    path, told = source.path, source.told
    inputs, outputs = chosen(path, arrays, told.inputs, told.outputs)
    taken = (*inputs.values(), *outputs.values())
    x, y = (coordinates(path, arrays, axis, taken, told.axes.split(",")[0]) for axis in "xy")
    times = line(arrays, TIMES, taken)
    if told.axes and "t" not in told.axes.split(",")[-1]:
        times = None
    count = len(times) if times is not None and len(times) > 1 else None
    given, found = lettered(
        path,
        [(name, arrays[key]) for name, key in inputs.items()],
        [(name, arrays[key]) for name, key in outputs.items()],
        told.axes,
        times=count,
        points=(None if x is None else len(x), None if y is None else len(y)),
    )
    if any("t" in each.axes for each in found) and count is None:
        raise ValueError(f"{path}: solutions in time need their times, an array {', '.join(TIMES[:3])}")
    if any("t" in each.axes for each in given):
        raise ValueError(f"{path}: inputs have no time: the state at t = 0 is an input, what comes later an output")
    about.setdefault("x", x)
    about.setdefault("y", y)
    later = () if count is None or times is None else tuple(map(float, times))
    return of_lettered(path, given, found, later, arrays.get, **about)


def of_lettered(
    path: Path,
    given: Sequence[Lettered],
    found: Sequence[Lettered],
    times: tuple[float, ...],
    array: Callable[[str], Any] = lambda name: None,
    **about: Any,
) -> Foreign:
    """Arrays with known axes as pairs: with the state at t = 0 as input where the outputs begin with it.

    `given` may be empty where the outputs are states, the first of which is then the input, at t = 0.

    Raises
    ------
    ValueError
        If times do not rise, or there is nothing to learn from.
    """
    samples, n, m = ([each.size(letter) for each in (*given, *found) if letter in each.axes] for letter in "sxy")
    shape = n[0] or 0, m[0] or 0
    inputs, outputs, notes, first = fields(given), fields(found), list(about.pop("notes", ())), 0
    states: list[Lettered] = []
    if any(later <= earlier for earlier, later in pairwise(times)) or not np.isfinite(times).all():
        raise ValueError(f"{path}: times must rise, got {', '.join(f'{t:g}' for t in times)}")
    if times and (times[0] <= 0 or not given):
        _refuse_another_beginning(path, given, found, samples[0] or 0, shape)
        states = [each for each in found if each.name not in {one.name for one in given}]
        inputs, first = (*fields(states), *inputs), 1
        later_ones = f"the {len(times) - 1} later ones are outputs"
        notes.append(f"the state at {times[0]:g} is an input, and t = 0; {later_ones}")
        times = evenly(times)
        if not times:
            raise ValueError(f"{path} holds one state in time, and nothing after it")
    elif times and not {field.name for field in outputs} <= {field.name for field in inputs}:
        notes.append("no input is called as an output: rollouts begin with zero (inputs u=a, outputs u=u: a is u at 0)")
    if not inputs:
        raise ValueError(f"{path}: nothing is an input: name one, or the times of the outputs, whose first is then one")

    def read_inputs(rows: slice) -> np.ndarray:
        begin = [each.read(rows, shape, slice(0, 1))[:, 0] for each in states]
        return np.concatenate([*begin, *(each.read(rows, shape)[:, 0] for each in given)], 1)

    def read_outputs(rows: slice) -> np.ndarray:
        return np.concatenate([each.read(rows, shape, slice(first, None)) for each in found], 2)

    read = [f"{each.name} ({in_words(each.axes)})" for each in (*given, *found)]
    return Foreign(
        samples[0] or 0,
        shape,
        read_inputs,
        read_outputs,
        inputs,
        outputs,
        times=times,
        indicator=not states and len(inputs) == 1 and given[0].values.dtype == bool,
        array=array,
        notes=(f"axes: {'; '.join(dict.fromkeys(read))}", *notes),
        **about,
    )


def _refuse_another_beginning(
    path: Path,
    given: Sequence[Lettered],
    found: Sequence[Lettered],
    samples: int,
    shape: tuple[int, int],
) -> None:
    """Refuse inputs that are called as the outputs are, and are not their first state."""
    known = {each.name: each for each in given}
    for each in found:
        if each.name not in known:
            continue
        for i in range(samples):
            rows = slice(i, i + 1)
            a, u = known[each.name].read(rows, shape)[:, 0], each.read(rows, shape, slice(0, 1))[:, 0]
            if a.shape != u.shape or not np.allclose(a, u, rtol=1e-6, atol=1e-6 * float(np.abs(u).max())):
                raise ValueError(f"{path}: {each.name} at the first time is not the input of that name in sample {i}")


def evenly(times: tuple[float, ...]) -> tuple[float, ...]:
    """Times after the first, from it on; multiples of one step where they are such but for rounding to float32.

    Examples
    --------
    >>> evenly((5.0, 5.100000381469727, 5.199999809265137))
    (0.1, 0.2)
    """
    later = np.array(times[1:]) - times[0]
    if not len(later):
        return ()
    rounding = 2 * np.finfo(np.float32).eps * np.abs(times).max()
    for digits in range(1, 10):
        even = float(f"{later[-1] / len(later):.{digits}g}") * np.arange(1, len(later) + 1)
        if np.allclose(later, even, rtol=0, atol=rounding):
            return tuple(map(float, even.round(12)))
    return tuple(map(float, later))


def fields(arrays: Iterable[Lettered]) -> tuple[Field, ...]:
    """A field for each channel, numbered from 1 where an array has several."""
    names = [
        each.name if each.channels == 1 else f"{each.name}{k + 1}" for each in arrays for k in range(each.channels)
    ]
    return tuple(Field(name, name) for name in names)


def chosen(
    path: Path, arrays: Mapping[str, Values], inputs: Sequence[str], outputs: Sequence[str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Field → array, of the inputs and of the outputs.

    Raises
    ------
    ValueError
        If there is no such array, or it is not told which are meant.
    """
    here = [name for name, values in arrays.items() if len(values.shape) > 2]
    listed = f"it has {', '.join(here) or 'none'}"
    if outputs and not inputs and any(name in arrays for name in TIMES):
        inputs = [left for left, right in PAIRS if [right] == list(outputs) and left in here]
    elif not inputs or not outputs:
        known = [pair for pair in PAIRS if set(pair) <= set(here)]
        fitting = [pair for pair in known if (not inputs or pair[0] in inputs) and (not outputs or pair[1] in outputs)]
        if len(fitting) != 1:
            raise ValueError(
                f"{path} does not say which arrays are inputs and outputs: name them (inputs, outputs), {listed}"
            )
        inputs, outputs = inputs or fitting[0][:1], outputs or fitting[0][1:]
    parts = []
    for words in (inputs, outputs):
        named = [
            (field.strip() if key else field.strip().rpartition("/")[2], key.strip() or field.strip())
            for field, _, key in (word.partition("=") for word in words)
        ]
        missing = [key for _, key in named if key not in arrays]
        if missing:
            raise ValueError(f"{path} has no array {missing[0]!r}: {listed}")
        if len(dict(named)) < len(named):
            raise ValueError(f"{path}: each field must be named once, got {', '.join(words)}")
        parts.append(dict(named))
    return parts[0], parts[1]


def coordinates(
    path: Path, arrays: Mapping[str, Values], axis: str, taken: Sequence[str], axes: str
) -> Float[np.ndarray, " n"] | None:
    """The coordinates along x or along y, of one row or of a mesh (n, m).

    Raises
    ------
    ValueError
        If a mesh says that the points are stored the other way round than `axes` do.
    """
    for name in COORDINATES[axis]:
        values = np.asarray(arrays[name][...]) if name in arrays and name not in taken else np.zeros(0)
        if values.ndim != 2 or min(values.shape) < 2 or values.dtype.kind not in "iuf":
            continue
        along = [i for i in (0, 1) if (values == values.take([0], 1 - i)).all()]
        place = "xy".index(axis) if "yx" not in axes.replace("c", "").replace("s", "") else "yx".index(axis)
        if along == [1 - place]:
            order = "yx" if place == "xy".index(axis) else "xy"
            raise ValueError(f"{path}: by its mesh, {name} varies along the other axis: say axes, as s{order}")
        return np.asarray(values.take(0, 1 - place), dtype=np.float64) if along == [place] else None
    return line(arrays, COORDINATES[axis], taken)


def line(arrays: Mapping[str, Values], names: Sequence[str], taken: Sequence[str]) -> Float[np.ndarray, " n"] | None:
    """The first array of such a name that is one row of numbers, and no field."""
    for name in names:
        if name in arrays and name not in taken:
            values = np.asarray(arrays[name][...])
            if values.ndim == 2 and values.dtype.kind in "iuf" and len(values) and (values == values[0]).all():
                values = values[0]  # the same of each sample
            if values.dtype.kind in "iuf" and values.size == max(values.shape, default=0):
                return values.reshape(-1).astype(np.float64)
    return None
