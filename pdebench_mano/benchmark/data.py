"""A suite's data: where its files lie, what they are wherever they lie, and how those to be generated are made."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import torch

from data_gen import convert
from data_gen.generate import built_problem, generate
from data_gen.problem import Problem
from data_gen.problems import sources
from data_gen.recipe import PUBLISHED_MEANING, said
from data_gen.storage import is_dataset, open_hdf5
from pdebench_mano.benchmark.data_table import Data, Generate
from pdebench_mano.evaluation.records import digest, slug
from pdebench_mano.fields.data import Dataset, opened
from pdebench_mano.machine.progress import Progress, silent
from pdebench_mano.training.options import RunConfig

PUBLISHED_RECIPE: dict[str, Any] = {
    "samples": None,
    "resolution": None,
    "seed": 0,
    "law": "piecewise",
    "law_args": {},
    "source": 1.0,
    "method": "auto",
    "rtol": 1e-10,
    "split": None,
}
"""The arguments that published keys were made from, in their order, with what they were where nothing was said."""

PUBLISHED_MEAN = "arithmetic"


def locate(
    data: Data, out: Path, folder: Path, say: Callable[[str], None] = lambda line: None
) -> tuple[Path | Dataset, Path | Dataset, str]:
    """The files to train and test on, open if they are there, or to be made by `make`; and what they are, wherever.

    Parameters
    ----------
    data : Data
    out : Path
        Where files are generated or converted to.
    folder : Path
        What the suite's paths are relative to.
    say : callable
        Told in a line each what was inferred of files that are converted.

    Raises
    ------
    ValueError, OSError
        If a file is missing or cannot be read, or its path names an environment variable that is not set.
    """
    if data.generate is not None:
        made = data.generate.files
        paths = [out / f"{slug(each.problem)}-{digest(arguments(each))[:8]}.hdf5" for each in made]
        return paths[0], paths[-1], ", tested on ".join(f"recipe {json.dumps(recipe(each))}" for each in made)
    assert data.train is not None
    learned = ("train", "val") if data.test else ("train", "val", "test")
    train = _dataset(data.train, out, folder, _told(data, learned), say)
    test = _dataset(data.test, out, folder, _told(data, ("test",)), say) if data.test else train
    return train, test, f"digests {train.info.digest} {test.info.digest}"


class Located(NamedTuple):
    """One of a suite's datasets, and what `locate` says of it.

    Of files that are not here, records say what they are and where they were `trained_at`, and `absent` says the rest.
    """

    data: Data
    train: Path | Dataset
    test: Path | Dataset
    said: str
    trained_at: int | None = None
    absent: OSError | ValueError | None = None

    def opened(self) -> tuple[Dataset, Dataset]:
        """Its files, to train and to test on; the code that a suite names is trusted.

        Raises
        ------
        ValueError, OSError
            If they are not here, or cannot be read.
        """
        train = self._opened(self.train)
        return train, train if self.test == self.train else self._opened(self.test)

    def tested(self) -> Dataset:
        """The file to test on, as `opened` has it; that to train on need not be here."""
        return self._opened(self.test)

    def _opened(self, file: Path | Dataset) -> Dataset:
        if self.absent:
            raise self.absent
        return opened(file, trust=self.data.generate is not None)


def datasets(data: Data, out: Path, folder: Path, say: Callable[[str], None] = lambda line: None) -> dict[str, Located]:
    """What `locate` says of each of a suite's datasets, by its name.

    Raises
    ------
    ValueError, OSError
        As `locate`, and if two of them are the same.
    """
    found: dict[str, Located] = {}
    for name, each in data.named.items():
        located = Located(each, *locate(each, out, folder, say))
        if same := [other for other, there in found.items() if there.said == located.said]:
            raise ValueError(f"data.each.{name} is the same as data.each.{same[0]}")
        found[name] = located
    return found


def make(
    data: Data, train: Path | None, test: Path, progress: Progress = silent, executor: Executor | None = None
) -> None:
    """Generate the files that `locate` names, unless they are there; on an executor where no GPU is here.

    Without one to train on, that to test on alone.
    """
    files = dict(zip((train or test, test), data.generate.files, strict=False)) if data.generate else {}
    for path, made in files.items():
        device = arguments(made)["device"]
        generate(
            path,
            made.samples,
            made.resolution,
            problem=made.problem,
            problem_args=made.parameters,
            seed=made.seed,
            rtol=made.rtol,
            split=made.split,
            device=device,
            workers=made.workers or _workers(device),
            executor=executor if device == "cpu" else None,
            label_refinement=made.label_refinement,
            progress=progress,
        )


def _workers(device: str) -> int:
    """As many as keep a device busy: GPUs wait for those who draw, hash and write."""
    if device == "cpu":
        return 1
    return max(1, min(len(os.sched_getaffinity(0)) - 1, 16 * torch.cuda.device_count()))


def generated_problem(made: Generate) -> Problem:
    """The problem of data to be generated.

    Raises
    ------
    ValueError, OSError
        As `recipe`.
    """
    n, m = (made.resolution,) * 2 if isinstance(made.resolution, int) else made.resolution
    return built_problem(made.problem, (n, m), made.parameters)


def recipe(made: Generate) -> dict[str, Any]:
    """What data to be generated are, on any device.

    Of Darcy flow, byte for byte what the keys of published records were made from: its parameters stand among the
    arguments, and what those records did not say follows where it says something else.

    Raises
    ------
    ValueError, OSError
        If there is no such problem, it does not take the parameters, or a file that they name is not there.
    """
    problem = generated_problem(made)
    about = made.model_dump(include={"samples", "resolution", "seed", "rtol", "split"})
    more = {"problem": made.problem, "sources": sources(problem), "parameters": problem.parameters()}
    refined = said({"label_refinement": made.label_refinement})
    if made.problem != PUBLISHED_MEANING["problem"]:
        return about | more | refined
    said_of_it = made.parameters | {name: problem.parameters()[name] for name in ("source", "mean")}
    given = PUBLISHED_RECIPE | {name: value for name, value in (about | said_of_it).items() if value is not None}
    beyond = {"mean": given.pop("mean"), "sources": more["sources"], **refined}
    return given | said({name: value for name, value in beyond.items() if value != PUBLISHED_MEAN})


def arguments(made: Generate) -> dict[str, Any]:
    """What the file depends on: `recipe`, and the device that solves, ``device = "auto"`` resolved."""
    device = ("cuda" if torch.cuda.is_available() else "cpu") if made.device == "auto" else made.device
    return recipe(made) | {"device": device}


def first_resolution(data: Data, config: RunConfig, train: Path | Dataset) -> int:
    """The resolution a configuration trains at, or the first of several, before there are data."""
    if config.resolution is not None:
        return config.resolution[0] if isinstance(config.resolution, list) else config.resolution
    if data.generate is None:
        return opened(train).grid.shape[0]
    resolution = data.generate.resolution
    return resolution if isinstance(resolution, int) else resolution[0]


def _told(data: Data, splits: Sequence[str]) -> dict[str, Any]:
    """What a suite says of a file with these splits, as `convert` takes it; empty if nothing."""
    counts = data.samples and data.samples.model_dump(include=set(splits))
    split: Any = data.split
    if isinstance(split, dict):
        split = {name: key for name, key in split.items() if name in splits} or None
    elif "train" not in splits:
        split = None
    parts = {"counts": counts, "split": split}
    return data.told | {name: value for name, value in parts.items() if value is not None}


def _dataset(name: str, out: Path, folder: Path, told: dict[str, Any], say: Callable[[str], None]) -> Dataset:
    """The file itself if it is of our schema, else its conversion, with what is told of it."""
    expanded = os.path.expandvars(name)
    if "$" in expanded:
        raise ValueError(f"data {name!r}: set that environment variable to the folder of the files")
    source = folder / expanded
    if not source.exists():
        raise FileNotFoundError(f"{source}: no such file")
    if h5py.is_hdf5(source):
        try:
            dataset = Dataset(source)
        except ValueError:
            with open_hdf5(source) as file:
                if is_dataset(file):
                    raise
        else:
            if told:
                raise ValueError(
                    f"data {name!r} is of our schema, which says {' and '.join(told)} itself: leave it out"
                )
            return dataset
    content = _sha256(source)
    target = out / f"{source.stem}-{(digest([content, told]) if told else content)[:8]}.hdf5"
    if not target.exists():
        convert(source, target, **told, say=lambda line: say(f"{source.name}: {line}"))
    return Dataset(target)


def _sha256(source: Path) -> str:
    """SHA-256 of a file; of all arrays that are read with it, where it is ``.npy`` or a folder of such."""
    folder = source if source.is_dir() else source.parent
    parts = sorted(folder.glob("*.npy")) if source.is_dir() or source.suffix == ".npy" else [source]
    contents = []
    for part in parts:
        with part.open("rb") as stream:
            contents.append(hashlib.file_digest(stream, "sha256").hexdigest())
    return contents[0] if parts == [source] else digest([[part.name for part in parts], contents])
