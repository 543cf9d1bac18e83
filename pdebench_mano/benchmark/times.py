"""The times of a suite: of the operators that it has records of, and of the solvers that stand beside them."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path

from data_gen.storage import read_json
from pdebench_mano.benchmark.cases import Case, all_cases
from pdebench_mano.benchmark.data import Located, datasets, make
from pdebench_mano.benchmark.references import References, all_references
from pdebench_mano.benchmark.run import take_over
from pdebench_mano.benchmark.suite import Suite
from pdebench_mano.evaluation.records import Record, digest, evaluated_on, find_records, kind_of, listed, read_record
from pdebench_mano.evaluation.timing import (
    Contender,
    Entrant,
    Stopwatch,
    Timing,
    Untrained,
    architecture,
    labels,
    operators,
    read_times,
    solvers,
    take,
)
from pdebench_mano.machine.progress import Progress, silent
from pdebench_mano.training.folder import BEST
from pdebench_mano.training.runs import TRUSTED


def time_suite(
    suite: Suite,
    out: str | Path,
    watch: Stopwatch,
    *,
    folder: str | Path = ".",
    only: Collection[str] = (),
    published: str | Path | None = None,
    say: Callable[[str], None] = lambda line: None,
    progress: Progress = silent,
) -> Iterator[Timing]:
    """Time the operators of a suite, its solvers, and the making of its labels, into ``out/times.jsonl``.

    Nothing is trained. Operators are those of the records in `out`. They are timed where they are evaluated, solvers
    there and on the grids that they stand beside them with; of operators of one model that differ in weights alone, one
    is timed. An untrained one stands for those whose weights do not lie in ``out/runs``.

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
    published : path, optional
        Folder of published records to take over first, and of times, which say what precision their weights bear.
    say : callable
        Told in one line which weights are not there, and what is timed next.
    progress : callable
        Told of the test samples that are made, where the suite generates its data and they are not there.

    Raises
    ------
    ValueError, OSError
        For data that are not there or cannot be made, or a model that the suite does not have.
    """
    suite.refuse_others(only)
    out, published = Path(out), None if published is None else Path(published)
    places = datasets(suite.data, out / "data", Path(folder))
    paths = records_of_suite(suite, places, out, published)
    return time_records(paths, suite, places, out, watch, only=only, published=published, say=say, progress=progress)


def time_records(
    paths: Iterable[Path],
    suite: Suite,
    places: Mapping[str, Located],
    out: Path,
    watch: Stopwatch,
    *,
    only: Collection[str],
    published: Path | None,
    say: Callable[[str], None],
    progress: Progress,
) -> Iterator[Timing]:
    """`time_suite`, of records that `records_of_suite` found, and data that `datasets` did."""
    for place in places.values():
        make(place.data, None, Path(place.test), progress)
    found = [path.parent for path in (out / "runs").glob("*/config.json") if (path.parent / BEST).exists()]
    runs = {json.dumps(read_json(run / "config.json")): run for run in found}
    records = [read_record(path) for path in paths]
    known = [*(read_times(published) if published else []), *read_times(out)]
    TRUSTED.update(name for model in suite.models for name in (model.operator, model.regime))
    contenders: list[Iterator[Contender]] = []
    standing: list[str] = []
    for name, place in places.items():
        data = place.tested()
        entrants: dict[tuple[str, str], Entrant] = {}
        solved = set(suite.resolutions)
        for record in (each for each in records if each.tested_on == name):
            solved |= {row.computed_at for row in record.evaluations if kind_of(row, record) == "solver"}
            if record.configuration and (not only or record.model in only):
                run = runs.get(json.dumps(record.configuration))
                grids = {row.resolution for row in record.evaluations if kind_of(row, record) == "operator"}
                alike = record.model, architecture(record.configuration)
                if alike not in entrants or (run and not isinstance(entrants[alike].run, Path)):
                    entrants[alike] = Entrant(record.model, run or _untrained(record, known), sorted(grids))
        standing += [each.name for each in entrants.values() if isinstance(each.run, Untrained)]
        start = suite.rolled_out_from
        contenders.append(operators(list(entrants.values()), data, watch, start))
        contenders += [solvers(data, sorted(solved), watch, start), labels(data, watch, start)]
    if standing:
        names = listed(dict.fromkeys(standing))
        say(f"{out / 'runs'} has no weights of {names}: untrained operators, which take as long, stand for them")
    return take(chain(*contenders), watch, out, say)


def _untrained(record: Record, known: Iterable[Timing]) -> Untrained:
    """What stands for the run of a record, in the precisions that it says, or that times say which are known of it."""
    about = "operator", architecture(record.configuration), digest(evaluated_on(record))
    its = [each for each in known if (each.kind, each.architecture, each.dataset) == about]
    its.sort(key=lambda each: each.precision != "float32")  # what bears float16 is timed in both
    said = {row.resolution: row.precision for row in record.evaluations if row.precision}
    return Untrained(record.configuration, {each.resolution: each.precision for each in its} | said)


def records_of_suite(
    suite: Suite, places: Mapping[str, Located], out: Path, published: Path | None = None
) -> list[Path]:
    """The records in `out` of the cases and references of a suite as it stands, after those taken over."""
    cases = list(all_cases(suite, places))
    parts: list[References | Case] = [*all_references(suite, places, cases[0].config), *cases]
    files = {part.key: out / "records" / f"{part.name}.jsonl" for part in parts}
    if published is not None:
        take_over(published, files)
    return [path for path in find_records(out) if read_record(path).key in files]
