"""The grid of a foreign file: as told, as its layout says, or read off its data.

From coordinates, where there are any, which must be evenly spaced along both axes, and those of the unit square where
the samples are of Darcy flow; else from solutions that vanish on all four edges, or on two of them.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float, Shaped

from data_gen.formats.foreign import Foreign
from data_gen.grid import KINDS, Grid, Kind

WRAPPED = 3.0
"""How many times larger than between neighbours the step across the ends of a periodic axis may be, on average."""

TWICE = 1e-6
"""The same ratio, below which the last point is the first one again."""


def grid_of(
    foreign: Foreign, path: Path, told: Kind | None, some: slice
) -> tuple[Grid, tuple[np.ndarray, np.ndarray], str]:
    """The grid of a file, its coordinates, and in words what says so.

    Raises
    ------
    ValueError
        If nothing says so, or what is told is not so.
    """
    n, m = foreign.shape
    read = [_read_axis(foreign, path, axis) for axis in (0, 1)]
    kinds = {name: kind for name, (kind, _) in zip("xy", read, strict=True) if kind is not None}
    if len(set(kinds.values())) > 1:
        raise ValueError(f"{path}: the grid must be of one kind, got {kinds['x']} along x and {kinds['y']} along y")
    seen, wanted = next(iter(kinds.values()), None), told or foreign.kind
    if wanted and seen and wanted != seen and (wanted, seen) != ("periodic", "left"):
        raise ValueError(f"{path} says by its coordinates that its grid is {seen}, and grid is {wanted}")
    kind, by = wanted or seen, "as told" if told else "as its layout says" if foreign.kind else "by its coordinates"
    if kind is None:
        solutions = np.asarray(foreign.read_outputs(some), dtype=np.float64)
        kind, by = kind_of_grid(solutions.reshape(-1, n, m)), "as solutions vanish on its edges"
    if kind is None:
        raise ValueError(f"{path} does not tell the kind of its grid: say grid {', '.join(KINDS)}")
    if kind == "periodic":
        least, most = across_ends(foreign.read_outputs(some))
        if most > WRAPPED:
            raise ValueError(
                f"{path}: a periodic grid must close, and across its ends fields differ {most:.0f} times more than "
                "between neighbouring points: say another grid"
            )
        if least < TWICE:
            raise ValueError(
                f"{path}: a periodic grid has each point once, and fields are the same at both ends of an axis: "
                "leave the last point out, or say another grid"
            )
    intervals = [points - (kind == "vertices") for points in (n, m)]
    sides = [1.0 if h is None else round(h * k, 9) for (_, h), k in zip(read, intervals, strict=True)]
    if foreign.x is None and foreign.y is None:
        by += "; the unit square, as there are no coordinates"
    own = Grid((n, m), kind, () if sides == [1.0, 1.0] else tuple(sides))
    x, y = (
        theirs if theirs is not None else ours for theirs, ours in zip((foreign.x, foreign.y), own.axes(), strict=True)
    )
    return own, (x, y), by


def _read_axis(foreign: Foreign, path: Path, axis: int) -> tuple[Kind | None, float | None]:
    """What the coordinates of an axis tell: the kind of grid, on (0, 1), or else the distance of its points.

    Raises
    ------
    ValueError
        If they do not rise evenly, or are not those of the unit square and the samples are of Darcy flow.
    """
    name, values, n = "xy"[axis], (foreign.x, foreign.y)[axis], foreign.shape[axis]
    if values is None or (kind := _kind_of(values, n)):
        return (None if values is None else kind), None
    ends = f"{values.flat[0]:g} … {values.flat[-1]:g}" if values.size else "none"
    if foreign.darcy:
        raise ValueError(
            f"{path}: the {name}-coordinate must rise evenly over (0, 1), in {n} points at i/{n - 1} (vertices) or "
            f"1/{n} apart (left), got {ends} in shape {values.shape}"
        )
    steps = np.diff(values) if values.shape == (n,) else np.array([np.nan])
    if not (steps > 0).all() or not np.allclose(steps, steps.mean(), rtol=1e-3):
        raise ValueError(f"{path}: the {name}-coordinate must rise evenly in {n} points, got {ends} in {values.shape}")
    return None, float(steps.mean())


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


def across_ends(u: Shaped[np.ndarray, "*any n m"]) -> tuple[float, float]:
    """How many times larger the mean step across the ends of an axis is than that between neighbours, of (n, m) fields.

    The lesser of the two axes, and the larger; 1 along an axis on which nothing changes.
    """
    fields = np.asarray(u, dtype=np.float64)
    ratios = []
    for axis in (-2, -1):
        across = np.abs(fields.take(0, axis) - fields.take(-1, axis)).mean()
        between = np.abs(np.diff(fields, axis=axis)).mean()
        ratios.append(float(across / between) if between else 1.0)
    return min(ratios), max(ratios)
