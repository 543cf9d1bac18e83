"""The times of a suite: of the runs that lie in its folder, and of the solvers that stand beside them."""

import json
from collections.abc import Callable, Collection, Iterator
from itertools import chain
from pathlib import Path

from data_gen.storage import read_json
from pdebench_mano.benchmark.cases import all_cases
from pdebench_mano.benchmark.data import datasets, make
from pdebench_mano.benchmark.references import all_references
from pdebench_mano.benchmark.suite import Suite
from pdebench_mano.evaluation.records import find_records, kind_of, read_record
from pdebench_mano.evaluation.timing import (
    Contender,
    Entrant,
    Stopwatch,
    Timing,
    architecture,
    labels,
    operators,
    solvers,
    take,
)
from pdebench_mano.machine.progress import Progress, silent
from pdebench_mano.training.runs import TRUSTED


def time_suite(
    suite: Suite,
    out: str | Path,
    watch: Stopwatch,
    *,
    folder: str | Path = ".",
    only: Collection[str] = (),
    say: Callable[[str], None] = lambda line: None,
    progress: Progress = silent,
) -> Iterator[Timing]:
    """Time the runs of a suite that lie in `out`, its solvers, and the making of its labels, into ``out/times.jsonl``.

    Nothing is trained. Operators are timed where they are evaluated, solvers there and on the grids that they stand
    beside them with; of runs of one model that differ in weights alone, one is timed.

    Parameters
    ----------
    suite : Suite
    out : path
        Folder of the data, runs and records.
    watch : Stopwatch
    folder : path
        What the suite's paths are relative to.
    only : collection of str
        Names of the models to time; all of them by default.
    say : callable
        Told in one line what is timed next.
    progress : callable
        Told of the samples that are made, where the suite generates its data and they are not there.

    Raises
    ------
    ValueError, OSError
        For data that are not there or cannot be made, or a model that the suite does not have.
    """
    suite.refuse_others(only)
    out = Path(out)
    places = datasets(suite.data, out / "data", Path(folder))
    for place in places.values():
        make(place.data, Path(place.train), Path(place.test), progress)
    runs = {json.dumps(read_json(path)): path.parent for path in (out / "runs").glob("*/config.json")}
    records = [read_record(path) for path in records_of_suite(suite, out, folder)]
    TRUSTED.update(name for model in suite.models for name in (model.operator, model.regime))
    contenders: list[Iterator[Contender]] = []
    for name, place in places.items():
        _, data = place.opened()
        entrants: dict[tuple[str, str], Entrant] = {}
        solved = set(suite.resolutions)
        for record in (each for each in records if each.tested_on == name):
            solved |= {row.computed_at for row in record.evaluations if kind_of(row, record) == "solver"}
            run = runs.get(json.dumps(record.configuration))
            if run is not None and (not only or record.model in only):
                grids = {row.resolution for row in record.evaluations if kind_of(row, record) == "operator"}
                entrant = Entrant(record.model, run, sorted(grids))
                entrants.setdefault((record.model, architecture(record.configuration)), entrant)
        start = suite.rolled_out_from
        contenders.append(operators(list(entrants.values()), data, watch, start))
        contenders += [solvers(data, sorted(solved), watch, start), labels(data, watch, start)]
    return take(chain(*contenders), watch, out, say)


def records_of_suite(suite: Suite, out: str | Path, folder: str | Path = ".") -> list[Path]:
    """The records in `out` of the cases and references of a suite as it stands.

    Raises
    ------
    ValueError, OSError
        If its data are not there.
    """
    places = datasets(suite.data, Path(out) / "data", Path(folder))
    cases = list(all_cases(suite, places))
    references = all_references(suite, places, cases[0].config)
    keys = {case.key for case in cases} | {each.key for each in references}
    return [path for path in find_records(Path(out)) if read_record(path).key in keys]
