"""Workers elsewhere: what is said where there are none, or none any more."""

import os
import threading
import time

import pytest
from threadpoolctl import threadpool_info

from pdebench_mano.machine import workers as module
from pdebench_mano.machine.workers import dask_workers, processes

distributed = pytest.importorskip("distributed")


def test_a_process_has_one_thread_in_every_library(monkeypatch):
    """Else those of several processes wait for one another, spinning: sixteen cores do the work of one."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with processes(1) as workers:
        libraries = workers.executor.submit(threadpool_info).result()
    assert {each["user_api"] for each in libraries} >= {"blas", "openmp"}
    assert {each["num_threads"] for each in libraries} == {1}


@pytest.fixture
def cluster():
    """A cluster of one worker in this process."""
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with distributed.LocalCluster(**options, memory_limit=None) as local:
        yield local


def with_workers(cluster, lose):
    with dask_workers(cluster.scheduler_address) as workers:
        lose(workers)


def test_a_scheduler_that_is_lost_is_named(cluster, capfd):
    closing = threading.Thread(target=cluster.close)

    def lose(workers):
        assert workers.places() == 1
        waiting = workers.executor.submit(time.sleep, 3)
        closing.start()
        waiting.result()

    with pytest.raises(OSError, match="is gone: start it"):
        with_workers(cluster, lose)
    closing.join()
    assert "Traceback" not in capfd.readouterr().err


def test_a_scheduler_without_workers_is_named(cluster, monkeypatch):
    monkeypatch.setattr(module, "CONNECT_SECONDS", 0.5)
    monkeypatch.setattr(module, "ALONE_SECONDS", 0.1)

    def lose(workers):
        cluster.scale(0)
        while workers.places() in (0, 1):
            time.sleep(0.05)

    with pytest.raises(OSError, match="has lost all its workers"):
        with_workers(cluster, lose)
    with pytest.raises(OSError, match="has no workers"):
        with_workers(cluster, lose)


def test_a_process_that_is_killed_takes_nothing_with_it_and_is_replaced():
    with processes(1) as workers:
        run = workers.executor.submit
        first = run(os.getpid).result()
        assert first != os.getpid()
        with pytest.raises(RuntimeError, match="terminated abruptly"):
            run(os.kill, first, 9).result()
        assert run(os.getpid).result() != first


def test_processes_end_with_a_block_that_is_left_by_an_error():
    def interrupted():
        with processes(1) as workers:
            process = workers.executor.submit(os.getpid).result()
            workers.executor.submit(time.sleep, 600)
            raise KeyboardInterrupt(process)

    with pytest.raises(KeyboardInterrupt) as left:
        interrupted()
    with pytest.raises(ProcessLookupError):
        os.kill(left.value.args[0], 0)
