"""A run → its record: evaluated on a dataset file, beside its upsampled predictions and the coarse solver."""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from data_gen.grid import exact_stride
from data_gen.storage import DatasetInfo
from pdebench_mano.evaluation.evaluate import evaluate, evaluate_solver, evaluate_upsampled, examples, held_out
from pdebench_mano.evaluation.records import Record, digest, write_examples, write_record
from pdebench_mano.fields.data import Dataset, opened
from pdebench_mano.machine.progress import Progress, silent
from pdebench_mano.machine.provenance import provenance
from pdebench_mano.training.options import RunConfig
from pdebench_mano.training.runs import load, read_config, training_resolution


def record_run(
    run: str | Path,
    data: Dataset | str | Path,
    resolutions: Sequence[int],
    target: Path,
    *,
    finer: Sequence[int] | None = None,
    model: str | None = None,
    key: str | None = None,
    solver: bool = False,
    commands: Sequence[str] = (),
    training: dict[str, Any] | None = None,
    progress: Progress = silent,
) -> Record:
    """Evaluate a run on a dataset file, upsampled too; leave the record at `target` and examples beside it.

    Parameters
    ----------
    run : path
        Run folder.
    data : Dataset or path
    resolutions : sequence of int
    target : Path
        The record's file.
    finer : sequence of int, optional
        Where to evaluate upsampled predictions; `resolutions` by default.
    model : str, optional
        Name in tables; the operator's own by default.
    key : str, optional
        Digest of what determines the outcome; that of run, data and resolutions by default.
    solver : bool
        Whether to add the rows of the coarse solver at the training resolution.
    commands : sequence of str
        What to type to get the record.
    training : dict, optional
        What to note of the training beside the run's own summary.
    progress : callable
        As that of `evaluate`.

    Raises
    ------
    ValueError, OSError
        If there is no such run or file, a resolution is no exact stride, or the grids are of different kinds.
    """
    run, data = Path(run), opened(data)
    operator, config, trained_at = load(run), read_config(run), training_resolution(run)
    name = model or config.operator
    rows = evaluate(operator, name, data, resolutions, progress)
    if has_resolution(data.info, trained_at):
        above = [n for n in finer or resolutions if n > trained_at]
        rows += evaluate_upsampled(operator, f"upsampled {name}", data, trained_at, above, progress)
        if solver:
            rows += evaluate_solver(data, [trained_at], resolutions, progress)
    description = json.loads((run / "config.json").read_text())
    summary = run / "summary.json"
    record = Record(
        key=key or digest([description["config"], description["data"]["digest"], data.info.digest, list(resolutions)]),
        model=name,
        seed=config.seed,
        budget=budget(config),
        configuration=description,
        training=(json.loads(summary.read_text()) if summary.exists() else {}) | (training or {}),
        history=history(run),
        dataset=describe(data.info),
        samples=samples(data),
        evaluations=rows,
        commands=list(commands),
        environment=provenance(),
    )
    finest = max((row for row in rows if row.model == name), key=lambda row: row.resolution)
    write_examples(examples(operator, data, finest), target)
    write_record(record, target)
    return record


def assess(
    run: str | Path, data: Dataset | str | Path, resolutions: Sequence[int], progress: Progress = silent
) -> Path:
    """Evaluate a run beside the coarse solver, and keep the record in its folder; one for each dataset.

    Parameters and errors are those of `record_run`.

    Returns
    -------
    Path
        The record's file.
    """
    run, data = Path(run), opened(data)
    sizes = ",".join(map(str, resolutions))
    typed = ["pdebench-mano", "evaluate", str(run), "--data", str(data.path), "--resolutions", sizes]
    target = run / "records" / f"{data.info.digest[:8]}.jsonl"
    commands = [train_command(read_config(run), run), shlex.join(typed)]
    record_run(run, data, resolutions, target, solver=True, commands=commands, progress=progress)
    return target


def assess_on_own_data(run: str | Path, progress: Progress = silent) -> Path:
    """`assess` a run on the data it was trained with, at its training resolution and the finest one."""
    data = Dataset(read_config(run).data)
    return assess(run, data, sorted({training_resolution(run), data.info.shape[0]}), progress)


def saw_all(record: Record) -> bool:
    """Whether a record is of the very samples that its run was trained on, for want of a test split."""
    dataset = record.dataset
    return dataset["digest"] == record.configuration["data"]["digest"] and len(record.samples) == dataset["samples"]


def has_resolution(info: DatasetInfo, resolution: int) -> bool:
    """Whether the grid of a file has an exact stride of that resolution."""
    try:
        exact_stride(info.shape[0], resolution, info.grid)
    except ValueError:
        return False
    return True


def describe(info: DatasetInfo) -> dict[str, Any]:
    """What a record keeps of the dataset file."""
    return {"samples": info.samples, "shape": list(info.shape), **info.attributes}


def samples(data: Dataset) -> list[int]:
    """Positions of the test samples in a file."""
    (view,) = held_out(data, [data.info.shape[0]])
    return [int(i) for i in view.samples]


def history(run: Path) -> list[dict[str, float]]:
    """The epochs of a run; none where it is not finished."""
    path = run / "history.csv"
    rows = pd.read_csv(path).astype(float).to_dict("records") if path.exists() else []
    return [{str(name): value for name, value in row.items()} for row in rows]


def budget(config: RunConfig) -> str:
    """How long a run may train, in words."""
    return f"{config.epochs} epochs" if config.seconds is None else f"{config.seconds:g} s"


def train_command(config: RunConfig, run: Path) -> str:
    """What to type to train a run again."""
    words = ["pdebench-mano", "train"]
    for name, value in config.model_dump(exclude_defaults=True, exclude={"checkpoint_seconds"}).items():
        option = "--" + name.replace("_", "-")
        if isinstance(value, dict):
            words += [option, *(f"{key}={each}" for key, each in value.items())]
        elif value is True:
            words.append(option)
        else:
            words += [option, ",".join(map(str, value)) if isinstance(value, list) else str(value)]
    return shlex.join([*words, "--out", str(run)])


def slug(name: str) -> str:
    """A name as part of a file name."""
    return "-".join("".join(c if c.isalnum() else " " for c in name.lower()).split())
