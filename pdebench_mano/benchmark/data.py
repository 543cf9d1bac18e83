"""A suite's data: where its files lie, what they are wherever they lie, and how those to be generated are made."""

import json
import os
from pathlib import Path
from typing import Any

import torch

from data_gen import convert
from data_gen.generate import generate
from pdebench_mano.benchmark.suite import Data, Recipe
from pdebench_mano.evaluation.records import digest
from pdebench_mano.fields.data import Dataset, opened
from pdebench_mano.machine.progress import Progress, silent
from pdebench_mano.training.options import RunConfig


def locate(data: Data, out: Path, folder: Path) -> tuple[Path | Dataset, Path | Dataset, str]:
    """The files to train and test on, open if they are there, or to be made by `make`; and what they are, wherever.

    Parameters
    ----------
    data : Data
    out : Path
        Where files are generated or converted to.
    folder : Path
        What the suite's paths are relative to.

    Raises
    ------
    ValueError, OSError
        If a file is missing or cannot be read, or its path names an environment variable that is not set.
    """
    if data.generate is not None:
        path = out / f"darcy-{digest(arguments(data.generate))[:8]}.hdf5"
        return path, path, "recipe " + json.dumps(data.generate.model_dump(exclude={"device", "workers"}))
    assert data.train is not None
    train = Dataset(_schema_file(data.train, out, folder))
    test = Dataset(_schema_file(data.test, out, folder)) if data.test else train
    return train, test, f"digests {train.info.digest} {test.info.digest}"


def make(data: Data, path: Path, progress: Progress = silent) -> None:
    """Generate the file that `locate` names, unless it is there."""
    if data.generate is not None:
        generate(path, **arguments(data.generate), workers=data.generate.workers, progress=progress)


def arguments(recipe: Recipe) -> dict[str, Any]:
    """Arguments of `data_gen.generate` that the file depends on, ``device = "auto"`` resolved."""
    device = ("cuda" if torch.cuda.is_available() else "cpu") if recipe.device == "auto" else recipe.device
    return recipe.model_dump(exclude={"workers"}) | {"device": device}


def first_resolution(data: Data, config: RunConfig, train: Path | Dataset) -> int:
    """The resolution a configuration trains at, or the first of several, before there are data."""
    if config.resolution is not None:
        return config.resolution[0] if isinstance(config.resolution, list) else config.resolution
    return data.generate.resolution if data.generate is not None else opened(train).info.shape[0]


def _schema_file(name: str, out: Path, folder: Path) -> Path:
    """The file itself if it is of our schema, else its conversion."""
    expanded = os.path.expandvars(name)
    if "$" in expanded:
        raise ValueError(f"data {name!r}: set that environment variable to the folder of the files")
    source = folder / expanded
    if source.suffix in (".hdf5", ".h5"):
        return source
    target = out / f"{source.stem}.hdf5"
    if not target.exists():
        convert(source, target)
    return target
