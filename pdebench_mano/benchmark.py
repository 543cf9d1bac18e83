"""Case → Record: runs a suite, and skips what is done.

A case is known by the digest of all that determines its outcome and leaves one record, so a suite can be stopped at
any time and run in pieces, and goes on from records that others have published::

    OUT/records/NAME.jsonl    the record of one case, one line
    OUT/records/NAME.npz      its best, median and worst prediction
    OUT/runs/NAME/            trained runs, those of the tuning among them
    OUT/data/                 what was generated or converted
"""

import json
import multiprocessing
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from baselines.mean_solution import MeanSolution
from data_gen.generate import end_with_parent, generate
from data_gen.interop import convert
from data_gen.storage import read_info
from pdebench_mano.cases import Case, check, run_case, run_name, suite_cases
from pdebench_mano.evaluation import evaluate_labels, evaluate_solver, evaluate_upsampled, open_test
from pdebench_mano.progress import bars
from pdebench_mano.recording import budget, describe, samples
from pdebench_mano.records import Record, digest, find_records, provenance, read_record, write_record
from pdebench_mano.runs import RunConfig, train, training_data
from pdebench_mano.suite import Data, Recipe, Suite


@dataclass(frozen=True)
class Baselines:
    """What stands beside the models of a suite without being trained.

    Attributes
    ----------
    suite : Suite
    data : str
        What the data are, wherever they lie.
    trained_at : int
        Where the mean solution is taken, and the coarse solver's grid unless the suite names others.
    """

    suite: Suite
    data: str
    trained_at: int

    @property
    def grids(self) -> list[int]:
        """Grids of the coarse solver."""
        return [self.trained_at] if self.suite.coarse_solver is None else self.suite.coarse_solver

    @property
    def key(self) -> str:
        """Digest of all that determines the outcome."""
        suite = self.suite
        content = ["baselines", self.data, suite.resolutions, self.grids, suite.mean_solution and self.trained_at]
        return digest(content + ([suite.label_uncertainty] if suite.label_uncertainty else []))

    @property
    def name(self) -> str:
        """Name of the record's file."""
        return f"baselines-{self.key[:8]}"


def run_suite(
    suite: Suite,
    out: str | Path,
    *,
    folder: str | Path = ".",
    only: Collection[str] = (),
    jobs: int = 1,
    published: str | Path | None = None,
    command: str = "",
    say: Callable[[str], None] | None = None,
) -> list[Record]:
    """Train and evaluate every case that has no record yet; returns the records of all.

    Parameters
    ----------
    suite : Suite
    out : path
        Folder of the data, runs and records.
    folder : path
        What the suite's paths are relative to.
    only : collection of str
        Names of the models to run now; all of them by default.
    jobs : int
        Cases to run at the same time, each in a process of one thread, which take the GPUs in turn. They share the
        machine, so a budget of seconds and the times in the records are those of a shared machine.
    published : path, optional
        Folder of records to take over first; data are made only where some case has none.
    command : str
        What was typed, for the records.
    say : callable, optional
        Told in one line what begins; with it, progress bars are shown on stderr.

    Raises
    ------
    ValueError, TypeError, OSError
        For a suite that asks for what there is not, before anything is trained.
    """
    out, say, shown = Path(out), say or (lambda line: None), say is not None
    known = [model.label for model in suite.models]
    if unknown := sorted(set(only) - set(known)):
        raise ValueError(f"no model is called {', '.join(unknown)}: this suite has {', '.join(known)}")
    train_file, test_file, data = locate(suite.data, out / "data", Path(folder))
    cases = [case for case in suite_cases(suite, train_file, data) if not only or case.model in only]
    baselines = Baselines(suite, data, first_resolution(suite.data, cases[0].config))
    parts: list[Baselines | Case] = [baselines, *cases]
    files = {part.name: out / "records" / f"{part.name}.jsonl" for part in parts}
    if published is not None and (taken := take_over(Path(published), {part.key: files[part.name] for part in parts})):
        say(f"{taken} of {len(files)} records are published ones (--fresh makes all anew)")
    todo = [case for case in cases if not files[case.name].exists()]
    if todo or not files[baselines.name].exists():
        make(suite.data, train_file, shown)
        open_test(test_file, suite.coarse_solver or [])
    for case in todo:
        check(case)
        open_test(test_file, [*case.resolutions, *case.finer])
    work = [(case, out / "runs", test_file, files[case.name], command) for case in todo]
    if jobs > 1:
        failures = run_side_by_side(work, jobs, shown)
    else:
        failures = []
        for number, item in enumerate(work, 1):
            case = item[0]
            say(f"[{number}/{len(todo)}] {case.model}, seed {case.config.seed}, {budget(case.config)}")
            failures += run_case(*item, say=say, shown=shown)
    for failure in failures:
        say(failure)
    if not files[baselines.name].exists():
        mean = MeanSolution(training_data(cases[0].config)[0][0]) if suite.mean_solution else None
        record_baselines(baselines, mean, test_file, files[baselines.name], command, shown)
    if failures:
        raise ValueError(f"{len(failures)} of {len(cases)} cases failed: {'; '.join(failures)}")
    records = [read_record(path) for path in files.values()]
    if older := sum(record.environment["source"] != provenance()["source"] for record in records):
        say(f"{older} of {len(records)} records were made by another version of the code")
    return records


def take_over(published: Path, files: Mapping[str, Path]) -> int:
    """Copy the records of these keys to files that are not there yet; returns how many there were."""
    records = [read_record(path) for path in find_records(published)]
    wanted = [record for record in records if record.key in files and not files[record.key].exists()]
    for record in wanted:
        write_record(record, files[record.key])
    return len(wanted)


def locate(data: Data, out: Path, folder: Path) -> tuple[Path, Path, str]:
    """The files to train and test on, which `make` makes; with them, what they are, wherever they lie."""
    if data.generate is not None:
        path = out / f"darcy-{digest(arguments(data.generate))[:8]}.hdf5"
        return path, path, "recipe " + json.dumps(data.generate.model_dump(exclude={"device", "workers"}))
    assert data.train is not None
    train_file, test_file = (_schema_file(each, out, folder) for each in (data.train, data.test or data.train))
    return train_file, test_file, f"digests {read_info(train_file).digest} {read_info(test_file).digest}"


def make(data: Data, path: Path, shown: bool) -> None:
    """Generate the file that `locate` names, unless it is there."""
    if data.generate is None:
        return
    with bars(shown) as progress:
        task = progress.add_task("generate", total=data.generate.samples)
        generate(
            path,
            **arguments(data.generate),
            workers=data.generate.workers,
            progress=lambda done, _: progress.update(task, completed=done),
        )


def arguments(recipe: Recipe) -> dict[str, Any]:
    """Arguments of `data_gen.generate` that the file depends on, ``device = "auto"`` resolved."""
    device = ("cuda" if torch.cuda.is_available() else "cpu") if recipe.device == "auto" else recipe.device
    return recipe.model_dump(exclude={"workers"}) | {"device": device}


def first_resolution(data: Data, config: RunConfig) -> int:
    """The resolution a configuration trains at, or the first of several, before there are data."""
    if config.resolution is not None:
        return config.resolution[0] if isinstance(config.resolution, list) else config.resolution
    return data.generate.resolution if data.generate is not None else read_info(config.data).shape[0]


def _schema_file(name: str, out: Path, folder: Path) -> Path:
    """The file itself if it is of our schema, else its conversion."""
    expanded = os.path.expandvars(name)
    if "$" in expanded:
        raise ValueError(f"data {name!r}: set that environment variable to the folder of the files")
    source = folder / expanded
    if source.suffix in (".hdf5", ".h5"):
        return source
    target = out / f"{source.stem}.hdf5"
    if not target.exists():
        convert(source, target)
    return target


def run_side_by_side(work: Sequence[tuple[Case, Path, Path, Path, str]], jobs: int, shown: bool) -> list[str]:
    """Train the trials of all cases, then run the cases, several at a time; returns what failed.

    Every process has one thread, and the GPUs in turn.
    """
    context = multiprocessing.get_context("spawn")
    trials = {runs / run_name(case.model, trial, case.data): trial for case, runs, *_ in work for trial in case.trials}
    with ProcessPoolExecutor(jobs, context, _start_worker, (context.Value("i", 0),)) as pool:
        _finish([pool.submit(_train_trial, trial, run) for run, trial in trials.items()], "trials", shown)
        return _finish([pool.submit(run_case, *item) for item in work], "cases", shown)


def _finish(futures: Sequence[Future[list[str]]], what: str, shown: bool) -> list[str]:
    """Wait for all, showing how many are done; returns their lines."""
    lines = []
    with bars(shown) as progress:
        for future in progress.track(as_completed(futures), len(futures), description=what):
            lines += future.result()
    return lines


def _start_worker(started: Any) -> None:
    """`started` counts the workers, so that each takes the next GPU."""
    end_with_parent()
    torch.set_num_threads(1)
    with started.get_lock():
        number, started.value = started.value, started.value + 1
    if torch.cuda.is_available():
        torch.cuda.set_device(number % torch.cuda.device_count())


def _train_trial(config: RunConfig, run: Path) -> list[str]:
    """A trial that diverges is no error: whoever chooses meets it again."""
    with suppress(ValueError):
        train(config, run)
    return []


def record_baselines(
    baselines: Baselines, mean: MeanSolution | None, test_file: Path, target: Path, command: str, shown: bool
) -> None:
    """Leave the record of what is not trained: coarse solver, mean solution, and the labels themselves."""
    suite = baselines.suite
    with bars(shown) as progress:
        rows = evaluate_solver(test_file, baselines.grids, suite.resolutions, progress)
        if mean is not None:
            rows += evaluate_upsampled(
                mean, "mean solution", test_file, baselines.trained_at, suite.resolutions, progress
            )
        if suite.label_uncertainty:
            rows += evaluate_labels(test_file, suite.label_uncertainty, suite.resolutions, progress)
    record = Record(
        key=baselines.key,
        model="baselines",
        seed=0,
        budget="",
        configuration={},
        training={},
        history=[],
        dataset=describe(read_info(test_file)),
        samples=samples(test_file),
        evaluations=rows,
        commands=[command],
        environment=provenance(),
    )
    write_record(record, target)
