"""Case → Record: runs a suite, and skips what is done.

A case is known by the digest of all that determines its outcome and leaves one record, so a suite can be stopped at
any time and run in pieces, and goes on from records that others have published::

    OUT/records/NAME.jsonl      the record of one case, one line
    OUT/records/NAME.npz        its best, median and worst prediction
    OUT/records/NAME.first.npz  its predictions of the first test samples
    OUT/runs/NAME/              trained runs, those of the tuning among them
    OUT/runs/NAME.json          rows of a solver, until the record of the references holds them
    OUT/runs/NAME.diverged      why there is no such run: without this file it is trained again
    OUT/data/                   what was generated or converted
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from os.path import lexists
from pathlib import Path
from typing import Any

from data_gen.counts import PROCESSES, check_count
from data_gen.recipe import unsolved
from pdebench_mano.benchmark.cases import Case, Work, all_cases, check, run_case
from pdebench_mano.benchmark.data import Located, datasets, generated_problem, make
from pdebench_mano.benchmark.data_table import Data
from pdebench_mano.benchmark.jobs import Task, run_side_by_side
from pdebench_mano.benchmark.references import References, all_references
from pdebench_mano.benchmark.standing import standing
from pdebench_mano.benchmark.suite import Suite
from pdebench_mano.evaluation.assess import budget, samples
from pdebench_mano.evaluation.evaluate import held_out
from pdebench_mano.evaluation.records import (
    Record,
    digest,
    find_records,
    listed,
    read_record,
    solver_name,
    stored_record,
    write_record,
)
from pdebench_mano.fields.data import Dataset
from pdebench_mano.fields.samples import Samples, refuse_overlap
from pdebench_mano.machine.progress import bar
from pdebench_mano.machine.provenance import provenance
from pdebench_mano.machine.workers import Workers, processes
from pdebench_mano.training.options import RunConfig
from pdebench_mano.training.runs import training_data


def run_suite(
    suite: Suite,
    out: str | Path,
    *,
    folder: str | Path = ".",
    only: Collection[str] = (),
    jobs: int = 1,
    workers: Callable[[], AbstractContextManager[Workers]] | None = None,
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
        machine, so a budget of seconds is one of a shared machine.
    workers : callable, optional
        What opens the workers to run the cases on instead, such as ``partial(dask_workers, address)`` of
        `pdebench_mano.machine.workers`. They must see `out`.
    published : path, optional
        Folder of records to take over first, and trials of settings from any of its records; data are made, or asked
        for, only where some case has no record.
    command : str
        What was typed, for the records.
    say : callable, optional
        Told in one line what begins; with it, progress bars are shown on stderr.

    Raises
    ------
    ValueError, TypeError, OSError
        For a suite that asks for what there is not, before anything is trained; if cases fail, once the others are
        done; if there are no workers any more.
    """
    out, say, shown = Path(out), say or (lambda line: None), say is not None
    check_count("jobs", jobs, PROCESSES)
    suite.refuse_others(only)
    places = located(suite.data, out / "data", Path(folder), say, Path(published) if published else None)
    every = list(all_cases(suite, places))
    cases = [case for case in every if not only or case.model in only]
    references = all_references(suite, places, every[0].config)
    parts: list[References | Case] = [*references, *cases]
    files = {part.name: out / "records" / f"{part.name}.jsonl" for part in parts}
    if published is not None and (taken := take_over(Path(published), {part.key: files[part.name] for part in parts})):
        say(f"{taken} of {len(files)} records are published ones (--fresh makes all anew)")
    seed_by_seed = sorted(cases, key=lambda case: case.config.seed)  # so that what is stopped has all models
    todo = {case.name: case for case in seed_by_seed if not lexists(files[case.name])}
    beside = [each for each in references if not lexists(files[each.name])]
    say_what_came_later(references, files, places, say)
    failures: list[str] = []
    asked = len(cases)
    if todo or beside:
        if workers is None and jobs > 1:
            workers = partial(processes, jobs)
        with workers() if workers else nullcontext() as staff:
            with bar("samples generated", shown) as progress:
                for place in places.values():
                    make(place.data, Path(place.train), Path(place.test), progress, staff and staff.executor)
            pairs = {name: place.opened() for name, place in places.items()}
            refuse_shared(pairs, every[0].config)
            for name, (_, test) in pairs.items():
                held_out(test, [*(suite.coarse_solver or []), *suite.rivals], suite.rolled_out_from)
                say_why_unsolved(test, name, say)
            for case in todo.values():
                check(case, pairs[case.trained_on][0])
                held_out(pairs[case.tested_on][1], [*case.resolutions, *case.finer], case.start)
            beside_them = [
                task
                for each in beside
                for task in standing(
                    each, every[0].config, *pairs[each.tested_on], out / "runs", files[each.name], command
                )
            ]
            if staff is None:
                stand_one_by_one(beside_them, shown)
            others_tried = find_records(Path(published)) if published is not None else []
            tried = trials_of([*others_tried, *filter(lexists, files.values())])
            work = []
            for name, case in todo.items():
                data = pairs[case.trained_on][0], pairs[case.tested_on][1]
                work.append(Work(case, out / "runs", *data, files[name], command, tried))
            if staff is not None:
                asked += len(beside)
                with bar("cases", shown) as progress:
                    failures += run_side_by_side(work, staff, out / "runs", say, progress, beside_them)
            else:
                failures += run_one_by_one(work, say, shown)
    if failures:
        raise ValueError(f"{len(failures)} of {asked} cases failed: {'; '.join(failures)}")
    records = [read_record(path) for path in files.values()]
    say_what_is_older(records, published, say)
    return records


def say_why_unsolved(data: Dataset, name: str, say: Callable[[str], None]) -> None:
    """Say in a line why no solver stands beside operators on this dataset of a suite, if none does."""
    if reason := unsolved(data.info.attributes):
        say(f"no solver row{f' on {name}' if name else ''}: {reason}")


def say_what_is_older(records: Sequence[Record], published: str | Path | None, say: Callable[[str], None]) -> None:
    """Say in a line how many records another version of the code made; of published ones that is expected."""
    known = set() if published is None else {stored_record(path).key for path in find_records(Path(published))}
    others = [record for record in records if record.key not in known]
    if older := sum(record.environment["source"] != provenance()["source"] for record in others):
        say(f"{older} of {len(records)} records were made by another version of the code")


def say_what_came_later(
    references: Iterable[References],
    files: Mapping[str, Path],
    places: Mapping[str, Located],
    say: Callable[[str], None],
) -> None:
    """Say in a line each which solvers a record of references that is there has no row of; of generated data alone."""
    for each in references:
        file, data = files[each.name], places[each.tested_on].data
        if not (lexists(file) and each.suite.rivals and data.generate):
            continue
        rows = {row.model for row in read_record(file).evaluations}
        problem = generated_problem(data.generate.files[-1])
        names = dict.fromkeys(solver_name(rival.scheme) for rival in problem.rivals())
        if missing := [name for name in names if name not in rows]:
            say(f"{file} is from before {listed(missing)}: to make it anew, remove it and add --fresh")


def stand_one_by_one(tasks: Iterable[Task], shown: bool) -> None:
    """Leave the records of references in this process, with a bar if `shown`."""
    with bar("references, samples", shown) as progress:
        for task in tasks:
            task.run(progress=progress)


def run_one_by_one(work: Sequence[Work], say: Callable[[str], None], shown: bool) -> list[str]:
    """Run cases in this process, with a bar each if `shown`; returns why some failed, in a line each."""
    failures = []
    for number, item in enumerate(work, 1):
        say(f"[{number}/{len(work)}] {item.case.title}, {budget(item.case.config)}")
        with bar(f"{item.case.model}, steps", shown) as progress:
            try:
                lines = run_case(item, say=say, progress=progress)
            except Exception as error:  # of one case, whatever it is: the others need not wait
                lines = [" ".join(f"{item.case.title}: {type(error).__name__}: {error}".split())]
        for line in lines:
            say(line)
        failures += lines
    return failures


def refuse_shared(pairs: Mapping[str, tuple[Dataset, Dataset]], config: RunConfig) -> None:
    """Refuse a suite that tests on samples which it trains on, before anything is trained.

    Raises
    ------
    ValueError
        If it does, or a file to test on has no test samples.
    """
    trained = {}
    for name, (train, test) in pairs.items():
        if train is test and "test" not in test.info.splits:
            raise ValueError(f"{test.path} has no test split: name other samples as data.test")
        sets, validation = training_data(config, train)
        who = f"every model of {name}" if name else "every model"
        trained[who] = Samples.of(train, [*sets[0].samples, *validation.samples])
    for _, test in pairs.values():
        tested = Samples.of(test, samples(test))
        for who, seen in trained.items():
            refuse_overlap(tested, seen, who)


def located(
    data: Data, out: Path, folder: Path, say: Callable[[str], None], published: Path | None
) -> dict[str, Located]:
    """What `datasets` says; of a dataset whose files are not here, what its published records say.

    Raises
    ------
    ValueError, OSError
        As `datasets`, where no record says it.
    """
    try:
        return datasets(data, out, folder, say)
    except (OSError, ValueError) as error:
        records = map(stored_record, find_records(published) if published else ())
        trained = next((record for record in records if record.configuration), None)
        if data.train is None or data.each or trained is None:
            raise
        about, tested = trained.configuration["data"], trained.dataset["digest"]
        files = Path(data.train), Path(data.test or data.train)
        return {"": Located(data, *files, f"digests {about['digest']} {tested}", about["resolution"], error)}


def trials_of(files: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """The trials that records of trainings hold, by the digests of their configurations."""
    records = [record for record in map(stored_record, files) if record.configuration]
    return {digest(trial["configuration"]): trial for record in records for trial in record.training.get("trials", [])}


def take_over(published: Path, files: Mapping[str, Path]) -> int:
    """Copy the records of these keys to files that are not there yet; returns how many there were."""
    records = [stored_record(path) for path in find_records(published)]
    wanted = [record for record in records if record.key in files and not files[record.key].exists()]
    for record in wanted:
        write_record(record, files[record.key])
    return len(wanted)
