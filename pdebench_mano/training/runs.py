"""A run: one operator trained once, kept in a folder with everything needed to load it again.

config.json      what was asked for, and the data it was trained on
checkpoint.pt    where training stands; the same call goes on from here
best.pt          weights of the best epoch on the validation samples
samples.json     what the samples are that were trained on and validated with, see `pdebench_mano.fields.samples`
history.csv      one row per epoch that has ended
summary.json     written last: a run that has it is complete
"""

import gc
import json
import math
import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from os.path import lexists
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from data_gen.lookup import source_sha256
from data_gen.recipe import PUBLISHED_MEANING
from data_gen.storage import leftovers, locked, to_json, write_text
from pdebench_mano.fields.data import Dataset, View
from pdebench_mano.fields.lattice import holding
from pdebench_mano.fields.normalized import NormalizedOperator, Normalizer, normalized
from pdebench_mano.fields.samples import Samples
from pdebench_mano.machine.devices import chosen
from pdebench_mano.machine.parallel import processes, threads_for, world
from pdebench_mano.machine.progress import Progress, console, silent
from pdebench_mano.machine.provenance import provenance
from pdebench_mano.machine.replays import Replays
from pdebench_mano.operators.registry import OPERATORS, build_operator
from pdebench_mano.training import checkpoint
from pdebench_mano.training.fit import check_steps, fit
from pdebench_mano.training.folder import (
    BEST,
    HISTORY,
    SAMPLES,
    STANDING,
    read_config,
    read_description,
    read_summary,
    trained_on,
)
from pdebench_mano.training.history import History
from pdebench_mano.training.options import RunConfig
from pdebench_mano.training.regimes import REGIMES, build_regime
from pdebench_mano.training.tracking import Row, Watch, tracker
from pdebench_mano.training.unrolling import unrolled

VALIDATION_SEED = 0
TRUSTED: set[str] = set()
"""Operators and regimes of a user's own that somebody has named in this process, or trusted: code that may run."""

LOCK = ".lock"


def train(
    config: RunConfig,
    out: str | Path,
    *,
    device: str | None = None,
    progress: Progress = silent,
    track: str | None = None,
    data: Dataset | None = None,
    trust: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> History:
    """Train as `config` says into the folder `out`; go on if it is unfinished, return at once if it is complete.

    Parameters
    ----------
    config : RunConfig
    out : path
        The run folder.
    device : str, optional
        CUDA where there is one, else the CPU.
    progress : callable
        As `fit`'s.
    track : {"tensorboard", "wandb"}, optional
        Where else to send the history, epoch by epoch.
    data : Dataset, optional
        The file that `config` names, where it is open already.
    trust : bool
        Whether to run a problem that is code of a user's own, where the file names one.
    say : callable
        Told in one line how each epoch went, where stderr is no terminal that shows a bar: that of a batch job.

    Raises
    ------
    ValueError
        For bad input, or if `out` holds something else or a run of another configuration.
    FileExistsError
        If another process trains there.
    """
    out = Path(out)
    TRUSTED.update((config.operator, config.regime))
    chosen(device)
    datasets, validation = training_data(config, data or Dataset(config.data, trust))
    info = datasets[0].info
    description = {
        "config": config.model_dump(),
        "data": {
            "digest": info.digest,
            "grid": info.grid.kind,
            "resolution": datasets[0].resolution,
            "channels": list(datasets[0].channels),
            "problem": info.problem,
            "parameters": info.parameters,
        },
        "sources": sources(config),
        "environment": provenance(),
    }
    tracked = tracker(track, out, description)
    _claim(out, description)
    if lexists(out / "summary.json"):
        return read_history(out)
    for view in (*datasets, validation):
        view.read_all()
    if lexists(out / STANDING) and not of_this_version(out):
        console.print(f"{out} was begun by another version of the code: it goes on", highlight=False)
    points = config.batch_size * max(each.grid.points for each in datasets)
    with ExitStack() as held, processes() as rank, threads_for(points), torch.random.fork_rng(devices=[]):
        operator = untrained(config, datasets[0])
        regime = build_regime(config.regime, **config.regime_args)
        regime.check(unrolled(operator.operator, config))
        if rank == 0:
            out.mkdir(parents=True, exist_ok=True)
            held.enter_context(locked(out / LOCK, out))
            _claim(out, description)
            if not (out / "config.json").exists():
                write_text(out / "config.json", json.dumps(description, indent=2))
            if not (out / SAMPLES).exists():
                Samples.of(datasets[0].dataset, [*datasets[0].samples, *validation.samples]).write(out / SAMPLES)
        device = f"cuda:{os.environ['LOCAL_RANK']}" if world() > 1 and torch.cuda.is_available() else device
        fresh, there = not lexists(out / STANDING), _memory_before(chosen(device))
        with _refusal_leaves_nothing(out), _check_is_named(config), tracked if rank == 0 else nullcontext() as watch:
            history = fit(
                operator,
                regime,
                datasets,
                validation=validation,
                out=out,
                device=device,
                progress=progress,
                watch=partial(_told, config, say, watch),
                **config.training,
            )
        if rank == 0:
            checkpoint.write_history(history.epochs, out)  # a kill may have come between the last epoch and its row
            summary = _summary(operator, history) | {"samples": len(datasets[0])}
            if fresh and there is not None:
                summary["memory"] = torch.cuda.max_memory_allocated(chosen(device)) - there
            write_text(out / "summary.json", to_json(summary, indent=2))
    return history


def untrained(config: RunConfig, data: View) -> NormalizedOperator:
    """What a training begins with, on the CPU: weights drawn from its seed, between normalisers fitted on `data`.

    The random numbers of the process go on from there, unless they are forked.
    """
    torch.default_generator.manual_seed(config.seed)
    return normalized(build_operator(config.operator, *data.channels, **config.operator_args), data)


def load(
    run: str | Path, *, device: str | None = None, trust: bool = False, replay: bool = False
) -> NormalizedOperator:
    """The trained operator of a run folder: ``load(run).predict(a)`` maps physical to physical fields.

    Parameters
    ----------
    run : path
    device : str, optional
        CUDA where there is one, else the CPU.
    trust : bool
        Whether to run an operator that is code of a user's own, where it is the run that names it.
    replay : bool
        Whether predictions of a shape that comes again are replayed on a GPU, as one CUDA graph: what takes launching
        thousands of kernels takes launching one. They stay in float32, unless under `torch.autocast`. No, where an
        operator of a user's own does something in Python at every call. See `pdebench_mano.machine.replays`.

    Raises
    ------
    FileNotFoundError, ValueError
        If the folder holds no run, or one without trained weights yet; if it names code that is not trusted, or not
        what it was.
    """
    run = Path(run)
    config, data = read_config(run), read_description(run)["data"]
    if trust:
        TRUSTED.update((config.operator, config.regime))
    refuse_untrusted(config, run)
    if not (run / BEST).exists():
        raise ValueError(f"{run} has no trained weights yet; the same train command again goes on with it")
    for what, digest in read_description(run).get("sources", {}).items():
        if sources(config).get(what) != digest:
            name = getattr(config, what)
            raise ValueError(f"{run} was trained with another {what} than {name!r} is now: its file has changed")
    channels = data["channels"]
    with torch.random.fork_rng(devices=[]):
        inner = build_operator(config.operator, *channels, **config.operator_args)
    operator = NormalizedOperator(
        inner, Normalizer.identity(channels[0]), Normalizer.identity(channels[1]), data["grid"], config.pairs
    )
    try:
        operator.load_state_dict(checkpoint.weights(run))
    except RuntimeError as error:
        raise ValueError(f"{run / BEST} does not fit the operator of {run}: {error}") from error
    operator.replays = Replays(holding) if replay else None
    return operator.to(chosen(device)).eval()


def refuse_untrusted(config: RunConfig, run: Path | str) -> None:
    """Refuse code that only a run, or a record, names.

    Raises
    ------
    ValueError
        If its operator or regime is neither built in, nor was named or trusted by anybody in this process.
    """
    for what, name, known in (("operator", config.operator, OPERATORS), ("regime", config.regime, REGIMES)):
        if name not in {*known, *known.values(), *TRUSTED}:
            raise ValueError(
                f"{run} names code of its own, {what} {name!r}: --trust, or load(run, trust=True), runs it"
            )


def sources(config: RunConfig) -> dict[str, str]:
    """The SHA-256 of the files of a user's own that define the operator and the regime."""
    found = {
        "operator": source_sha256(config.operator, OPERATORS),
        "regime": source_sha256(config.regime, REGIMES),
    }
    return {what: digest for what, digest in found.items() if digest is not None}


def of_this_version(run: str | Path) -> bool:
    """Whether a run was begun by the very code that is here."""
    return read_description(Path(run))["environment"].get("source") == provenance()["source"]


def samples_in_data(run: str | Path) -> Samples | None:
    """The samples of a run, read off its data; None where others lie there now."""
    config = read_config(run)
    data = Dataset(config.data)
    if data.info.digest != trained_on(run):
        return None
    sets, validation = training_data(config, data)
    return Samples.of(data, [*sets[0].samples, *validation.samples])


def training_data(config: RunConfig, data: Dataset | None = None) -> tuple[list[View], View]:
    """Training sets, one per resolution, and the validation set, of the pairs that are asked for.

    Parameters
    ----------
    config : RunConfig
    data : Dataset, optional
        The file that `config` names, where it is open already.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such dataset, it leaves no sample to train on, or it has not the steps that are asked for.
    """
    data = data or Dataset(config.data)
    splits = data.info.splits
    resolutions = config.resolution if isinstance(config.resolution, list) else [config.resolution]
    if splits and "train" not in splits:
        raise ValueError(f"data={config.data} has no split 'train'; its splits are: {', '.join(splits)}")
    split = "train" if splits else None
    if "val" in splits:
        sets = [data.view(split, each, pairs=config.pairs) for each in resolutions]
        check_steps(config, sets)
        return sets, data.view("val", resolutions[0], pairs=config.pairs)
    count = len(splits["train"]) if splits else data.info.samples
    held = max(1, round(config.validation * count))
    if held >= count:
        raise ValueError(f"data={config.data}: {count} samples leave none to train on beside the validation samples")
    order = np.random.default_rng(VALIDATION_SEED).permutation(count)
    sets = [data.view(split, each, pairs=config.pairs, indices=np.sort(order[held:])) for each in resolutions]
    check_steps(config, sets)
    return sets, data.view(split, resolutions[0], pairs=config.pairs, indices=np.sort(order[:held]))


def read_history(run: str | Path) -> History:
    """The epochs of a finished run.

    Raises
    ------
    ValueError
        If the run is not finished, or its ``history.csv`` does not hold the epochs that its summary is of.
    """
    path, summary = Path(run) / HISTORY, read_summary(run)
    try:
        rows = [{str(k): v for k, v in row.items()} for row in pd.read_csv(path).to_dict("records")]
        whole = [row["epoch"] for row in rows] == list(range(1, len(rows) + 1))
        whole = whole and all(math.isfinite(row[name]) for row in rows for name in ("loss", "lr", "validation"))
        whole = whole and math.isclose(rows[-1]["seconds"], summary["seconds"], rel_tol=1e-6)
        best = rows[summary["best_epoch"] - 1]["validation"]
        whole = whole and math.isclose(best, summary["best_validation"], rel_tol=1e-6)
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        whole = False
    if not whole:
        raise ValueError(f"{path} is damaged or gone: it does not hold the epochs of summary.json")
    return History(rows, summary["best_epoch"], summary["best_validation"])


def _memory_before(device: torch.device) -> int | None:
    """Bytes that a GPU holds before a training in one go, whose peak is counted from here; None of a CPU.

    What earlier trainings of this process have left is given back first, as far as nobody has it.
    """
    if device.type == "cpu":
        return None
    gc.collect()
    torch.cuda.reset_peak_memory_stats(device)
    return torch.cuda.memory_allocated(device)


def _summary(operator: torch.nn.Module, history: History) -> dict[str, Any]:
    """What is worth knowing of a training."""
    parameters = sum(p.numel() * (2 if p.is_complex() else 1) for p in operator.parameters())
    return {
        "parameters": parameters,
        "best_epoch": history.best_epoch,
        "best_validation": history.best_validation,
        "seconds": history.seconds,
    }


@contextmanager
def _refusal_leaves_nothing(out: Path) -> Iterator[None]:
    """Where training ends before there is anything to go on from, let another configuration have the folder."""
    try:
        yield
    except (ValueError, TypeError):
        if not (out / STANDING).exists():
            for name in ("config.json", SAMPLES):
                (out / name).unlink(missing_ok=True)
        raise


@contextmanager
def _check_is_named(config: RunConfig) -> Iterator[None]:
    """Where an operator of a user's own breaks the training, say in the error what tells why."""
    try:
        yield
    except (ValueError, OSError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # whatever their code, or ours that is handed its output, makes of it
        if config.operator in OPERATORS or config.regime not in REGIMES:
            raise
        arguments = [f"{name}={value}" for name, value in config.operator_args.items()]
        command = shlex.join(["check", config.operator, *["--operator-args"] * bool(arguments), *arguments])
        raise ValueError(
            f"operator {config.operator!r}: {type(error).__name__}: {error}; pdebench-mano {command} tells which "
            "part of the contract it breaks"
        ) from error


def _told(config: RunConfig, say: Callable[[str], None], watch: Watch | None, row: Row) -> None:
    """Tell of an epoch that has ended whoever watches, and whoever sees no bar."""
    if watch is not None:
        watch(row)
    if not console.is_terminal:
        of = f" of {config.epochs}" if config.seconds is None else ""
        budget = "" if config.seconds is None else f" of {config.seconds:g}"
        say(
            f"epoch {row['epoch']}{of}: loss {row['loss']:.4g}, validation error {row['validation']:.4g}, "
            f"{row['seconds']:.0f}{budget} s of training"
        )


def _claim(out: Path, description: dict[str, Any]) -> None:
    """Refuse a path that holds anything but an earlier state of this very run."""
    if not out.exists() or (out.is_dir() and not {*out.iterdir()} - {out / LOCK, *leftovers(out)}):
        return
    if not (out / "config.json").exists():
        raise ValueError(f"out={out} holds something that is no run; choose a new folder")
    old = read_description(out)
    if description["sources"] and "sources" not in old:
        console.print(
            f"{out} was begun by an earlier version, which did not keep the digests of your files: it goes on"
        )
        old["sources"] = description["sources"]
    before, now = (
        PUBLISHED_MEANING
        | each["config"]
        | {"data": each["data"]["digest"]}
        | {f"the file of {k}": v for k, v in each["sources"].items()}
        for each in ({"sources": {}} | old, description)
    )
    changed = [f"{key} is {before.get(key)!r} there, {now[key]!r} here" for key in now if before.get(key) != now[key]]
    if changed:
        raise ValueError(f"out={out} holds a run of another configuration: {'; '.join(changed)}")
