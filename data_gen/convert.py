"""Files of other projects to our schema, and back.

What a format cannot say (source, boundary condition, law) is told by the caller or marked unknown; what is inferred is
said: the kind of grid, see `data_gen.formats.grids`, and which inputs are positive, those whose values all are.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Float, Float32, Shaped

from data_gen import splits, storage
from data_gen.formats import FORMATS, Foreign, Selection, Source, Told, read_foreign
from data_gen.formats.grids import grid_of
from data_gen.grid import KINDS, Kind
from data_gen.problem import FLOAT32, Field, NotConverged
from data_gen.recipe import problem_of, unsolved
from data_gen.splits import Split
from data_gen.storage import COEFFICIENT, SOLUTION, Block, DatasetInfo, Header

SOLVED_AGAIN = 1e-6
"""Tolerance of the solve that a solution is compared with."""

ON_EDGES = 1e-3
"""Largest value on a boundary where u = 0, of the largest of all."""

DOUBTFUL = 0.1
"""Difference, of the largest value, from which on it is no matter of another discretisation."""

AMONG_SAMPLES = 0.2
"""How much smaller differences between samples may be than between neighbouring points before it is remarked."""


def convert(
    source: str | Path,
    target: str | Path,
    *,
    to: str | None = None,
    grid: Kind | None = None,
    f: float | None = None,
    boundary: str | None = None,
    law: str | None = None,
    counts: Mapping[str, int] | None = None,
    split: Split | None = None,
    resolution: int | None = None,
    inputs: Sequence[str] = (),
    outputs: Sequence[str] = (),
    axes: str = "",
    say: Callable[[str], None] = lambda line: None,
) -> Path:
    """Convert a dataset file.

    Parameters
    ----------
    source : path
        A file of this project's schema, or of another, see `data_gen.formats`; a folder of ``.npy``.
    target : path
        File to write; it must not exist.
    to : {"schema", "netcdf", "neuralop", "fno", "pdebench", "the_well", "arrays"}, optional
        Format of the target; by default as its suffix says, else ``schema``.
    grid, f, boundary, law : str, float, str, str, optional
        What a foreign source does not say of itself: kind of grid, constant source of Darcy flow, boundary condition,
        law.
    counts : dict of int, optional
        On import: how many samples each split has, from the first sample on, such as ``{"train": 1000, "val": 24}``;
        those beyond are left out. By default all samples are taken, and of no split.
    split : str, fractions or dict, optional
        On import: what the splits are, see `data_gen.splits`. On export: only the samples of this split.
    resolution : int, optional
        On export: an exact stride of the source's.
    inputs, outputs, axes : sequence of str, sequence of str, str, optional
        On import: which arrays are what, ``ARRAY`` or ``FIELD=ARRAY``, and their axes, see `data_gen.formats.axes`.
    say : callable
        Told in a line each what was inferred, what stays unknown, and what the target cannot say.

    Returns
    -------
    Path
        `target`.

    Raises
    ------
    FileNotFoundError, FileExistsError, ValueError
        If `source` is missing or unreadable, `target` exists, or a value or an option is unfit; if `source` holds fewer
        samples than `counts` asks for, or the same input in two splits.
    """
    source, target = Path(source), Path(target)
    if not source.exists():
        raise FileNotFoundError(f"{source}: no such file")
    if os.path.lexists(target):
        raise FileExistsError(f"{target} exists; it is left as it is")
    to = to or next((name for name, layout in FORMATS.items() if layout.suffix == target.suffix), "schema")
    if to != "schema" and to not in FORMATS:
        raise ValueError(f"to must be one of schema, {', '.join(FORMATS)}, got {to!r}")
    if grid is not None and grid not in KINDS:
        raise ValueError(f"grid must be one of {', '.join(KINDS)}, got {grid!r}")
    told = Told(tuple(inputs), tuple(outputs), axes)
    with ExitStack() as stack:
        file = stack.enter_context(storage.open_hdf5(source)) if h5py.is_hdf5(source) else None
        ours = file is not None and storage.is_dataset(file)
        if ours == (to == "schema"):
            raise ValueError(
                f"{source} is {'' if ours else 'not '}of this project's schema: say with --to what {target} shall be"
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        stack.enter_context(storage.alone(target))
        if os.path.lexists(target):
            raise FileExistsError(f"{target} exists; it is left as it is")
        if ours:
            if (grid, f, boundary, law, counts) != (None,) * 5 or told:
                raise ValueError(
                    "grid, f, boundary, law, counts, inputs, outputs and axes are for files of other projects: "
                    "this one says them itself"
                )
            if split is not None and not isinstance(split, str):
                raise ValueError(f"split must be a name on export, got {split!r}")
            selection = Selection(file, split, resolution)
            with storage.atomic(target) as temporary:
                FORMATS[to].write(selection, temporary)
            say(f"left out, as {to} does not say it: {FORMATS[to].leaves_out}")
        else:
            if resolution is not None:
                raise ValueError("resolution is for exports")
            if counts is not None and split is not None:
                raise ValueError("give counts or split, not both")
            foreign = read_foreign(Source(source, file, told, stack))
            _import(foreign, source, target, grid, f, boundary, law, counts, split, say)
    return target


def _import(
    foreign: Foreign,
    path: Path,
    target: Path,
    grid: Kind | None,
    f: float | None,
    boundary: str | None,
    law: str | None,
    counts: Mapping[str, int] | None,
    split: Split | None,
    say: Callable[[str], None],
) -> None:
    samples, (n, m) = foreign.samples, foreign.shape
    if samples < 1:
        raise ValueError(f"{path} holds no samples")
    if min(n, m) < 2:
        raise ValueError(f"{path} holds samples of {n}×{m} points: at least 2 are needed along each axis")
    foreign, f = _of_darcy(foreign, path, f, boundary)
    boundary = _told_once(path, "boundary", foreign.boundary, boundary)
    parts = _splits(foreign, path, counts, split)
    samples = sum(map(len, parts.values())) if counts is not None else samples
    some = slice(0, min(foreign.at_once, samples))
    own, axes, by = grid_of(foreign, path, grid, some)
    a, u = foreign.read_inputs(some), foreign.read_outputs(some)
    if not foreign.darcy and not foreign.signs:
        foreign = replace(foreign, inputs=tuple(_signed(foreign, samples)))
    known = f is not None and boundary == storage.BOUNDARY and foreign.darcy and not foreign.indicator
    attributes: dict[str, Any] = {
        "equation": storage.EQUATION if known else storage.UNKNOWN,
        "boundary_condition": boundary or storage.UNKNOWN,
        "law": law or storage.UNKNOWN,
        "coefficient": "indicator" if foreign.indicator else "physical",
        "origin": path.name,
    }
    attributes["source"] = storage.UNKNOWN if f is None else "constant"
    if f is not None:
        attributes["beta"] = float(f)
    if not foreign.darcy:
        attributes |= {"problem": storage.UNKNOWN, "parameters": "{}"}
    if foreign.attributes:
        attributes["origin_attributes"] = json.dumps(foreign.attributes)
    header = Header(samples, own, attributes, foreign.inputs, foreign.outputs, foreign.times, axes=axes, splits=parts)
    taken = _Taken(foreign)
    storage.write(target, header, _apart(_blocks(foreign, path, samples, own.kind, boundary), parts, path, taken))
    for line in _said(foreign, header, by, taken, a, u):
        say(line)
    info = storage.read_info(target)
    say(f"no solver row: {reason}" if (reason := unsolved(info.attributes)) else _solved_again(info, a[0], u[0]))


def _of_darcy(foreign: Foreign, path: Path, f: float | None, boundary: str | None) -> tuple[Foreign, float | None]:
    """What is known to be of Darcy flow by its layout, or by the source that is told; and that source.

    Raises
    ------
    ValueError
        If the file says another source, or what is told to have a source is no pair of a coefficient and a solution.
    """
    f = _told_once(path, "f", foreign.source, f)
    if f is not None and not (np.isfinite(f) and (f != 0 or boundary != storage.BOUNDARY)):
        raise ValueError(f"{path}: the source f must be finite, and not 0 where u = 0 on the boundary, got {f:g}")
    if f is None or foreign.darcy:
        return foreign, f
    if len(foreign.inputs) != 1 or len(foreign.outputs) != 1 or foreign.times:
        raise ValueError(
            f"{path}: a source f is of Darcy flow, one coefficient and one solution without time; here are "
            f"{len(foreign.inputs)} inputs, {len(foreign.outputs)} outputs and {len(foreign.times) or 'no'} times"
        )
    return replace(foreign, darcy=True, inputs=COEFFICIENT, outputs=SOLUTION), f


def _told_once(path: Path, what: str, said: Any, told: Any) -> Any:
    if said is not None and told is not None and said != told:
        raise ValueError(f"{path} says that its {what} is {said}, and {what} is {told}")
    return said if told is None else told


def _splits(
    foreign: Foreign, path: Path, counts: Mapping[str, int] | None, split: Split | None
) -> dict[str, np.ndarray]:
    if counts is not None:
        return splits.first(counts, foreign.samples, "×".join(map(str, foreign.shape)), path)
    if split is not None:
        return splits.indices(split, foreign.samples, foreign.array, path)
    return splits.checked(foreign.splits, foreign.samples, path)


def _signed(foreign: Foreign, samples: int) -> Iterator[Field]:
    """The inputs, of which each is said to be positive where all its values are."""
    lowest = np.full(len(foreign.inputs), np.inf)
    for start in range(0, samples, foreign.at_once):
        a = foreign.read_inputs(slice(start, min(start + foreign.at_once, samples)))
        if a.dtype.kind not in "iuf":
            lowest[:] = -np.inf
            break
        lowest = np.minimum(lowest, a.min((0, 2, 3)))
    for field, least in zip(foreign.inputs, lowest, strict=True):
        yield field._replace(positive=bool(least > 0))


class _Taken:
    """What is seen of the samples while they are taken over: the range of each field, and inputs that come again."""

    def __init__(self, foreign: Foreign) -> None:
        self.ranges = {"inputs": np.full((2, len(foreign.inputs)), np.nan)}
        self.ranges["outputs"] = np.full((2, len(foreign.outputs)), np.nan)
        self.again: list[int] = []

    def look(self, block: Block) -> None:
        for name, values in (("inputs", block.nu), ("outputs", block.tensor)):
            fields = values.reshape(-1, self.ranges[name].shape[1], *values.shape[-2:])
            low, high = self.ranges[name]
            self.ranges[name] = np.stack([np.fmin(low, fields.min((0, 2, 3))), np.fmax(high, fields.max((0, 2, 3)))])

    def words(self, name: str, fields: Sequence[Field]) -> str:
        """``a 0.1 … 3.2, b -1 … 1``."""
        return ", ".join(
            f"{field.name} {a:.3g} … {b:.3g}" for field, (a, b) in zip(fields, self.ranges[name].T, strict=True)
        )


def _said(foreign: Foreign, header: Header, by: str, taken: _Taken, a: np.ndarray, u: np.ndarray) -> Iterator[str]:
    """What was inferred of a file, in a line each."""
    yield from foreign.notes
    if foreign.darcy:
        yield "problem: Darcy flow, by its layout" if "beta" not in header.attributes else "problem: Darcy flow"
    ends = zip(_origins(header), header.grid.sides, strict=True)
    box = " × ".join(f"({origin:g}, {origin + side:g})" for origin, side in ends)
    yield f"grid: {header.grid} {header.grid.kind} on {box}, {by}"
    positive = [field.name for field in header.inputs if field.positive]
    signs = "of any sign" if not positive else f"positive: {', '.join(positive)}"
    yield f"inputs: {taken.words('inputs', header.inputs)} ({'phases' if foreign.indicator else signs})"
    later = f" at {len(header.times)} times, {header.times[0]:g} … {header.times[-1]:g}" if header.times else ""
    uneven = len(set(np.diff((0.0, *header.times)).round(9))) > 1
    later += ", not evenly: pairs of steps need times evenly spaced from 0" if uneven else ""
    yield f"outputs: {taken.words('outputs', header.outputs)}{later}"
    types = {str(each.dtype) for each in (a, u) if each.dtype != np.float32}
    if types - {"bool"}:
        yield f"values: {' and '.join(sorted(types))}, kept as float32"
    if foreign.attributes:
        yield f"kept: {', '.join(f'{name} {value}' for name, value in foreign.attributes.items())}"
    yield f"split: {splits.in_words(header.splits) or 'none; give one to train and test on one file'}"
    if header.samples > 1:
        apart, beside = (float(np.abs(np.diff(u.astype(np.float64), axis=axis)).mean()) for axis in (0, -1))
        if 0 < apart < AMONG_SAMPLES * beside:
            yield "note: samples differ less than neighbouring points do: are the axes right?"
    if taken.again:
        yield f"note: {len(taken.again)} samples have the inputs of another one, sample {taken.again[0]} first"


def _solved_again(info: DatasetInfo, a: Float[np.ndarray, "1 n m"], u: Float[np.ndarray, "1 1 n m"]) -> str:
    """How far the first solution is from that of the equation that the file is said to be of."""
    problem = problem_of(info, {})
    assert problem is not None
    stored = u.astype(np.float64)
    try:
        again = problem.solve(a.astype(np.float32).astype(np.float64), info.grid, rtol=SOLVED_AGAIN).u
    except NotConverged as error:
        return f"note: sample 0 is not solved for again: {error}"
    apart = float(np.abs(stored - again).max() / np.abs(again).max())
    doubt = ": are source, boundary condition and units right?" if apart > DOUBTFUL else ""
    return f"solved again on its grid, sample 0 differs by {apart:.1e} of its largest value{doubt}"


def _origins(header: Header) -> Iterator[float]:
    """Where the box begins along each axis: where its first point is, or half a cell before, of cell centres."""
    for axis, h in zip(header.axes or header.grid.axes(), header.grid.spacing, strict=True):
        centred = header.grid.kind != "vertices" and abs(axis[0]) > 1e-3 * h
        yield round(float(axis[0] - h / 2 * centred), 9)


def _apart(blocks: Iterable[Block], parts: Mapping[str, np.ndarray], path: Path, taken: _Taken) -> Iterator[Block]:
    """Blocks as they are, once no sample has the inputs of one in another split; `taken` looks at each.

    Raises
    ------
    ValueError
        Naming the first one that has.
    """
    place = {int(i): name for name, rows in parts.items() for i in rows}
    seen: dict[bytes, int] = {}
    start = 0
    for block in blocks:
        for i, a in enumerate(block.nu, start):
            before = seen.setdefault(hashlib.sha256(np.ascontiguousarray(a).data).digest(), i)
            if before != i:
                taken.again.append(i)
            if {before, i} <= place.keys() and place[before] != place[i]:
                raise ValueError(
                    f"{path}: sample {i} has the inputs of sample {before}, and they are in different splits, "
                    f"{place[i]} and {place[before]}"
                )
        start += len(block.nu)
        taken.look(block)
        yield block


def _blocks(foreign: Foreign, path: Path, samples: int, kind: Kind, boundary: str | None) -> Iterator[Block]:
    vanishing = foreign.darcy and boundary == storage.BOUNDARY and kind == "vertices"
    positive = [channel for channel, field in enumerate(foreign.inputs) if field.positive and not foreign.indicator]
    one, whole = len(foreign.inputs) == 1, (slice(None), 0) if not foreign.times else slice(None)
    given, found = ("coefficient", "solution") if foreign.darcy else ("inputs", "outputs")
    for start in range(0, samples, foreign.at_once):
        rows = slice(start, min(start + foreign.at_once, samples))
        try:
            a = _in_float32(
                given, foreign.read_inputs(rows), start, relative_to="itself" if foreign.darcy else "largest"
            )
            u = _in_float32(found, foreign.read_outputs(rows), start)
            for channel in positive:
                name = foreign.inputs[channel].name
                _refuse(f"the {name} must be positive", (a[:, channel] <= 0).any((1, 2)), start)
            if vanishing:
                edges = np.abs(np.concatenate([u[..., [0, -1], :], u[..., [0, -1]].swapaxes(-1, -2)], -1))
                off = edges.max((1, 2, 3, 4)) > ON_EDGES * np.abs(u).max((1, 2, 3, 4))
                _refuse(f"the boundary condition is {boundary}, and the solution is not 0 there", off, start)
            name = "the solution is" if foreign.darcy else "the outputs are"
            _refuse(f"{name} zero everywhere, and no error relative to it", ~u[:, -1].any((1, 2, 3)), start)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        yield Block(a[:, 0] if one else a, u[whole])


def _in_float32(
    name: str, values: Shaped[np.ndarray, "k *any"], start: int, relative_to: str = "largest"
) -> Float32[np.ndarray, "k *any"]:
    """Values as they are stored, if these are what they were: to 2⁻²⁴ of themselves, or of the largest of a sample.

    Raises
    ------
    ValueError
        Naming the first sample of which that is not so.
    """
    if values.dtype.kind not in "biuf":
        raise ValueError(f"the {name} must be real numbers, got {values.dtype}")
    every = tuple(range(1, values.ndim))
    with np.errstate(over="ignore"):
        stored = values.astype(np.float32)
    _refuse(f"NaN or infinite values in the {name}, or too large for float32", ~np.isfinite(stored).all(every), start)
    there = np.abs(values.astype(np.float64))
    beside = there if relative_to == "itself" else there.max(every[1:], keepdims=True)
    lost = np.abs(np.abs(stored) - there) > FLOAT32 * beside
    _refuse(f"values of the {name} are too small for float32", lost.any(every), start)
    return stored


def _refuse(what: str, bad: Any, start: int) -> None:
    """Raise ValueError, naming the first of the samples from `start` on that are bad, a (k,) bool array, if one is."""
    if bad.any():
        raise ValueError(f"sample {start + int(bad.argmax())}: {what}")
