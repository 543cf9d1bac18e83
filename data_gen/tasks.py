"""Work in several processes: tasks, a bounded number of which are under way."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from itertools import islice
from typing import Any


def run(
    tasks: Sequence[Callable[[], int]], workers: int, executor: Executor | None, gpus: Sequence[str]
) -> Iterator[int]:
    """Do tasks, here or elsewhere, with a bounded number under way; yields what they return, as they end."""
    if executor is None and (workers == 1 or len(tasks) < 2):
        yield from (task() for task in tasks)
    elif executor is None:
        context = multiprocessing.get_context("spawn")
        turn = context.Value("i", 0)
        with ProcessPoolExecutor(min(workers, len(tasks)), context, _start, (turn, gpus)) as pool:
            yield from _gather(tasks, pool, 2 * workers)
    else:
        yield from _gather(tasks, executor, 256)


def _gather(tasks: Sequence[Callable[[], int]], executor: Executor, window: int) -> Iterator[int]:
    waiting = iter(tasks)
    running: set[Future[int]] = set()
    try:
        while True:
            running.update(executor.submit(task) for task in islice(waiting, window - len(running)))
            if not running:
                return
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in finished)
    finally:
        for future in running:
            future.cancel()


def _start(turn: Any, gpus: Sequence[str]) -> None:
    """Begin as a worker: the GPUs are dealt out in turn."""
    end_with_parent()
    if gpus:
        with turn.get_lock():
            os.environ["CUDA_VISIBLE_DEVICES"] = gpus[turn.value % len(gpus)]
            turn.value += 1


def end_with_parent() -> None:
    """Let a worker process end when its parent is killed, else it would wait for work for ever; leave Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
