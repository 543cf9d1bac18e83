"""Check a finished dataset: does every stored field solve its equation?

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
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from data_gen import storage
from data_gen.problems.darcy.scheme import Mean, Source, interior_source, magnitude, outflow, residual
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


def verify(path: str | Path | h5py.File, progress: Callable[[int, int], None] | None = None) -> Iterator[Finding]:
    """Recompute all that can be recomputed; yields what is wrong.

    Parameters
    ----------
    path : path or h5py.File
        A dataset file.
    progress : callable
        Told the number of samples that are done, and of all.

    Raises
    ------
    FileNotFoundError, ValueError
        If the file itself cannot be read as a dataset.
    """
    with storage.open_hdf5(path) as file:
        path = Path(file.filename)
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
