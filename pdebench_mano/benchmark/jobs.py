"""Cases side by side, one at a time in each of several processes, here or on a Dask cluster.

A task that fails, or that takes its process with it, is told of in a line, and the others go on.
"""

import platform
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from contextlib import ExitStack, chdir, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from data_gen.storage import locked
from pdebench_mano.benchmark.cases import Work, run_case, train_once
from pdebench_mano.fields.data import Dataset
from pdebench_mano.machine.devices import use_own_gpu
from pdebench_mano.machine.progress import Progress, silent
from pdebench_mano.machine.workers import Workers
from pdebench_mano.training.history import Diverged
from pdebench_mano.training.options import RunConfig

LOOK_SECONDS = 5
"""How often to look whether there are workers."""

_alone = threading.Lock()
"""Of a process whose tasks run in several threads."""


class Task(NamedTuple):
    """What one worker does, in one go, once tasks that it `needs` are done.

    `name` is that of its files, and by which others need it; `title` what people are told.
    """

    name: str
    title: str
    run: Callable[..., list[str]]
    needs: frozenset[str] = frozenset()


def run_side_by_side(
    work: Sequence[Work],
    workers: Workers,
    runs: Path,
    say: Callable[[str], None] = lambda line: None,
    progress: Progress = silent,
    others: Sequence[Task] = (),
) -> list[str]:
    """Train the trials of all cases, each once, and run each case once its own are done; returns why some failed.

    All is begun in the order of the cases, so that what is stopped has whole ones. Those that one training serves,
    tested on one dataset after another, are one task. `others` are begun before the cases. Those that none needs are
    counted, and told of. `runs` is the folder that workers must see.

    Raises
    ------
    OSError
        If there are no workers any more.
    """
    trainings: dict[str, list[Work]] = {}
    for item in work:
        trainings.setdefault(item.run(item.case.config).name, []).append(item)
    trials: dict[str, Task] = {}
    tasks = [*others]
    for alike in trainings.values():
        needs = {
            item.run(trial).name: partial(train_trial, trial, item.run(trial), item.train)
            for item in alike
            for trial in item.case.trials
            if item.known(trial) is None
        }
        new = {name: Task(name, f"its trial {name}", run) for name, run in needs.items() if name not in trials}
        trials |= new
        first = alike[0].case
        tasks += [*new.values(), Task(first.name, first.title, partial(run_cases, alike), frozenset(needs))]
    failures: list[str] = []
    needed = frozenset[str]().union(*(task.needs for task in tasks))
    told, count = 0, sum(task.name not in needed for task in tasks)
    for task, lines in _ended(runs, workers, progress, tasks):
        if task.name not in needed:
            told += 1
            say(f"[{told}/{count}] {lines[0] if lines else task.title}")
            failures += lines
    return failures


def train_trial(trial: RunConfig, run: Path, data: Dataset) -> list[str]:
    """Train a trial; that it diverges is an outcome, which is kept for whoever chooses."""
    with suppress(Diverged):
        train_once(trial, run, data)
    return []


def run_cases(work: Sequence[Work]) -> list[str]:
    """Run cases one after another; returns why some failed, in a line each."""
    return [line for item in work for line in run_case(item)]


def _ended(runs: Path, workers: Workers, progress: Progress, tasks: Sequence[Task]) -> Iterator[tuple[Task, list[str]]]:
    """Run tasks, no more at a time than there are places; yields each as it ends, with the lines why it failed.

    What needs one that failed has failed with it.
    """
    waiting, running = list(tasks), dict[Future[list[str]], Task]()
    runs.mkdir(parents=True, exist_ok=True)
    while waiting or running:
        for _ in range(workers.places() - len(running)):
            undone = {task.name for task in (*waiting, *running.values())}
            task = next((each for each in waiting if not each.needs & undone), None)
            if task is None:
                break
            waiting.remove(task)
            running[workers.executor.submit(on_worker, task, runs, Path.cwd())] = task
        if not running:
            time.sleep(LOOK_SECONDS)
        for task, lines in _next(running):
            yield task, lines
            for lost in [each for each in waiting if lines and task.name in each.needs]:
                waiting.remove(lost)
                yield lost, [f"{lost.title}: {lines[0]}"]
        progress(len(tasks) - len(waiting) - len(running), len(tasks), "trials and cases")


def _next(running: dict[Future[list[str]], Task]) -> list[tuple[Task, list[str]]]:
    """Take out what has ended; its futures go, so that no scheduler does it again where their outcome is lost."""
    done = wait(running, LOOK_SECONDS, FIRST_COMPLETED).done
    return [(task := running.pop(future), _lines(future, task)) for future in done]


def _lines(future: Future[list[str]], task: Task) -> list[str]:
    """What a task returned, or the line that says why it did not."""
    try:
        return future.result()
    except CancelledError:  # by no one but a scheduler that is gone
        raise
    except Exception as error:  # of one task, whatever it is: the others need not know
        return [" ".join(f"{task.title}: {type(error).__name__}: {error}".split())]


def on_worker(task: Task, runs: Path, here: Path) -> list[str]:
    """Run a task as its only one in this process, on a GPU of its own, and where the command was typed.

    Raises
    ------
    OSError
        If the folder of the runs is not seen from here, or another process is about the same task.
    """
    with _alone, chdir(here) if here.is_dir() else nullcontext():
        if not runs.is_dir():
            raise FileNotFoundError(f"{here / runs} is not seen by {platform.node()}: workers need the same folder OUT")
        with _claimed(runs / f"{task.name}.lock"):
            use_own_gpu()
            return task.run()


@contextmanager
def _claimed(lock: Path) -> Iterator[None]:
    """Hold a task: a worker whose scheduler took it for lost, or whose command was stopped, may still be about it."""
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(lock))
        except FileExistsError:
            raise FileExistsError(
                f"{lock.with_suffix('')} is still in use by another process: once it has ended, type the same again"
            ) from None
        stack.callback(lock.unlink)
        yield
