"""Check a finished dataset: does every stored field solve its equation?

Nothing is taken on trust. From the float32 fields as they lie in the file are recomputed the checksums, of each sample,
of each shard, and the digest of the whole; and what the problem itself can check (`data_gen.problem.Problem.check`): of
a problem that says no more, that solving again gives the stored solution. Of Darcy flow that is

- the residual. Rounding u to float32 changes each entry by at most 2⁻²⁴|u|, so that a field whose
  residual was within rtol must satisfy ‖f - Au‖ ≤ rtol ‖f‖ + c 2⁻²⁴ ‖|A||u|‖ with c = 1;
- the flux balance, |Σ(f - Au)| ≤ rtol √N ‖f‖ + 2⁻²⁴ Σ|flux|, the last sum over the outermost faces.
  Inner faces cancel, and with them most of the rounding: it is sharper than the residual;
- the maximum principle: u = 0 on the boundary, and u ≥ 0 where f ≥ 0 (Gilbarg & Trudinger, §3.1).

Instead of rtol stands the residual that the file records, for a sample that was accepted at the floor of float64.

Labels that were solved for on a finer grid satisfy no equation on the one that is stored: their inputs are drawn again,
and solved for there.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from jaxtyping import Float

from data_gen import storage
from data_gen.problem import NotConverged, Problem
from data_gen.recipe import Recipe, problem_of, recipe_of
from data_gen.samples import brought_down, draw_all, solve_all
from data_gen.storage import DatasetInfo

OTHERWISE = (b"floor", b"step")
"""Criteria by which a sample is accepted whose evidence exceeds the tolerance."""

SAME_INPUT = 1e-6
"""How far an input that is drawn again may be from the stored one, relative to it: their rounding to float32."""


class Finding(NamedTuple):
    """Something wrong with a sample, or with the file where `sample` is None."""

    sample: int | None
    message: str

    def __str__(self) -> str:
        return self.message if self.sample is None else f"sample {self.sample}: {self.message}"


def verify(
    path: str | Path | h5py.File,
    progress: Callable[[int, int], None] | None = None,
    *,
    trust: bool = False,
    device: str = "cpu",
) -> Iterator[Finding]:
    """Recompute all that can be recomputed; yields what is wrong.

    Parameters
    ----------
    path : path or h5py.File
        A dataset file.
    progress : callable
        Told the number of samples that are done, and of all.
    trust : bool
        Whether to run a problem that is code of a user's own.
    device : str
        Where to solve again for labels of a finer grid: "cpu", or a torch device such as "cuda".

    Raises
    ------
    FileNotFoundError, ValueError
        If the file itself cannot be read as a dataset.
    """
    with storage.open_hdf5(path) as file:
        path = Path(file.filename)
        info = storage.describe(path, file)
        problem, recipe = problem_of(info, storage.arrays_of(file), trust), None
        if info.label_refinement > 1:
            recipe = replace(recipe_of(info, storage.arrays_of(file), trust), device=device)
        broken = dict(_broken_shards(path, file))
        yield from (Finding(i, message) for i, message in sorted(broken.items()))
        if storage.digest(info.grid.kind, info.splits, file["quality/sha256"][:]) != info.digest:
            yield Finding(None, "the digest differs from the checksums, the grid or the splits")
        if storage.seal(file) != info.attributes.get("seal"):
            yield Finding(None, "an attribute, coordinate, split or record of quality is not as it was written")
        for i in range(info.samples):
            if i not in broken:
                yield from (Finding(i, message) for message in _check_sample(file, info, problem, recipe, i))
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


def _check_sample(
    file: h5py.File, info: DatasetInfo, problem: Problem | None, recipe: Recipe | None, i: int
) -> Iterator[str]:
    nu, tensor = file["nu"][i], file["tensor"][i]
    if storage.checksum(nu, tensor) != file["quality/sha256"][i]:
        yield "the checksum differs"
    a = nu.astype(np.float64).reshape(len(info.inputs), *info.shape)
    u = tensor.astype(np.float64).reshape(-1, len(info.outputs), *info.shape)
    if not (np.isfinite(a).all() and np.isfinite(u).all()):
        yield "NaN or infinite values"
        return
    if info.attributes.get("coefficient") != "indicator":
        for field, values in zip(info.inputs, a, strict=True):
            if field.positive and not values.min() > 0:
                yield f"the {field.name} is not positive, its minimum is {values.min():g}"
                return
    if problem is None or problem.kind != info.grid.kind:
        return
    rtol = float(info.attributes.get("rtol", problem.rtol))
    evidence = float(storage.evidence_of(file)[i])
    if evidence > rtol and file["quality/accepted_by"][i] not in OTHERWISE:
        yield f"the recorded residual {evidence:.1e} exceeds {rtol:g}"
    try:
        if recipe is None:
            yield from problem.check(a, u, info.grid, evidence, rtol)
        else:
            yield from _check_again(recipe, i, a, u)
    except NotConverged as error:
        yield f"it cannot be solved for again: {error}"
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:  # of a problem of one's own
        yield f"it cannot be checked: {type(error).__name__}: {error}"


def _check_again(
    recipe: Recipe, i: int, a: Float[np.ndarray, "inputs *shape"], u: Float[np.ndarray, "times outputs *shape"]
) -> Iterator[str]:
    """What is wrong with a sample whose label was solved for on a finer grid, drawn and solved for again."""
    drawn = draw_all(recipe, recipe.solved_on, [i])
    for field, there, again in zip(recipe.problem.inputs, a, brought_down(recipe, drawn[0], "input"), strict=True):
        if not np.allclose(there, again, rtol=SAME_INPUT, atol=0):
            yield f"the {field.name} is not the one that the recipe draws"
            return
    (found,) = solve_all(recipe, recipe.solved_on, [i], drawn)
    yield from recipe.problem.unlike(u, brought_down(recipe, found.u, "output"))
