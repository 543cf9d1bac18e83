"""A run → its record: evaluated on a dataset file, beside its upsampled predictions and the coarse solver."""

import shlex
from collections.abc import Sequence
from dataclasses import replace
from os.path import lexists
from pathlib import Path
from typing import Any

from data_gen.grid import Norm
from data_gen.recipe import unsolved
from data_gen.storage import DatasetInfo, alone, problem_of, read_json
from pdebench_mano.evaluation.beside import evaluate_persistence, evaluate_rivals, evaluate_solver, rivals
from pdebench_mano.evaluation.evaluate import (
    Predictor,
    evaluate,
    evaluate_upsampled,
    examples,
    first_samples,
    held_out,
    rolled,
    start_of,
)
from pdebench_mano.evaluation.flops import flops
from pdebench_mano.evaluation.in_time import TrainingMean
from pdebench_mano.evaluation.records import (
    FIRST_SAMPLES,
    Evaluation,
    Record,
    allowed,
    digest,
    write_examples,
    write_record,
)
from pdebench_mano.evaluation.timing.precision import precision_of
from pdebench_mano.fields.data import Dataset, View, opened
from pdebench_mano.fields.metrics import own_sources
from pdebench_mano.fields.samples import Samples, refuse_overlap
from pdebench_mano.machine.devices import chosen
from pdebench_mano.machine.progress import Progress, silent
from pdebench_mano.machine.provenance import commit, cpu, provenance
from pdebench_mano.operators.registry import build_reference
from pdebench_mano.training.folder import (
    read_config,
    read_summary,
    samples_of,
    trained_on,
    training_resolution,
    weights_of,
)
from pdebench_mano.training.options import RunConfig
from pdebench_mano.training.runs import load, read_history, training_data


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
    split: str | None = None,
    start: float | None = None,
    trained_on: str = "",
    tested_on: str = "",
    metrics: Sequence[str] = (),
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
        One that is trusted lets the run's operator be code of a user's own, too.
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
        Whether to add the rows of the problem's own solvers at the training resolution.
    split : {"all"}, optional
        Test on all samples of a file that has no test split; refused without.
    start : float, optional
        When the rollout of an operator of steps starts; 0 by default.
    trained_on, tested_on : str
        What a suite of several datasets calls those of the run and of `data`.
    metrics : sequence of str
        Metrics of one's own, see `pdebench_mano.fields.metrics`.
    commands : sequence of str
        What to type to get the record.
    training : dict, optional
        What to note of the training beside the run's own summary.
    progress : callable
        As that of `evaluate`.

    Raises
    ------
    ValueError, OSError
        If there is no such run or file, a resolution is no exact stride, the grids are of different kinds, there is no
        test split, or a sample to test on was trained on.
    """
    run, data = Path(run), opened(data)
    summary, past = read_summary(run), read_history(run).epochs if lexists(run / "history.csv") else []
    if split is None and "test" not in data.info.splits:
        raise ValueError(f"{data.path} has no test split: --split all tests on all of its samples, and says so")
    refuse_trained(run, Samples.of(data, samples(data)))
    operator = load(run, trust=data.trust)
    config, trained_at = read_config(run), training_resolution(run)
    name = model or config.operator
    norm, cost = config.norm, {}
    mean = training_mean(config, run, data)
    options: dict[str, Any] = {"norm": norm, "start": start_of(operator, start), "mean": mean, "metrics": metrics}
    rows = evaluate(operator, name, data, resolutions, progress, **options)
    views = held_out(data, resolutions, options["start"])
    rows = [replace(row, precision=borne(operator, config, view)) for row, view in zip(rows, views, strict=True)]
    if has_resolution(data.info, trained_at):
        above = [n for n in finer or resolutions if n > trained_at]
        rows += evaluate_upsampled(operator, f"upsampled {name}", data, trained_at, above, progress, **options)
        if solver:
            rows += solver_rows(data, trained_at, resolutions, progress, **options)
        if solver and unsolved(data.info.attributes):
            rows += mean_rows(config, run, data, resolutions, progress, norm=norm, metrics=metrics)
        cost = {"flops": {"prediction": flops_of(run, data.info, trained_at), "resolution": trained_at}}
    description = read_json(run / "config.json")
    asked = [list(resolutions), *([{"start": start}] if start else [])]
    asked += [{"metrics": own_sources(metrics)}] if metrics else []
    record = Record(
        key=key or digest([description["config"], description["data"]["digest"], data.info.digest, *asked]),
        model=name,
        seed=config.seed,
        budget=budget(config),
        configuration=description,
        training=summary | cost | (training or {}),
        history=[{name: float(value) for name, value in row.items()} for row in past],
        dataset=describe(data.info),
        samples=samples(data),
        evaluations=rows,
        commands=list(commands),
        environment=provenance(),
        problem=data.info.problem,
        commit=commit(),
        cpu=cpu(),
        weights=weights_of(run),
        norm=norm,
        split=split or "test",
        trained_on=trained_on,
        tested_on=tested_on,
    )
    finest = max((row for row in rows if row.kind == "operator"), key=lambda row: row.resolution)
    write_examples(examples(operator, data, finest, options["start"]), target)
    write_examples(first_samples(operator, data, finest, options["start"]), target, FIRST_SAMPLES)
    write_record(record, target)
    return record


def borne(operator: Predictor, config: RunConfig, view: View) -> str:
    """The precision that the error of an operator bears on the grid of some samples."""
    return precision_of(rolled(operator, view), config.precision, view, chosen())


def training_mean(config: RunConfig, run: Path, data: Dataset) -> TrainingMean | None:
    """The mean that the fluctuations of a rollout are counted from; None where its training data are not there."""
    if config.pairs != "step" or not Path(config.data).exists():
        return None
    trained = Dataset(config.data, data.trust)
    return TrainingMean(config, trained) if trained.info.digest == trained_on(run) else None


def mean_rows(
    config: RunConfig,
    run: Path,
    data: Dataset,
    resolutions: Sequence[int],
    progress: Progress = silent,
    *,
    norm: Norm = "points",
    metrics: Sequence[str] = (),
) -> list[Evaluation]:
    """Rows of the mean training solution, where the training data are there and nothing is rolled out."""
    if config.pairs == "step" or not Path(config.data).exists():
        return []
    trained = Dataset(config.data, data.trust)
    if trained.info.digest != trained_on(run):
        return []
    views, _ = training_data(config, trained)
    at = views[0].resolution
    if not has_resolution(data.info, at) or views[0].info.times != data.info.times:
        return []
    mean = build_reference("mean", views[0])
    options: dict[str, Any] = {"kind": "mean", "norm": norm, "metrics": metrics}
    return evaluate_upsampled(mean, "mean solution", data, at, resolutions, progress, **options)


def solver_rows(
    data: Dataset,
    grid: int,
    resolutions: Sequence[int],
    progress: Progress = silent,
    *,
    norm: Norm = "points",
    start: float | None = None,
    mean: TrainingMean | None = None,
    metrics: Sequence[str] = (),
) -> list[Evaluation]:
    """Rows of all the problem's rivals on one grid, in time of persistence too.

    That which made the labels, on the grid that they are stored on, is the ``coarse solver`` of published tables.
    """
    options: dict[str, Any] = {"norm": norm, "start": start, "mean": mean, "metrics": metrics}
    rows = [] if start is None else evaluate_persistence(data, resolutions, progress, **options)
    others = [rival.scheme for rival in rivals(data)]
    if data.info.label_refinement > 1 or data.problem is None:
        return rows + evaluate_rivals(data, [grid], resolutions, progress, **options)
    rows += evaluate_solver(data, [grid], resolutions, progress, **options)
    others = [scheme for scheme in others if scheme != data.problem.scheme]
    return rows + evaluate_rivals(data, [grid], resolutions, progress, schemes=others, **options)


def refuse_trained(run: Path, tested: Samples) -> None:
    """Refuse to test a run on samples that it has seen.

    Raises
    ------
    ValueError
        If it has seen one.
    """
    trained = samples_of(run)
    if trained is not None:
        refuse_overlap(tested, trained, str(run))


def assess(
    run: str | Path,
    data: Dataset | str | Path,
    resolutions: Sequence[int],
    progress: Progress = silent,
    split: str | None = None,
    start: float | None = None,
    metrics: Sequence[str] = (),
) -> Path:
    """Evaluate a run beside the coarse solver, and keep the record in its folder; one for each dataset and start.

    Parameters and errors are those of `record_run`.

    Returns
    -------
    Path
        The record's file.
    """
    run, data = Path(run), opened(data)
    sizes = ",".join(map(str, resolutions))
    typed = ["pdebench-mano", "evaluate", str(run), "--data", str(data.path), "--resolutions", sizes]
    typed += [] if split is None else ["--split", split]
    typed += [] if start is None else ["--start", f"{start:g}"]
    typed += [word for metric in metrics for word in ("--metric", metric)]
    trust = ["--trust"] if data.trust else []
    target = run / "records" / (data.info.digest[:8] + (f"-from-{start:g}" if start else "") + ".jsonl")
    commands = [" ".join([command, *trust]) for command in (train_command(read_config(run), run), shlex.join(typed))]
    options: dict[str, Any] = {"split": split, "start": start, "metrics": metrics, "commands": commands}
    with alone(target):
        record_run(run, data, resolutions, target, solver=True, progress=progress, **options)
    return target


def assess_on_own_data(run: str | Path, progress: Progress = silent, trust: bool = False) -> Path:
    """`assess` a run on the data it was trained with, at its training resolution and the finest one.

    Raises
    ------
    ValueError
        If other data lie there now.
    """
    data = Dataset(read_config(run).data, trust)
    if data.info.digest != trained_on(run):
        raise ValueError(f"{data.path} is not what {run} was trained on: name the data, and evaluate it")
    return assess(run, data, sorted({training_resolution(run), data.info.shape[0]}), progress)


def flops_of(run: Path, info: DatasetInfo, resolution: int) -> int:
    """Floating-point operations of one prediction on the grid of a file at some resolution."""
    grid, _ = info.grid.coarsened(resolution)
    operator = load(run, device="cpu")
    return flops(operator, len(operator.encoder.mean), grid.shape)


def other_data(record: Record) -> str:
    """In words, where the evaluated samples are of another problem, law or source than the training; "" if nowhere."""
    trained = record.configuration["data"]
    if "parameters" not in trained:  # as an earlier version kept it
        return ""
    problem, parameters = problem_of(record.dataset)
    here = {"problem": problem} | parameters
    there = {"problem": trained["problem"]} | trained["parameters"]
    beside = ("method",)
    different = [name for name in {**there, **here} if here.get(name) != there.get(name) and name not in beside]
    return "; ".join(f"{name} {here.get(name)!r}, trained with {there.get(name)!r}" for name in different)


def has_resolution(info: DatasetInfo, resolution: int) -> bool:
    """Whether the grid of a file has an exact stride of that resolution."""
    try:
        info.grid.coarsened(resolution)
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


def budget(config: RunConfig) -> str:
    """How long a run may train, in words."""
    return allowed(config.epochs, config.seconds)


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
