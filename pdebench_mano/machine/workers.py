"""Processes that take work: some on this machine, or the workers of a Dask cluster."""

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from threadpoolctl import threadpool_limits

from data_gen.tasks import end_with_parent

if TYPE_CHECKING:
    from distributed import Client

CONNECT_SECONDS = 10
"""How long to wait for a scheduler, and for its first worker."""

ALONE_SECONDS = 60
"""How long to wait where all workers are lost: whoever watches over them has started others by then."""


class Workers(NamedTuple):
    """What runs tasks elsewhere, and how many places there are to run one, now."""

    executor: Executor
    places: Callable[[], int]


@contextmanager
def dask_workers(address: str) -> Iterator[Workers]:
    """The workers of a Dask scheduler; a task of one that is lost is run again by another.

    Raises
    ------
    ValueError, OSError
        If Dask is not installed; if no scheduler answers at `address`, or it has no workers; if either is lost within.
    """
    try:
        from distributed import KilledWorker
    except ImportError:
        raise ValueError("a scheduler needs the extra: pip install pdebench-mano[distributed]") from None
    with _quiet("distributed.client"), _connected(address) as client:
        gone = f"scheduler {address} is gone: start it, and type the same again"
        seen = time.monotonic()

        def places() -> int:
            nonlocal seen
            try:
                found = len(client.nthreads())
            except OSError:
                raise OSError(gone) from None
            if found:
                seen = time.monotonic()
            elif time.monotonic() - seen > ALONE_SECONDS:
                raise OSError(f"scheduler {address} has lost all its workers: start some, and type the same again")
            return found

        try:
            client.wait_for_workers(1, timeout=CONNECT_SECONDS)
        except TimeoutError:
            raise OSError(f"scheduler {address} has no workers: start some, and type the same again") from None
        try:
            yield Workers(client.get_executor(pure=False), places)
        except CancelledError:
            raise OSError(gone) from None
        except KilledWorker as error:
            raise OSError(f"scheduler {address} has lost every worker that was given one task: {error}") from None


def _connected(address: str) -> "Client":
    from distributed import Client

    try:
        return Client(address, timeout=CONNECT_SECONDS)
    except ValueError as error:
        raise ValueError(f"scheduler {address!r} is no address: {error}") from None


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Within, a logger keeps to itself what is said here in one line."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def processes(number: int) -> Iterator[Workers]:
    """New processes on this machine, of one thread each, that end with the block; one that is killed is replaced."""
    executor = _Processes(number)
    try:
        yield Workers(executor, lambda: number)
    except BaseException:
        executor.kill()
        raise
    finally:
        executor.shutdown(cancel_futures=True)


class _Processes(ThreadPoolExecutor):
    """Threads that hand their tasks to a process each, so that a killed one takes no task but its own with it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self._own = threading.local()
        self._started: dict[int, ProcessPoolExecutor] = {}
        self._killed = False

    def submit(self, task: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return super().submit(self._hand_over, task, *args, **kwargs)

    def _hand_over(self, task: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if not hasattr(self._own, "process"):
            pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _start)
            self._own.process = pool.submit(os.getpid).result()
            self._started[self._own.process] = pool
        if self._killed:
            raise CancelledError
        try:
            return self._started[self._own.process].submit(task, *args, **kwargs).result()
        except BrokenProcessPool:
            del self._started[self._own.process], self._own.process
            raise

    def kill(self) -> None:
        """End the processes, whatever they do."""
        self._killed = True
        for process in [*self._started]:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGTERM)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        super().shutdown(wait, cancel_futures=cancel_futures)
        for pool in self._started.values():
            pool.shutdown(wait)


def _start() -> None:
    import scipy.linalg  # noqa: F401 (whose library would come later, with threads of its own)
    import torch

    end_with_parent()
    torch.set_num_threads(1)
    threadpool_limits(1)
