"""Generate a dataset: recipe → shards → file.

Samples are made in shards, each a complete file that appears atomically in the folder ``OUT.shards``. One after another
they are copied into ``OUT``, which appears when all are there: one plain file, or one of virtual datasets over the
shards. The same call again takes up where a killed one stopped, and the content depends neither on that, nor on
workers, order or shard size.
"""

import json
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from data_gen import storage
from data_gen.counts import PROCESSES, check_count
from data_gen.grid import Grid
from data_gen.laws.stored import read_array
from data_gen.lookup import find_callable
from data_gen.problem import Problem, samples_at_once
from data_gen.problems import build_problem, kind_of
from data_gen.recipe import PUBLISHED_MEANING, SPLIT, Fractions, Recipe
from data_gen.shards import (
    complete_shards,
    in_order,
    make_shard,
    measure_labels,
    measured_labels,
    measured_path,
    measurements,
    shard_path,
)
from data_gen.storage import DatasetInfo
from data_gen.tasks import run
from data_gen.uncertainty import measured

LOCK, MANIFEST = "lock", "recipe.json"
"""What stands beside the shards in their folder."""

POINTS_PER_SHARD = 2**20
"""A few seconds of work on a CPU."""

FIELDS = 10
"""Of float64 that any solve holds at least, beside the diagonals of a matrix, or stages of a step."""


def batched(numbers: Sequence[int], size: int) -> list[Sequence[int]]:
    """The numbers in pieces of `size`, the last one of what is left."""
    return [numbers[start : start + size] for start in range(0, len(numbers), size)]


def generate(
    out: str | Path,
    samples: int,
    resolution: int | tuple[int, int],
    *,
    problem: str | Problem = "darcy",
    problem_args: dict[str, Any] | None = None,
    seed: int = 0,
    rtol: float | None = None,
    split: Fractions = SPLIT,
    device: str = "cpu",
    workers: int = 1,
    executor: Executor | None = None,
    shard_size: int | None = None,
    merge: bool = True,
    label_refinement: int = 1,
    progress: Callable[[int, int], None] | None = None,
    **parameters: Any,
) -> DatasetInfo:
    """Generate a dataset of inputs of a problem and verified solutions for them.

    Parameters
    ----------
    out : path
        File to write, usually ``.hdf5``.
    samples : int
        Number of samples.
    resolution : int or (n, m)
        Points a side, or along x and y.
    problem : str or Problem
        A name in `data_gen.PROBLEMS`, ``module:Class`` or ``file.py:Class``, see `build_problem`; or one that is built.
    problem_args, **parameters : dict
        Parameters of the problem. Of Darcy flow, ``law``, ``law_args``, ``source``, ``mean`` and ``method``.
        A parameter that a string names as a ``.npy`` file is that array; of a `source`, a string is a number, such a
        file or ``module:function``, and a function is evaluated at the grid points x, y, arrays of shape (n, m).
    seed : int
        Sample i depends on the seed and i alone.
    rtol : float, optional
        Bound on the evidence of each label; the problem's own by default.
    split : 3 floats
        Fractions of train, val and test.
    device : str
        "cpu", or a torch device such as "cuda", which solves shards in batches. Workers share out the GPUs there are.
    workers : int
        Processes, if no `executor` is given. Like all of multiprocessing, more than one needs a
        main module that can be imported.
    executor : concurrent.futures.Executor
        Runs the shards elsewhere; its workers must see the folder of `out`.
    shard_size : int
        Samples in a shard, the most that a kill loses per worker.
    merge : bool
        Make one plain file, else one of virtual datasets over the shards.
    label_refinement : int
        Solve on this many times as many intervals, and bring inputs and solutions down to `resolution`; then a file of
        test samples says how far its labels may still be from the solution of the equation, see `data_gen.uncertainty`.
    progress : callable
        Told the number of samples that are done, and of all.

    Returns
    -------
    DatasetInfo

    Raises
    ------
    ValueError, OSError, NotConverged
        For a recipe that cannot be; an output path that holds something else; a solve that misses its tolerance.
    """
    out = Path(out)
    shape = (resolution, resolution) if isinstance(resolution, int) else resolution
    built = built_problem(problem, shape, dict(problem_args or {}) | parameters)
    recipe = Recipe(samples, Grid(shape, built.kind, built.lengths), built, seed, rtol, split, device, label_refinement)
    check_count("workers", workers, PROCESSES)
    if shard_size is not None:
        check_count("shard_size", shard_size)
    check_device(device)
    report = progress or (lambda done, total: None)
    there = complete(out, recipe)
    folder = out.with_name(out.name + ".shards")
    if there is not None:
        report(samples, samples)
        if merge and (folder / MANIFEST).exists():
            with _claimed(folder, recipe, 1):
                _merge(recipe, out, folder, [], iter(()))
        return there
    size = shard_size or _shard_size(recipe, 64 if executor else 16 * workers)
    _check_target(recipe, out, folder, merge)
    with _claimed(folder, recipe, size) as size:
        firsts, place = range(0, samples, size), folder.absolute()
        missing = [(first, min(size, samples - first)) for first in firsts if not shard_path(folder, first).exists()]
        unmeasured = batched(
            [i for i in measured(recipe) if not measured_path(folder, i).exists()],
            1 if device == "cpu" else samples_at_once(recipe.solved_on),
        )
        tasks: list[Callable[[], int]] = [partial(measure_labels, recipe, place, some) for some in unmeasured]
        tasks += [partial(make_shard, recipe, place, first, count) for first, count in missing]

        def made() -> Iterator[None]:
            done = samples - sum(count for _, count in missing)
            report(done, samples)
            for count in run(tasks, workers, executor, gpus(device)):
                done += count
                report(done, samples)
                yield

        if merge:
            _merge(recipe, out, folder, firsts, made())
        else:
            deque(made(), maxlen=0)
            for leftover in storage.leftovers(folder):
                leftover.unlink()
            header = recipe.header()
            header.attributes.update(measured_labels(recipe, folder))
            storage.write_virtual(out, header, complete_shards(folder), scratch=folder)
    return storage.read_info(out)


def check_device(device: str) -> None:
    """Raise ValueError unless a problem can be solved there: on the CPU, or a GPU that is there."""
    if device == "cpu":
        return
    try:
        import torch
        import triton  # noqa: F401

        usable = torch.device(device).type == "cuda" and torch.cuda.is_available()
    except (ImportError, RuntimeError):
        usable = False
    if not usable:
        raise ValueError(f"device must be cpu, or cuda where there is a GPU for torch and triton, got {device!r}")


def gpus(device: str) -> list[str]:
    """The GPUs that a device stands for, as ``CUDA_VISIBLE_DEVICES`` names them: all there are where it names none."""
    if device == "cpu" or ":" in device:
        return []
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",") if visible else [str(i) for i in range(torch.cuda.device_count())]


def _shard_size(recipe: Recipe, parts: int) -> int:
    """Samples in a shard: a few seconds of work on a CPU, in enough parts to keep workers busy; a batch on a GPU."""
    if recipe.device != "cpu":
        times = max(1, len(recipe.problem.times))
        return max(samples_at_once(recipe.solved_on), samples_at_once(recipe.grid) // times)
    return min(256, max(1, POINTS_PER_SHARD // recipe.grid.points), -(-recipe.samples // parts))


def built_problem(problem: str | Problem, shape: tuple[int, ...], parameters: dict[str, Any]) -> Problem:
    """The problem that is asked for, with what its parameters name as files and functions.

    Raises
    ------
    ValueError, FileNotFoundError
        If there is no such problem or file, or it takes no such parameters.
    """
    if isinstance(problem, Problem):
        if parameters:
            raise ValueError(f"a problem that is built takes no parameters, got {', '.join(parameters)}")
        return problem
    grid = Grid(shape, kind_of(problem))
    return build_problem(problem, **{name: sampled(name, value, grid) for name, value in parameters.items()})


def sampled(name: str, value: Any, grid: Grid) -> Any:
    """A parameter as the problem takes it: numbers, files and functions that are typed as a source are read."""
    if isinstance(value, str) and name == "source":
        try:
            return float(value)
        except ValueError:
            value = _sampled_function(value, name, grid) if ":" in value else read_array(value, name)
    elif isinstance(value, str) and value.endswith(".npy") and name != "law":
        value = read_array(value, name)
    if callable(value):
        value = np.broadcast_to(value(*grid.mesh()), grid.shape)
    return np.array(value, dtype=np.float64) if isinstance(value, np.ndarray) else value


def _sampled_function(typed: str, name: str, grid: Grid) -> np.ndarray:
    """The values of a function of the coordinates that a parameter names.

    Raises
    ------
    ValueError
        If there is no such function, it raises anything, or its values are no numbers for each of the points.
    """
    function = find_callable(typed, {}, name)
    try:
        return np.array(np.broadcast_to(function(*grid.mesh()), grid.shape), dtype=np.float64)
    except Exception as error:  # of the user's own
        raise ValueError(f"{name} {typed!r}: {type(error).__name__}: {error}") from error


def complete(out: Path, recipe: Recipe) -> DatasetInfo | None:
    """What `out` says about itself if it is the complete dataset of `recipe`; None if nothing is there.

    Raises
    ------
    FileExistsError
        If something else is there.
    """
    if not os.path.lexists(out):
        return None
    try:
        info = storage.read_info(out)
        there = json.loads(info.attributes["recipe"])
    except (PermissionError, BlockingIOError):
        raise
    except (ValueError, KeyError, OSError):
        raise FileExistsError(f"{out} exists and is no dataset of generate; it is left as it is") from None
    _check_same(there, recipe.to_json(), out)
    return info


def _check_same(there: dict[str, Any], here: dict[str, Any], path: Path) -> None:
    there, here = PUBLISHED_MEANING | there, PUBLISHED_MEANING | here
    if not there["sources"]:  # of an earlier version, which did not keep them
        here = here | {"sources": {}}
    different = [f"{key} is {there.get(key)} there, {here[key]} here" for key in here if there.get(key) != here[key]]
    if different:
        raise FileExistsError(f"{path} holds another recipe: {'; '.join(different)}")


def _check_target(recipe: Recipe, out: Path, folder: Path, merge: bool) -> None:
    """Make the folder of `out`, or say why it cannot be written to, or cannot hold what is still to come."""
    out.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(out.parent, os.W_OK | os.X_OK):
        raise PermissionError(f"{out.parent}: the folder is not writable")
    there, least = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), FIELDS * 8 * recipe.solved_on.points
    if least > there:
        refined = f", label_refinement {recipe.label_refinement}" if recipe.label_refinement > 1 else ""
        raise ValueError(
            f"resolution {recipe.grid}{refined}: a solve on {recipe.solved_on} points takes {least / 1e9:.0f} GB of "
            f"memory or more, and this machine has {there / 1e9:.0f} GB"
        )
    needed = storage.file_size(recipe.header()) * (2 if merge else 1)
    needed -= sum(shard.stat().st_size for shard in complete_shards(folder))
    free = shutil.disk_usage(out.parent).free
    if needed > free:
        raise OSError(f"{out.parent}: {needed / 1e9:.2f} GB are needed while generating, {free / 1e9:.2f} GB are free")


@contextmanager
def _claimed(folder: Path, recipe: Recipe, size: int) -> Iterator[int]:
    """Hold the folder of shards for this process; yields the shard size that it was begun with.

    A folder in which nothing is complete yet is begun anew, whatever its recipe was.
    """
    folder.mkdir(exist_ok=True)
    with storage.locked(folder / LOCK):
        manifest = folder / MANIFEST
        if manifest.exists() and (complete_shards(folder) or measurements(folder)):
            there = storage.read_json(manifest, "recipe", "shard_size")
            if not (
                isinstance(there["recipe"], dict) and isinstance(there["shard_size"], int) and there["shard_size"] > 0
            ):
                raise ValueError(f"{manifest} is damaged: it holds no recipe and number of samples")
            _check_same(there["recipe"], recipe.to_json(), folder)
            size = there["shard_size"]
        elif {*folder.iterdir()} - {folder / LOCK, manifest, *storage.leftovers(folder)}:
            raise FileExistsError(f"{folder} exists and holds no shards of generate; it is left as it is")
        else:
            storage.write_text(manifest, json.dumps({"recipe": recipe.to_json(), "shard_size": size}))
        yield size


def _merge(recipe: Recipe, out: Path, folder: Path, firsts: Sequence[int], made: Iterator[None]) -> None:
    """Make `out` a plain file of the shards, those that `made` is still making too, and remove them."""
    if not out.exists() or storage.is_virtual(out):
        paths = [shard_path(folder, first) for first in firsts] or complete_shards(folder)
        blocks = in_order(paths, made)
        storage.write(out, recipe.header(), blocks, folder, lambda: measured_labels(recipe, folder))
    _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a folder of shards, but for what is not ours in it."""
    for ours in [*complete_shards(folder), *measurements(folder), *storage.leftovers(folder)]:
        ours.unlink(missing_ok=True)
    (folder / LOCK).unlink()
    (folder / MANIFEST).unlink()  # last, so that what a kill leaves is known as ours
    with suppress(OSError):  # holds something that is not ours
        folder.rmdir()
