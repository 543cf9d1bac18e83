"""Check a finished dataset: does every stored field solve its equation, and how good is it as a label?

Nothing is taken on trust. From the float32 fields as they lie in the file are recomputed

- the checksums, of each sample, of each shard, and the digest of the whole;
- the residual. Rounding u to float32 changes each entry by at most 2⁻²⁴|u|, so that a field whose
  residual was within rtol must satisfy ‖f - Au‖ ≤ rtol ‖f‖ + c 2⁻²⁴ ‖|A||u|‖ with c = 1;
- the flux balance, |Σ(f - Au)| ≤ rtol √N ‖f‖ + 2⁻²⁴ Σ|flux|, the last sum over the outermost faces.
  Inner faces cancel, and with them most of the rounding: it is sharper than the residual;
- the maximum principle: u = 0 on the boundary, and u ≥ 0 where f ≥ 0 (Gilbarg & Trudinger, §3.1).

Instead of rtol stands the residual that the file records, for a sample that was accepted at the floor of float64.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from jaxtyping import Float
from scipy.interpolate import RectBivariateSpline

from data_gen import storage
from data_gen.darcy import Mean, Source, interior_source, magnitude, outflow, residual
from data_gen.recipe import Recipe
from data_gen.samples import coefficient
from data_gen.solvers import solve
from data_gen.storage import DatasetInfo

RTOL = 1e-10
ROUNDING = 2.0**-24
NEGATIVE = 1e-6


class Finding(NamedTuple):
    """Something wrong with a sample, or with the file where `sample` is None."""

    sample: int | None
    message: str

    def __str__(self) -> str:
        return self.message if self.sample is None else f"sample {self.sample}: {self.message}"


def verify(path: str | Path, progress: Callable[[int, int], None] | None = None) -> Iterator[Finding]:
    """Recompute all that can be recomputed; yields what is wrong.

    Parameters
    ----------
    path : path
        A dataset file.
    progress : callable
        Told the number of samples that are done, and of all.

    Raises
    ------
    FileNotFoundError, ValueError
        If the file itself cannot be read as a dataset.
    """
    path = Path(path)
    with storage.open_hdf5(path) as file:
        info = storage.describe(path, file)
        source = storage.source_of(file)
        broken = dict(_broken_shards(path, file))
        yield from (Finding(i, message) for i, message in sorted(broken.items()))
        if storage.digest(info.grid, info.splits, file["quality/sha256"][:]) != info.digest:
            yield Finding(None, "the digest differs from the checksums, the grid or the splits")
        if storage.seal(file) != info.attributes.get("seal"):
            yield Finding(None, "an attribute, coordinate, split or record of quality is not as it was written")
        for i in range(info.samples):
            if i not in broken:
                yield from (Finding(i, message) for message in _check_sample(file, info, source, i))
            if progress:
                progress(i + 1, info.samples)


def _broken_shards(path: Path, file: h5py.File) -> Iterator[tuple[int, str]]:
    """The samples of each shard that is missing or not what it was."""
    if "shards" not in file:
        return
    ends = [*file["shards/first"][1:], len(file["nu"])]
    digests = file["shards/sha256"][:]
    for (shard, size), first, end, digest in zip(
        storage.shard_sizes(path, file), file["shards/first"][:], ends, digests, strict=True
    ):
        if not shard.exists():
            message = f"shard {shard.name} is missing"
        elif shard.stat().st_size != size:
            message = f"shard {shard.name} has {shard.stat().st_size} bytes, not {size}"
        elif storage.file_checksum(shard) != digest:
            message = f"the checksum of shard {shard.name} differs"
        else:
            continue
        yield from ((int(i), message) for i in range(first, end))


def _check_sample(file: h5py.File, info: DatasetInfo, source: Source | None, i: int) -> Iterator[str]:
    nu, tensor = file["nu"][i], file["tensor"][i]
    if storage.checksum(nu, tensor) != file["quality/sha256"][i]:
        yield "the checksum differs"
    a, u = nu.astype(np.float64), tensor[0].astype(np.float64)
    if not (np.isfinite(a).all() and np.isfinite(u).all()):
        yield "NaN or infinite values"
        return
    if info.attributes.get("coefficient") == "physical" and not a.min() > 0:
        yield f"the coefficient is not positive, its minimum is {a.min():g}"
        return
    if info.equation == storage.EQUATION and info.grid == "vertices" and source is not None:
        rtol = float(info.attributes.get("rtol", RTOL))
        stored = float(file["quality/relative_residual"][i])
        if stored > rtol and file["quality/accepted_by"][i] != b"floor":
            yield f"the recorded residual {stored:.1e} exceeds {rtol:g}"
        mean = info.attributes.get("face_mean", "arithmetic")
        yield from _check_solution(a, u, source, np.fmax(rtol, stored), mean)


def _check_solution(a: np.ndarray, u: np.ndarray, source: Source, rtol: float, mean: Mean) -> Iterator[str]:
    f = interior_source(source, a.shape)
    norm = np.linalg.norm(f)
    r, allowed = np.linalg.norm(residual(a, u, source, mean)), ROUNDING * np.linalg.norm(magnitude(a, u, mean))
    if not r <= rtol * norm + allowed:
        yield f"the residual is {r / (norm or 1):.1e}, and rounding explains {allowed / (norm or 1):.1e} of it"
    edge = np.abs(np.concatenate([u[0], u[-1], u[:, 0], u[:, -1]])).max()
    if edge > 0:
        yield f"the solution is not zero on the boundary, but up to {edge:.1e}"
    out, total = outflow(a, u, mean)
    if not abs(out - f.sum()) <= rtol * np.sqrt(f.size) * norm + ROUNDING * total:
        yield f"the flux is out of balance: {out:.9g} leaves, {f.sum():.9g} enters"
    sign = 1 if f.min() >= 0 else -1 if f.max() <= 0 else 0
    if sign and (sign * u).min() < -NEGATIVE * np.abs(u).max():
        relation = "≥" if sign > 0 else "≤"
        yield f"the maximum principle is violated: f {relation} 0, and u reaches {sign * (sign * u).min():.2e}"


class ErrorEstimate(NamedTuple):
    """The discretisation error of one label, by Richardson extrapolation.

    Attributes
    ----------
    sample : int
        Number of the sample.
    relative_l2 : float
        Estimate of ‖u_h - u‖ / ‖u‖ over the vertices.
    order : float
        Observed order of convergence, from spacings 2h, h and h/2; NaN where 2h is no grid.
    """

    sample: int
    relative_l2: float
    order: float


class Extrapolation(NamedTuple):
    """One label and what it tends to as the grid is refined.

    Attributes
    ----------
    label, limit : (n, m) arrays
        u_h, and the estimate of the solution u of the differential equation at its vertices.
    order : float
        Observed order of convergence, from spacings 2h, h and h/2; NaN where 2h is no grid.
    """

    label: Float[np.ndarray, "n m"]
    limit: Float[np.ndarray, "n m"]
    order: float


def extrapolate(path: str | Path, i: int) -> Extrapolation:
    """Estimate the solution of the differential equation that the label of sample `i` discretises.

    The same coefficient, drawn again from the recipe, is solved at half the spacing, with a source array
    interpolated by cubic splines; with the error of order p, u ≈ u_h + (u_{h/2} - u_h) / (1 - 2⁻ᵖ)
    (Richardson 1911). p is observed in the norm, between ½ and 2, by solving at twice the spacing as well;
    where there is no such grid, it is taken as 1. Where the coefficient jumps, the error has no expansion in h
    point by point: the size of u - u_h is estimated, not its shape.

    Raises
    ------
    ValueError
        If the file was not made by a law that can be drawn on a finer grid.
    """
    info, source = storage.read_info(path), storage.read_source(path)
    if "recipe" not in info.attributes or source is None or info.attributes["law"].endswith(".npy"):
        raise ValueError(f"{path} has no law by which its coefficients could be drawn on a finer grid")
    recipe = Recipe.from_json(info.attributes["recipe"], source)
    n, m = info.shape
    fine, middle = (_solution(recipe, i, shape) for shape in ((2 * n - 1, 2 * m - 1), (n, m)))
    order = np.nan
    if n % 2 and m % 2 and min(n, m) >= 5:
        coarse = _solution(recipe, i, ((n + 1) // 2, (m + 1) // 2))
        steps = coarse - middle[::2, ::2], middle[::2, ::2] - fine[::4, ::4]
        order = float(np.log2(np.linalg.norm(steps[0]) / np.linalg.norm(steps[1])))
    p = float(np.clip(1.0 if np.isnan(order) else order, 0.5, 2))
    return Extrapolation(middle, middle + (fine[::2, ::2] - middle) / (1 - 2**-p), order)


def richardson(path: str | Path, samples: int = 3) -> Iterator[ErrorEstimate]:
    """Estimate the error of the first labels against the solution of the differential equation, see `extrapolate`.

    Raises
    ------
    ValueError
        If the file was not made by a law that can be drawn on a finer grid.
    """
    for i in range(min(samples, storage.read_info(path).samples)):
        label, limit, order = extrapolate(path, i)
        yield ErrorEstimate(i, float(np.linalg.norm(limit - label) / np.linalg.norm(label)), order)


def _solution(recipe: Recipe, i: int, shape: tuple[int, int]) -> np.ndarray:
    source = recipe.source
    if isinstance(source, np.ndarray):
        (x, y), (fine_x, fine_y) = (map(storage.vertices, s) for s in (recipe.shape, shape))
        source = np.asarray(RectBivariateSpline(x, y, source)(fine_x, fine_y))
    recipe = replace(recipe, shape=shape, source=source)
    return solve(coefficient(recipe, i), recipe.source, method=recipe.method, rtol=recipe.rtol, mean=recipe.mean)
