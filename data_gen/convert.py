"""Files of other projects to our schema, and back.

What a format cannot say (source, boundary condition, law) is told by the caller or marked unknown.
The kind of grid is read off the data: from coordinates where there are any, which must be those of the
unit square along both axes; else from solutions that vanish on all four edges, or on two of them.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from itertools import accumulate
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Float, Float32, Shaped

from data_gen import storage
from data_gen.formats import FORMATS, Foreign, Selection, read_foreign
from data_gen.formats.foreign import SAMPLES
from data_gen.grid import Grid, Kind
from data_gen.problem import FLOAT32
from data_gen.storage import Block, Header


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
    split: str | None = None,
    resolution: int | None = None,
) -> Path:
    """Convert a dataset file.

    Parameters
    ----------
    source : path
        A file of this project's schema, or of another: ``.pt``, ``.mat``, or HDF5 in PDEBench's Darcy layout.
    target : path
        File to write; it must not exist.
    to : {"schema", "neuralop", "fno", "pdebench", "the_well"}, optional
        Format of the target; by default ``neuralop`` for ``.pt``, ``fno`` for ``.mat``, else ``schema``.
    grid, f, boundary, law : str, float, str, str, optional
        What a foreign source does not say of itself: kind of grid, constant source, boundary condition, law.
    counts : dict of int, optional
        On import: how many samples each split has, from the first sample on, such as ``{"train": 1000, "val": 24}``;
        those beyond are left out. By default all samples are taken, and of no split.
    split, resolution : str, int, optional
        On export: only the samples of this split, and at this resolution, an exact stride of the source's.

    Returns
    -------
    Path
        `target`.

    Raises
    ------
    FileNotFoundError, FileExistsError, ValueError
        If `source` is missing or unreadable, `target` exists, or a value or an option is unfit; if `source` holds fewer
        samples than `counts` asks for.
    """
    source, target = Path(source), Path(target)
    if not source.exists():
        raise FileNotFoundError(f"{source}: no such file")
    if os.path.lexists(target):
        raise FileExistsError(f"{target} exists; it is left as it is")
    to = to or next((name for name, layout in FORMATS.items() if layout.suffix == target.suffix), "schema")
    if to != "schema" and to not in FORMATS:
        raise ValueError(f"to must be one of schema, {', '.join(FORMATS)}, got {to!r}")
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
            if (grid, f, boundary, law, counts) != (None,) * 5:
                raise ValueError(
                    "grid, f, boundary, law and counts are for files of other projects: this one says them itself"
                )
            selection = Selection(file, split, resolution)
            with storage.atomic(target) as temporary:
                FORMATS[to].write(selection, temporary)
        else:
            if (split, resolution) != (None, None):
                raise ValueError("split and resolution are for exports")
            _import(read_foreign(source, file), source, target, grid, f, boundary, law, counts)
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
) -> None:
    samples, n, m = foreign.shape
    splits = {} if counts is None else _first(counts, foreign.shape, path)
    samples = sum(map(len, splits.values())) or samples
    first = slice(0, min(SAMPLES, samples))
    if min(n, m) < 2:
        raise ValueError(f"{path} holds samples of {n}×{m} points: at least 2 are needed along each axis")
    told = kind_of_axes(foreign, path)
    if grid and told and grid != told:
        raise ValueError(f"{path} says by its coordinates that its grid is {told}, and grid is {grid}")
    grid = grid or told or kind_of_grid(foreign.solution(first))
    if grid is None:
        raise ValueError(f"{path} does not tell the kind of its grid: say grid vertices or left")
    if foreign.source is not None and f is not None and f != foreign.source:
        raise ValueError(f"{path} says that its source is {foreign.source:g}, and f is {f:g}")
    f = foreign.source if f is None else f
    if f is not None and not (np.isfinite(f) and (f != 0 or boundary != storage.BOUNDARY)):
        raise ValueError(f"{path}: the source f must be finite, and not 0 where u = 0 on the boundary, got {f:g}")
    indicator = foreign.coefficient(slice(0, 1)).dtype == bool
    known = f is not None and boundary == storage.BOUNDARY and not indicator
    attributes: dict[str, Any] = {
        "equation": storage.EQUATION if known else storage.UNKNOWN,
        "boundary_condition": boundary or storage.UNKNOWN,
        "law": law or storage.UNKNOWN,
        "coefficient": "indicator" if indicator else "physical",
        "origin": path.name,
    }
    attributes["source"] = storage.UNKNOWN if f is None else "constant"
    if f is not None:
        attributes["beta"] = float(f)
    own = Grid((n, m), grid)
    x, y = (
        theirs if theirs is not None else ours for theirs, ours in zip((foreign.x, foreign.y), own.axes(), strict=True)
    )
    header = Header(samples, own, attributes, axes=(x, y), splits=splits)
    storage.write(target, header, _blocks(foreign, path, indicator, samples))


def _first(counts: Mapping[str, int], shape: tuple[int, int, int], path: Path) -> dict[str, np.ndarray]:
    """Indices of the samples of each split, one split after another."""
    asked = ", ".join(f"{name} {count}" for name, count in counts.items())
    if not counts or min(counts.values()) < 1:
        raise ValueError(f"counts must be at least 1 for each split, got {asked or 'none'}")
    samples, n, m = shape
    *starts, end = accumulate(counts.values(), initial=0)
    if end > samples:
        raise ValueError(f"{path} holds {samples} samples of {n}×{m} points, too few for {asked}")
    return {name: np.arange(start, start + counts[name]) for name, start in zip(counts, starts, strict=True)}


def _blocks(foreign: Foreign, path: Path, indicator: bool, samples: int) -> Iterator[Block]:
    for start in range(0, samples, SAMPLES):
        rows = slice(start, min(start + SAMPLES, samples))
        try:
            a = _in_float32("coefficient", foreign.coefficient(rows), start)
            u = _in_float32("solution", foreign.solution(rows), start)
            _refuse("the coefficient must be positive", (a <= 0).any((1, 2)) & (not indicator), start)
            _refuse("the solution is zero everywhere, and no error relative to it", ~u.any((1, 2)), start)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        yield Block(a, u[:, None])


def _in_float32(name: str, values: Shaped[np.ndarray, "k n m"], start: int) -> Float32[np.ndarray, "k n m"]:
    """Values as they are stored, if these are what they were: to 2⁻²⁴ of themselves, or, of a solution, of the largest.

    Raises
    ------
    ValueError
        Naming the first sample of which that is not so.
    """
    if values.dtype.kind not in "biuf":
        raise ValueError(f"the {name} must be real numbers, got {values.dtype}")
    with np.errstate(over="ignore"):
        stored = values.astype(np.float32)
    _refuse(f"NaN or infinite values in the {name}, or too large for float32", ~np.isfinite(stored).all((1, 2)), start)
    there = np.abs(values.astype(np.float64))
    beside = there if name == "coefficient" else there.max((1, 2), keepdims=True)
    lost = np.abs(np.abs(stored) - there) > FLOAT32 * beside
    _refuse(f"values of the {name} are too small for float32", lost.any((1, 2)), start)
    return stored


def _refuse(what: str, bad: Any, start: int) -> None:
    """Raise ValueError, naming the first of the samples from `start` on that are bad, a (k,) bool array, if one is."""
    if bad.any():
        raise ValueError(f"sample {start + int(bad.argmax())}: {what}")


def kind_of_axes(foreign: Foreign, path: Path) -> Kind | None:
    """What coordinates tell of the grid; None where there are none.

    Raises
    ------
    ValueError
        If they are not those of the unit square, rising and evenly spaced along both axes, and of one kind.
    """
    axes = {"x": (foreign.x, foreign.shape[1]), "y": (foreign.y, foreign.shape[2])}
    kinds = {name: _kind_of(axis, n) for name, (axis, n) in axes.items() if axis is not None}
    for name, kind in kinds.items():
        if kind is None:
            axis, n = axes[name]
            ends = f"{axis.flat[0]:g} … {axis.flat[-1]:g}" if axis is not None and axis.size else "none"
            raise ValueError(
                f"{path}: the {name}-coordinate must rise evenly over (0, 1), in {n} points at i/{n - 1} (vertices) or "
                f"1/{n} apart (left), got {ends} in shape {() if axis is None else axis.shape}"
            )
    if len(set(kinds.values())) > 1:
        raise ValueError(f"{path}: the grid must be of one kind, got {kinds['x']} along x and {kinds['y']} along y")
    return next(iter(kinds.values()), None)


def _kind_of(axis: Float[np.ndarray, "*any"], n: int) -> Kind | None:
    if axis.shape != (n,):
        return None
    off = 1e-3 / n
    if np.allclose(axis, np.arange(n) / (n - 1), rtol=0, atol=off):
        return "vertices"
    apart = np.allclose(axis - axis[0], np.arange(n) / n, rtol=0, atol=off)
    return "left" if apart and axis[0] >= -off and axis[-1] <= 1 + off else None


def kind_of_grid(u: Float[np.ndarray, "k n m"]) -> Kind | None:
    """What solutions that vanish on edges tell of the grid; None if nothing."""
    near, far = (float(np.abs(u[:, i]).mean() + np.abs(u[:, :, i]).mean()) for i in (0, -1))
    if max(near, far) <= 1e-6 * np.abs(u).mean():
        return "vertices"
    return "left" if near < 0.1 * far else None
