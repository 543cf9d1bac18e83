"""Several cases at the same time, each in a process of one thread, which take the GPUs in turn."""

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from data_gen.generate import end_with_parent
from pdebench_mano.benchmark.cases import Work, run_case, run_name
from pdebench_mano.fields.data import Dataset
from pdebench_mano.machine.progress import Progress, silent
from pdebench_mano.training.options import RunConfig
from pdebench_mano.training.runs import train


def run_side_by_side(work: Sequence[Work], jobs: int, progress: Progress = silent) -> list[str]:
    """Train the trials of all cases, then run the cases, `jobs` at a time; returns what failed.

    Equal trials of several cases are trained once.
    """
    context = multiprocessing.get_context("spawn")
    trials = {
        item.runs / run_name(item.case.model, trial, item.case.data): (trial, item.train)
        for item in work
        for trial in item.case.trials
    }
    with ProcessPoolExecutor(jobs, context, _start_worker, (context.Value("i", 0),)) as pool:
        _finish([pool.submit(_train_trial, *each, run) for run, each in trials.items()], "trials", progress)
        return _finish([pool.submit(run_case, item) for item in work], "cases", progress)


def _finish(futures: Sequence[Future[list[str]]], what: str, progress: Progress) -> list[str]:
    """Wait for all, telling how many are done; returns their lines."""
    lines = []
    for done, future in enumerate(as_completed(futures), 1):
        lines += future.result()
        progress(done, len(futures), what)
    return lines


def _start_worker(started: Any) -> None:
    """`started` counts the workers, so that each takes the next GPU."""
    end_with_parent()
    torch.set_num_threads(1)
    with started.get_lock():
        number, started.value = started.value, started.value + 1
    if torch.cuda.is_available():
        torch.cuda.set_device(number % torch.cuda.device_count())


def _train_trial(config: RunConfig, data: Dataset, run: Path) -> list[str]:
    """A trial that diverges is no error: whoever chooses meets it again."""
    with suppress(ValueError):
        train(config, run, data=data)
    return []
