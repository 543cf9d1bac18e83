"""Cases side by side, in processes or on a cluster: the records of a serial run, whatever happens to a worker."""

import dataclasses
import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from data_gen import generate
from data_gen.storage import locked
from pdebench_mano.benchmark import jobs
from pdebench_mano.benchmark.cases import Work, all_cases
from pdebench_mano.benchmark.data import datasets
from pdebench_mano.benchmark.jobs import Task, on_worker
from pdebench_mano.benchmark.run import run_suite
from pdebench_mano.benchmark.suite import read_suite
from pdebench_mano.evaluation.records import find_records, read_record
from pdebench_mano.machine.workers import Workers, dask_workers

OWN = """
import os
import signal
from pathlib import Path

from baselines.fno import FNO


class Mortal(FNO):
    '''Notes in a file that it is trained, and takes its process with it, the first times that it is.'''

    noted = False

    def __init__(self, *channels, log, deaths=0, **options):
        super().__init__(*channels, width=4, depth=1, modes=4, **options)
        self.log, self.deaths = Path(log), deaths

    def forward(self, a):
        if self.training and not self.noted:
            self.noted = True
            with self.log.open("a") as log:
                log.write("trained\\n")
            if trained(self.log) <= self.deaths:
                os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(a)


def trained(log):
    return len(log.read_text().splitlines())
"""

SUITE = """
title = "tiny"
resolutions = [9, 17]

[data]
train = "darcy.hdf5"

[training]
resolution = 9
epochs = 2
batch_size = 4

[[models]]
operator = "own.py:Mortal"
name = "tuned"
operator_args.log = "tuned.log"
seeds = [0, 1]
tune.lr = [1e30, 1e-3]

[[models]]
operator = "own.py:Mortal"
name = "mortal"
operator_args = {log = "mortal.log", deaths = 1}

[[models]]
operator = "own.py:Mortal"
name = "doomed"
operator_args = {log = "doomed.log", deaths = 1000}
tune.lr = [1e-3]
"""

BESIDE = {"commands", "environment", "seconds", "train_seconds", "commit", "cpu"}
"""What a record says of where and how fast it was made."""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The folder that commands are typed in, with a dataset, a suite and an operator in it."""
    monkeypatch.chdir(tmp_path)
    generate("darcy.hdf5", 12, 17, seed=4, split=(0.5, 0.25, 0.25))
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "suite.toml").write_text(SUITE)
    return tmp_path


@pytest.fixture
def scheduler(tmp_path_factory, monkeypatch):
    """Address of a scheduler with two workers, processes that stand elsewhere and are started again when they end."""
    distributed = pytest.importorskip("distributed")
    import dask

    folder = tmp_path_factory.mktemp("workers")
    with dask.config.set({"distributed.scheduler.allowed-failures": 1, "temporary-directory": str(folder)}):
        monkeypatch.chdir(folder)
        with distributed.LocalCluster(n_workers=2, threads_per_worker=2, dashboard_address=None) as cluster:
            yield cluster.scheduler_address


def chosen(*models):
    suite = read_suite("suite.toml")
    return suite.model_copy(update={"models": [model for model in suite.models if model.label in models]})


def lines(log):
    return len(Path(log).read_text().splitlines())


def content(record):
    """A record without what is beside the matter."""

    def rest(value):
        if isinstance(value, dict):
            return {name: rest(each) for name, each in value.items() if name not in BESIDE}
        return [rest(each) for each in value] if isinstance(value, list) else value

    return rest(dataclasses.asdict(record))


def records(out):
    return {record.model + str(record.seed): content(record) for record in map(read_record, find_records(Path(out)))}


def test_a_cluster_makes_the_records_of_a_serial_run_and_a_killed_worker_loses_no_case(scheduler, place):
    suite, said = chosen("tuned", "mortal"), []
    run_suite(suite, "cluster", workers=partial(dask_workers, scheduler), say=said.append)
    assert lines("mortal.log") == 2, "run again by another worker"
    assert lines("tuned.log") == 3, "two trials, and seed 1 with the better one"
    told = ["mortal, seed 0", "references", "tuned, seed 0", "tuned, seed 1"]
    assert sorted(line.partition(" ")[2] for line in said) == told
    run_suite(suite, "serial")
    assert records("cluster") == records("serial")


def test_trials_are_trained_once_and_a_killed_process_loses_one_case(place):
    suite = chosen("tuned", "doomed")
    with pytest.raises(ValueError, match=r"1 of 4 .*: doomed, seed 0: its trial doomed-.*: BrokenProcessPool"):
        run_suite(suite, "jobs", jobs=2)
    assert lines("tuned.log") == 3, "two trials, and seed 1 with the better one"
    assert lines("doomed.log") == 1, "the case is not begun without its trial"
    suite = chosen("tuned")
    run_suite(suite, "jobs")
    assert lines("tuned.log") == 3, "what is done, or has diverged, is not done again"
    run_suite(suite, "serial")
    assert records("jobs") == records("serial")


@pytest.mark.parametrize("broken", [False, True])
def test_a_case_waits_for_its_own_trials_alone_and_comes_before_those_of_the_next(place, monkeypatch, broken):
    """What is stopped has records of whole cases, where all trials of all models came first."""
    suite = chosen("tuned", "mortal", "doomed")
    cases = sorted(all_cases(suite, datasets(suite.data, place, place)), key=lambda case: case.config.seed)
    work = [Work(case, place / "runs", None, None, place / case.name, "") for case in cases]
    done = []

    def train_trial(trial, run, data):
        done.append(f"trial of {run.name.partition('-')[0]}")
        return ["it broke"] if broken and run.name.startswith("tuned") else []

    monkeypatch.setattr(jobs, "train_trial", train_trial)
    monkeypatch.setattr(jobs, "run_cases", lambda alike: done.append(alike[0].case.title) or [])
    with ThreadPoolExecutor(1) as executor:
        failures = jobs.run_side_by_side(work, Workers(executor, lambda: 1), place / "runs")
    own = [] if broken else ["tuned, seed 0"]
    first = ["trial of tuned", "trial of tuned", *own, "mortal, seed 0", "trial of doomed", "doomed, seed 0"]
    assert done == [*first, *(["tuned, seed 1"] if not broken else [])]
    assert failures == (["tuned, seed 0: it broke", "tuned, seed 1: it broke"] if broken else [])


def test_workers_that_do_not_see_the_folder_say_so(place):
    with pytest.raises(FileNotFoundError, match=r"elsewhere/runs is not seen by .*: workers need the same folder OUT"):
        on_worker(Task("fno", "fno, seed 0", list), Path("elsewhere/runs"), place)


def test_a_case_that_another_process_is_about_is_left_to_it(place):
    task, runs = Task("fno", "fno, seed 0", list), place / "runs"
    runs.mkdir()
    with locked(runs / "fno.lock"), pytest.raises(FileExistsError, match="runs/fno is still in use"):
        on_worker(task, runs, place)
    assert on_worker(task, runs, place) == []
    assert not [*runs.iterdir()]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_seed_that_is_added_takes_the_trials_from_the_records_of_the_others(place, jobs):
    suite = chosen("tuned")
    run_suite(suite, "whole")
    (first,) = Path("whole/records").glob("tuned-seed0-*.jsonl")
    Path("parts/records").mkdir(parents=True)
    shutil.copy(first, "parts/records")
    before = lines("tuned.log")
    run_suite(suite, "parts", jobs=jobs)
    assert lines("tuned.log") == before + 1, "seed 1 with what the trials of seed 0 chose"
    assert records("parts") == records("whole")
