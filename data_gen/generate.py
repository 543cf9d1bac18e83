"""Generate a dataset: draw → solve → check → store.

Sample i depends on the recipe and i alone, never on workers, order, shard size or a resume. Samples
are made in shards, each a complete file that appears atomically in the folder ``OUT.shards``; when
all are there, they become ``OUT``: one plain file, or one of virtual datasets over the shards.
The same call again takes up where a killed one stopped.
"""

import fcntl
import hashlib
import json
import multiprocessing
import os
import platform
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from functools import lru_cache, partial
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from threadpoolctl import threadpool_limits

from data_gen import storage
from data_gen.coefficients import Law, Stored, build_law, imported, law_description, law_parameters, read_array
from data_gen.darcy import MEANS, Mean, check_coefficient, interior_source
from data_gen.solvers import METHODS, NotConverged, Solution, solve_verified
from data_gen.storage import DatasetInfo, Header

DEVICE = threading.Lock()
SPLIT = (0.8, 0.1, 0.1)
POINTS_PER_SHARD = 2**20
POINTS_PER_BATCH = 2**24
Fractions = tuple[float | int, float | int, float | int]
SourceLike = float | int | str | np.ndarray | Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Recipe:
    """All that the content of a dataset depends on.

    Attributes
    ----------
    samples : int
        Number of samples.
    shape : (n, m)
        Vertices along x and y.
    seed : int
        Sample i is drawn from the child (i,) of this seed.
    law, law_args : str, dict
        Law of the coefficient and its arguments.
    source : float or (n, m) array
        Source f.
    mean : {"arithmetic", "harmonic"}
        Mean that makes the face values of `a`.
    method, rtol : str, float
        Solver and its tolerance.
    split : 3 fractions
        Of train, val and test, in the order of the samples.
    device : str
        "cpu", or the torch device that solves.

    Raises
    ------
    ValueError
        If a value is out of range, or names what there is not.
    """

    samples: int
    shape: tuple[int, int]
    seed: int = 0
    law: str = "piecewise"
    law_args: dict[str, Any] = field(default_factory=dict)
    source: float | Float[np.ndarray, "n m"] = 1.0
    mean: Mean = "arithmetic"
    method: str = "auto"
    rtol: float = 1e-10
    split: Fractions = SPLIT
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise ValueError(f"samples must be at least 1, got {self.samples}")
        if min(self.shape) < 3:
            raise ValueError(f"resolution must be at least 3, got {'×'.join(map(str, self.shape))}")
        if self.seed < 0:
            raise ValueError(f"seed must be non-negative, got {self.seed}")
        if self.mean not in MEANS:
            raise ValueError(f"mean must be one of {', '.join(MEANS)}, got {self.mean!r}")
        if self.method not in ("auto", *METHODS):
            raise ValueError(f"method must be one of auto, {', '.join(METHODS)}, got {self.method!r}")
        if not 0 < self.rtol < 1:
            raise ValueError(f"rtol must lie between 0 and 1, got {self.rtol}")
        if self.device != "cpu" and self.method == "direct":
            raise ValueError(f"method must be auto or cg on device {self.device!r}, got 'direct'")
        splits(self.samples, self.split)
        interior_source(self.source, self.shape)
        law = build_law(self.law, self.law_args)
        if isinstance(law, Stored) and (self.samples, *self.shape) > (len(law.values), *self.shape):
            raise ValueError(
                f"law {self.law!r} holds {len(law.values)} coefficients, {self.samples} samples are asked for"
            )

    def to_json(self) -> dict[str, Any]:
        """A plain object; a source array is named by its SHA-256."""
        recipe = {f.name: getattr(self, f.name) for f in fields(self)}
        if isinstance(self.source, np.ndarray):
            recipe["source"] = "sha256:" + hashlib.sha256(self.source.tobytes()).hexdigest()
        recipe["law_args"] = law_parameters(self.law, self.law_args)
        return json.loads(json.dumps(recipe))

    @classmethod
    def from_json(cls, text: str, source: float | Float[np.ndarray, "n m"]) -> "Recipe":
        """The recipe that a file records, but for the source, of which it may hold a checksum only."""
        recipe = json.loads(text)
        return cls(**recipe | {"shape": tuple(recipe["shape"]), "split": tuple(recipe["split"]), "source": source})

    def header(self) -> Header:
        """What the file says of all samples."""
        recipe = self.to_json()
        attributes = {
            "equation": storage.EQUATION,
            "boundary_condition": storage.BOUNDARY,
            "coefficient": "physical",
            "law": self.law,
            "law_parameters": json.dumps(recipe["law_args"]),
            "law_description": law_description(self.law),
            "seed": self.seed,
            "solver": f"{self.method} on {self.device}",
            "rtol": self.rtol,
            "face_mean": self.mean,
            "recipe": json.dumps(recipe),
            "software": json.dumps(software(self.device)),
        }
        n, m = self.shape
        return Header(
            self.samples,
            storage.vertices(n),
            storage.vertices(m),
            "vertices",
            attributes,
            self.source,
            splits(self.samples, self.split),
        )


def software(device: str) -> dict[str, str]:
    """Versions of what the numbers depend on."""
    packages = ["pdebench-mano", "numpy", "scipy", "h5py"] + (["torch", "triton"] if device != "cpu" else [])
    return {"python": platform.python_version()} | {name: installed(name) for name in packages}


def installed(package: str) -> str:
    """Version of a package, or "unknown" where the code is not installed as one."""
    try:
        return version(package)
    except PackageNotFoundError:
        return storage.UNKNOWN


def splits(samples: int, fractions: Fractions) -> dict[str, np.ndarray]:
    """Indices of train, val and test: consecutive parts of the samples, by largest fractions first come.

    A part with a positive fraction has at least one sample; an empty part is left out. With fewer
    samples than parts there is no split.

    Raises
    ------
    ValueError
        If the fractions are not three non-negative numbers of sum 1.

    Examples
    --------
    >>> {name: len(part) for name, part in splits(300, (0.8, 0.1, 0.1)).items()}
    {'train': 240, 'val': 30, 'test': 30}
    """
    if len(fractions) != 3 or min(fractions) < 0 or not np.isclose(sum(fractions), 1):
        raise ValueError(f"split must be three fractions of sum 1, got {fractions}")
    if samples < sum(fraction > 0 for fraction in fractions):
        return {}
    counts = [max(1, round(samples * fraction)) if fraction else 0 for fraction in fractions]
    counts[int(np.argmax(fractions))] += samples - sum(counts)
    ends = np.cumsum(counts)
    parts = zip(("train", "val", "test"), ends, counts, strict=True)
    return {name: np.arange(end - count, end) for name, end, count in parts if count}


@lru_cache(maxsize=4)
def _law(name: str, arguments: str) -> Law | Stored:
    return build_law(name, json.loads(arguments))


def coefficient(recipe: Recipe, i: int) -> Float[np.ndarray, "n m"]:
    """The coefficient of sample `i`, rounded to the float32 that is stored, as float64.

    Raises
    ------
    ValueError
        If the law gives another shape.
    """
    law = _law(recipe.law, json.dumps(recipe.law_args))
    rng = np.random.default_rng(np.random.SeedSequence(recipe.seed, spawn_key=(i,)))
    a = law[i] if isinstance(law, Stored) else np.asarray(law(recipe.shape, rng))
    if a.shape != recipe.shape:
        raise ValueError(f"law {recipe.law!r} must give an array of shape {recipe.shape}, got shape {a.shape}")
    return a.astype(np.float32).astype(np.float64)


def make_block(recipe: Recipe, first: int, count: int) -> storage.Block:
    """Draw and solve the samples ``first`` … ``first + count - 1``.

    Raises
    ------
    ValueError, NotConverged
        Naming the sample whose coefficient is unfit, or whose solve misses its tolerance.
    """
    nu = np.empty((count, *recipe.shape), np.float32)
    for k in range(count):
        with _named(first + k):
            nu[k] = coefficient(recipe, first + k)
    ready = solve_on_device(recipe, nu) if recipe.device != "cpu" else {}

    tensor = np.empty((count, 1, *recipe.shape), np.float32)
    solutions = []
    for k in range(count):
        with _named(first + k):
            solutions.append(ready.get(k) or solve_sample(recipe, nu[k]))
        tensor[k, 0] = solutions[k].u
        solutions[k] = solutions[k]._replace(u=tensor[k, 0])
    return storage.Block(
        nu,
        tensor,
        {
            "relative_residual": np.array([s.residual for s in solutions]),
            "accepted_by": np.array([s.accepted_by.encode() for s in solutions]),
            "solver": np.array([s.method.encode() for s in solutions]),
        },
    )


@contextmanager
def _named(sample: int) -> Iterator[None]:
    try:
        yield
    except (NotConverged, ValueError) as error:
        raise type(error)(f"sample {sample}: {error}") from error


def solve_sample(recipe: Recipe, a: np.ndarray) -> Solution:
    """Solve for one coefficient (n, m) on the CPU."""
    return solve_verified(a, recipe.source, method=recipe.method, rtol=recipe.rtol, mean=recipe.mean)


def solve_on_device(recipe: Recipe, nu: np.ndarray) -> dict[int, Solution]:
    """Solve for coefficients (samples, n, m) on a GPU; what does not converge there is left out for `solve_sample`.

    Always in batches of one size, the last one filled up with ones: matrix products of other
    sizes may be summed in another order, and a sample must not depend on its company.
    """
    from data_gen import gpu

    for a in nu:
        check_coefficient(a)
    solutions = {}
    size = batch_size(recipe)
    for start in range(0, len(nu), size):
        a = np.ones((size, *recipe.shape), np.float32)
        count = len(nu[start : start + size])
        a[:count] = nu[start : start + size]
        with DEVICE:
            batch = gpu.attempt(a, recipe.source, rtol=recipe.rtol, mean=recipe.mean, device=recipe.device)
            u = batch.u[:count].cpu().numpy()
        for k in range(count):
            if batch.accepted_by[k]:
                found = Solution(u[k], float(batch.residual[k]), "cg-gpu", batch.accepted_by[k], batch.iterations)
                solutions[start + k] = found
    return solutions


def batch_size(recipe: Recipe) -> int:
    """Samples that a GPU solves at once."""
    return min(4096, max(1, POINTS_PER_BATCH // (recipe.shape[0] * recipe.shape[1])))


def _check_device(device: str) -> None:
    try:
        import torch
        import triton  # noqa: F401

        usable = torch.device(device).type == "cuda" and torch.cuda.is_available()
    except (ImportError, RuntimeError):
        usable = False
    if not usable:
        raise ValueError(f"device must be cpu, or cuda where there is a GPU for torch and triton, got {device!r}")


def make_shard(recipe: Recipe, folder: Path, first: int, count: int) -> int:
    """Write one shard into `folder`, atomically; returns the number of samples."""
    with threadpool_limits(1):
        block = make_block(recipe, first, count)
    storage.write(shard_path(folder, first), storage.subset(recipe.header(), first, count), [block])
    return count


def shard_path(folder: Path, first: int) -> Path:
    """Where the shard that begins with sample `first` lies."""
    return folder / f"{first:09d}.hdf5"


def generate(
    out: str | Path,
    samples: int,
    resolution: int | tuple[int, int],
    *,
    seed: int = 0,
    law: str = "piecewise",
    law_args: dict[str, Any] | None = None,
    source: SourceLike = 1.0,
    mean: Mean = "arithmetic",
    method: str = "auto",
    rtol: float = 1e-10,
    split: Fractions = SPLIT,
    device: str = "cpu",
    workers: int = 1,
    executor: Executor | None = None,
    shard_size: int | None = None,
    merge: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> DatasetInfo:
    """Generate a dataset of coefficients and verified solutions of −∇·(a∇u) = f.

    Parameters
    ----------
    out : path
        File to write, usually ``.hdf5``.
    samples : int
        Number of samples.
    resolution : int or (n, m)
        Vertices a side, boundary included.
    seed : int
        Sample i depends on the seed and i alone.
    law, law_args : str, dict
        A name in `data_gen.coefficients.LAWS` with its parameters, or one's own law, see `build_law`.
    source : float, (n, m) array or callable
        Source f; a callable maps the coordinates x, y, arrays of shape (n, m), to the values.
    mean : {"arithmetic", "harmonic"}
        Mean that makes the face values of `a`.
    method, rtol : str, float
        Solver and tolerance, see `data_gen.solve`.
    split : 3 floats
        Fractions of train, val and test.
    device : str
        "cpu", or a torch device such as "cuda", which solves shards in batches.
    workers : int
        Processes, if no `executor` is given. Like all of multiprocessing, more than one needs a
        main module that can be imported.
    executor : concurrent.futures.Executor
        Runs the shards elsewhere; its workers must see the folder of `out`.
    shard_size : int
        Samples in a shard, the most that a kill loses per worker.
    merge : bool
        Make one plain file, else one of virtual datasets over the shards.
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
    recipe = Recipe(
        samples=samples,
        shape=shape,
        seed=seed,
        law=law,
        law_args=dict(law_args or {}),
        source=sample_source(source, shape),
        mean=mean,
        method=method,
        rtol=rtol,
        split=split,
        device=device,
    )
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    if shard_size is not None and shard_size < 1:
        raise ValueError(f"shard_size must be at least 1, got {shard_size}")
    if device != "cpu":
        _check_device(device)
    folder = out.with_name(out.name + ".shards")
    report = progress or (lambda done, total: None)

    if is_complete(out, recipe):
        report(samples, samples)
        if merge and folder.exists():
            _merge(recipe, out, folder)
        return storage.read_info(out)
    size = shard_size or _shard_size(recipe, 64 if executor else 16 * workers)
    _check_space(recipe, out, merge)
    with _claimed(folder, recipe, size) as size:
        firsts = range(0, samples, size)
        missing = [first for first in firsts if not shard_path(folder, first).exists()]
        done = samples - sum(min(size, samples - first) for first in missing)
        report(done, samples)
        tasks = [(first, min(size, samples - first)) for first in missing]
        for count in _run(partial(make_shard, recipe, folder.absolute()), tasks, workers, executor):
            done += count
            report(done, samples)
        _finish(recipe, out, folder, merge)
    return storage.read_info(out)


def _shard_size(recipe: Recipe, parts: int) -> int:
    """Samples in a shard: a few seconds of work on a CPU, in enough parts to keep workers busy; a batch on a GPU."""
    points = recipe.shape[0] * recipe.shape[1]
    if recipe.device != "cpu":
        return batch_size(recipe)
    return min(256, max(1, POINTS_PER_SHARD // points), -(-recipe.samples // parts))


def sample_source(source: SourceLike, shape: tuple[int, int]) -> float | Float[np.ndarray, "n m"]:
    """The source as a number or an (n, m) array.

    A string is a number, a ``.npy`` file or ``module:function``; a function of the coordinates x, y is evaluated at
    the vertices.
    """
    if isinstance(name := source, str):
        try:
            source = float(name)
        except ValueError:
            source = imported(name, "source") if ":" in name else read_array(name, "source")
    if callable(source):
        x, y = np.meshgrid(*map(storage.vertices, shape), indexing="ij")
        source = np.array(np.broadcast_to(source(x, y), shape))
    return source.astype(np.float64) if isinstance(source, np.ndarray) else float(source)


def is_complete(out: Path, recipe: Recipe) -> bool:
    """Whether `out` is the complete dataset of `recipe`.

    Raises
    ------
    FileExistsError
        If something else is there.
    """
    if not out.exists():
        return False
    try:
        there = json.loads(storage.read_info(out).attributes["recipe"])
    except (ValueError, KeyError, OSError):
        raise FileExistsError(f"{out} exists and is no dataset of generate; it is left as it is") from None
    _check_same(there, recipe.to_json(), out)
    return True


def _check_same(there: dict[str, Any], here: dict[str, Any], path: Path) -> None:
    different = [f"{key} is {there.get(key)} there, {here[key]} here" for key in here if there.get(key) != here[key]]
    if different:
        raise FileExistsError(f"{path} holds another recipe: {'; '.join(different)}")


def _check_space(recipe: Recipe, out: Path, merge: bool) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(out.parent, os.W_OK | os.X_OK):
        raise PermissionError(f"{out.parent}: the folder is not writable")
    needed = storage.file_size(recipe.samples, recipe.shape) * (2 if merge else 1)
    free = shutil.disk_usage(out.parent).free
    if needed > free:
        raise OSError(f"{out.parent}: {needed / 1e9:.2f} GB are needed while generating, {free / 1e9:.2f} GB are free")


@contextmanager
def _claimed(folder: Path, recipe: Recipe, size: int) -> Iterator[int]:
    """Hold the folder of shards for this process; yields the shard size that it was begun with."""
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FileExistsError(f"{folder} is in use by another process") from None
        manifest = folder / "recipe.json"
        if manifest.exists():
            there = json.loads(manifest.read_text())
            _check_same(there["recipe"], recipe.to_json(), folder)
            size = there["shard_size"]
        elif sorted(path.name for path in folder.iterdir()) != ["lock"]:
            raise FileExistsError(f"{folder} exists and holds no shards of generate; it is left as it is")
        else:
            with storage.atomic(manifest) as temporary:
                temporary.write_text(json.dumps({"recipe": recipe.to_json(), "shard_size": size}))
        yield size


def _run(
    make: Callable[[int, int], int], tasks: Sequence[tuple[int, int]], workers: int, executor: Executor | None
) -> Iterator[int]:
    """Make shards, here or elsewhere, with a bounded number under way; yields as they come."""
    if executor is None and (workers == 1 or len(tasks) < 2):
        yield from (make(*task) for task in tasks)
    elif executor is None:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(workers, len(tasks)), context, end_with_parent) as pool:
            yield from _gather(make, tasks, pool, 2 * workers)
    else:
        yield from _gather(make, tasks, executor, 256)


def _gather(
    make: Callable[[int, int], int], tasks: Sequence[tuple[int, int]], executor: Executor, window: int
) -> Iterator[int]:
    waiting = iter(tasks)
    running: set[Future[int]] = set()
    try:
        while True:
            running.update(executor.submit(make, *task) for task in islice(waiting, window - len(running)))
            if not running:
                return
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in finished)
    finally:
        for future in running:
            future.cancel()


def end_with_parent() -> None:
    """Let a worker process end when its parent is killed, else it would wait for work for ever; leave Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _finish(recipe: Recipe, out: Path, folder: Path, merge: bool) -> None:
    """Turn the complete folder of shards into `out`."""
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink()
    if merge:
        _merge(recipe, out, folder)
    else:
        storage.write_virtual(out, recipe.header(), sorted(folder.glob("*.hdf5")), scratch=folder)


def _merge(recipe: Recipe, out: Path, folder: Path) -> None:
    """Make `out` a plain file, unless it is one, and remove the shards."""
    if not out.exists() or storage.is_virtual(out):
        shards = sorted(folder.glob("*.hdf5"))
        storage.write(out, recipe.header(), map(_read_shard, shards), scratch=folder)
    shutil.rmtree(folder)


def _read_shard(path: Path) -> storage.Block:
    with storage.open_hdf5(path) as file:
        quality = {name: file["quality"][name][:] for name in storage.QUALITY}
        block = storage.Block(file["nu"][:], file["tensor"][:], quality)
    if not np.array_equal(block.sha256, quality["sha256"]):
        raise ValueError(f"{path} is damaged (its checksums differ); remove it and generate again")
    return block
