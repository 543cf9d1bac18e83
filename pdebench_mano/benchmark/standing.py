"""The tasks that leave the references of a suite: one for each solver on each grid, and one that gathers their rows.

    OUT/runs/NAME-SCHEME-GRID.json    what a solver leaves of a grid, until the record NAME holds it

So references that were stopped go on, and workers share them.
"""

from collections.abc import Mapping
from functools import partial
from os.path import lexists
from pathlib import Path

from data_gen.storage import locked
from pdebench_mano.benchmark.jobs import Task
from pdebench_mano.benchmark.references import References, read_share, record_references, share_of, write_share
from pdebench_mano.benchmark.suite import Suite
from pdebench_mano.evaluation.beside import rivals
from pdebench_mano.evaluation.in_time import TrainingMean
from pdebench_mano.evaluation.records import slug, solver_name
from pdebench_mano.fields.data import Dataset, View
from pdebench_mano.fields.steps import Rollouts
from pdebench_mano.machine.progress import Progress, silent
from pdebench_mano.machine.provenance import provenance
from pdebench_mano.operators.registry import build_reference
from pdebench_mano.training.options import RunConfig
from pdebench_mano.training.runs import training_data


def standing(
    references: References, config: RunConfig, train: Dataset, test: Dataset, runs: Path, target: Path, command: str
) -> list[Task]:
    """What leaves the record of references at `target`; the mean solution is that of the training of `config`."""
    shares: dict[str, Path] = {}
    tasks = []
    for scheme in dict.fromkeys(rival.scheme for rival in rivals(test)):
        for grid in references.suite.rivals:
            name = f"{references.name}-{slug(f'{scheme} {grid}')}"
            shares[name] = runs / f"{name}.json"
            run = partial(leave_share, references, scheme, grid, config, train, test, shares[name], target)
            tasks.append(Task(name, f"{solver_name(scheme)} at {grid}²", run))
    gather = partial(stand_beside, references, config, train, test, shares, target, command)
    return [*tasks, Task(references.name, references.title, gather, frozenset(shares))]


def leave_share(
    references: References,
    scheme: str,
    grid: int,
    config: RunConfig,
    train: Dataset,
    test: Dataset,
    path: Path,
    target: Path,
    progress: Progress = silent,
) -> list[str]:
    """Leave a solver's share of the references at `path`, unless it, by this code, or their record is there already.

    Returns no lines, as it never fails without an exception.
    """
    done = lexists(target) or (lexists(path) and read_share(path).source == provenance()["source"])
    if not done:
        mean = None if references.suite.rolled_out_from is None else TrainingMean(config, train)
        write_share(share_of(references, scheme, grid, train, test, progress, mean), path)
    return []


def stand_beside(
    references: References,
    config: RunConfig,
    train: Dataset,
    test: Dataset,
    shares: Mapping[str, Path],
    target: Path,
    command: str,
    progress: Progress = silent,
) -> list[str]:
    """Leave the record of what is not trained at `target`, of the shares of solvers, which go, and all else.

    Nothing is left to do where another command on the same folder has left it meanwhile. Returns no lines, as
    `leave_share`.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with locked(target.with_name(f".{target.name}.lock"), target, wait=True):
        if lexists(target):
            return []
        suite = references.suite
        own = [read_share(path) for path in shares.values()]
        mean = build_reference("mean", averaged(suite, config, train)) if suite.mean_solution else None
        fluctuating = None if suite.rolled_out_from is None else TrainingMean(config, train)
        record_references(references, own, mean, test, target, command, progress, fluctuating)
        for path in shares.values():
            path.unlink()
    return []


def averaged(suite: Suite, config: RunConfig, train: Dataset) -> View:
    """The training samples, as what the mean solution is the mean of."""
    views, _ = training_data(config, train)
    if suite.rolled_out_from is None:
        return views[0]
    return Rollouts(train, None, views[0].resolution, start=suite.start, indices=views[0].samples)
