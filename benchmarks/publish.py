"""Carry a suite's results from the machine that ran it into this repository.

There, from the folder that ``pdebench-mano benchmark SUITE --out OUT`` has written::

    python benchmarks/publish.py pack SUITE OUT --checkpoints 'mano-seed*' 'fno-seed0*' --to .

makes SUITE-1.tar.gz, SUITE-2.tar.gz, …, none of them above the limit, of all records, the times that ``--time`` has
taken, and the checkpoints of those cases; and here, ::

    python benchmarks/publish.py unpack SUITE-*.tar.gz

puts each file where it belongs::

    pdebench_mano/benchmark/published/SUITE/records/CASE.jsonl              comes with the package
    pdebench_mano/benchmark/published/SUITE/times.jsonl                     beside them, for reports
    pdebench_mano/benchmark/published/SUITE/samples.json                    which samples it tests on, or
    pdebench_mano/benchmark/published/SUITE/samples-NAME.json               those of each of several datasets
    benchmarks/checkpoints/SUITE/CASE/{config.json,best.pt,summary.json}    `pdebench-mano evaluate` takes the folder

Which samples a suite tests on, so that a run that was trained on one of them is known, ::

    python benchmarks/publish.py samples SUITE [--data FILE]

draws again from its records, or reads off its file of test samples where these were not generated. What its operators
are worth, by its records and times, ::

    python benchmarks/publish.py worth SUITE

writes to docs/pages/results/SUITE/worth.json.
"""

import argparse
import json
import sys
import tarfile
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from data_gen import Grid, build_problem
from data_gen.recipe import drawn
from data_gen.samples import draw
from data_gen.storage import problem_of
from pdebench_mano.benchmark.leaderboard import PUBLISHED, published
from pdebench_mano.evaluation.records import find_records, slug, stored_record
from pdebench_mano.evaluation.timing import TIMES, read_times
from pdebench_mano.fields.data import Dataset
from pdebench_mano.fields.samples import Samples
from pdebench_mano.report.naming import apart
from pdebench_mano.report.worth import WORTH, worth, write_worth

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "pages" / "results"
RECORDS, CHECKPOINTS = "pdebench_mano/benchmark/published", "benchmarks/checkpoints"
CHECKPOINT = ("config.json", "best.pt", "summary.json")
MIB = 2**20

Files = dict[str, Path]  # name in the repository → file


def pack(suite: str, out: Path, to: Path, patterns: Sequence[str], limit: float = 15) -> list[Path]:
    """Write archives of the records in OUT, and of the checkpoints of cases whose name fits one of the patterns.

    Parameters
    ----------
    limit : float
        MiB in one archive, before compression.

    Raises
    ------
    ValueError
        If there is no record, a pattern fits no case that was trained in OUT, or a checkpoint alone exceeds the limit.
    """
    records = find_records(out)
    if not records:
        raise ValueError(f"{out} holds no records")
    runs = {json.dumps(json.loads(path.read_text())): path.parent for path in (out / "runs").glob("*/config.json")}
    groups: list[Files] = [{f"{RECORDS}/{suite}/records/{path.name}": path} for path in records]
    if (times := out / TIMES).exists():
        groups.append({f"{RECORDS}/{suite}/{TIMES}": times})
    found: set[str] = set()
    for path in records:
        run = runs.get(json.dumps(stored_record(path).configuration))
        fitting = [pattern for pattern in patterns if fnmatch(path.stem, pattern)]
        if run is not None and fitting:
            groups.append({f"{CHECKPOINTS}/{suite}/{path.stem}/{name}": run / name for name in CHECKPOINT})
            found.update(fitting)
    if missing := [pattern for pattern in patterns if pattern not in found]:
        raise ValueError(f"no case with a run in {out} fits {', '.join(missing)}")
    targets = []
    for number, part in enumerate(parts(groups, int(limit * MIB)), 1):
        targets.append(to / f"{suite}-{number}.tar.gz")
        with tarfile.open(targets[-1], "w:gz") as archive:
            for name, path in sorted(part.items()):
                archive.add(path, name)
    return targets


def parts(groups: Sequence[Files], limit: int) -> list[Files]:
    """Groups of files put together, none apart, the largest first into the first part with room for it.

    Raises
    ------
    ValueError
        If a group alone exceeds the limit, in bytes.
    """
    sizes = [sum(path.stat().st_size + 1024 for path in group.values()) for group in groups]
    filled: list[tuple[int, Files]] = []
    for size, group in sorted(zip(sizes, groups, strict=True), key=lambda each: -each[0]):
        if size > limit:
            raise ValueError(f"{Path(next(iter(group))).parent} has {size / MIB:.3g} MiB, more than {limit / MIB:.3g}")
        place = next((i for i, (used, _) in enumerate(filled) if used + size <= limit), None)
        if place is None:
            filled.append((size, group))
        else:
            used, files = filled[place]
            filled[place] = used + size, files | group
    return [files for _, files in filled]


def unpack(archives: Sequence[Path], root: Path = ROOT) -> list[str]:
    """Extract archives that `pack` wrote; returns the names of the files.

    Raises
    ------
    ValueError
        If an archive holds anything else; then nothing of it is extracted.
    """
    names = []
    for path in archives:
        with tarfile.open(path) as archive:
            if other := [
                name for name in archive.getnames() if not name.startswith((f"{RECORDS}/", f"{CHECKPOINTS}/"))
            ]:
                raise ValueError(f"{path} holds {other[0]}, which is neither a record nor a checkpoint")
            archive.extractall(root, filter="data")
            names += archive.getnames()
    return names


def samples(suite: str, data: Path | None = None, name: str = "") -> Samples:
    """The test samples of a published suite, drawn again from its records, or read from their file.

    `name` is that of one of several datasets.

    Raises
    ------
    ValueError
        If they cannot be drawn and no file is given, or it is another file.
    """
    record = next(each for each in published(suite) if each.tested_on == name)
    if data is not None:
        file = Dataset(data)
        if file.info.digest != record.dataset["digest"]:
            raise ValueError(f"{data} is not the file that {suite} tests on")
        return Samples.of(file, record.samples)
    if "recipe" not in record.dataset:
        raise ValueError(f"{suite} tests on samples that were not generated: give their file as --data")
    recipe, (name, parameters) = json.loads(record.dataset["recipe"]), problem_of(record.dataset)
    problem, grid = build_problem(name, **parameters), Grid(tuple(recipe["shape"]))
    inputs = (draw(problem, grid, recipe["seed"], i) for i in record.samples)
    return Samples.among(drawn(record.dataset), grid, record.samples, inputs)


def worth_of(suite: str, results: Path = RESULTS) -> Path:
    """Write what the operators of a published suite are worth; returns the file.

    Raises
    ------
    ValueError
        If it has no published records, or none that was timed.
    """
    rows = worth(apart(published(suite)), read_times(PUBLISHED / suite), suite)
    if not rows:
        raise ValueError(f"{suite} has no published times of an operator: pack it after `benchmark {suite} --time`")
    write_worth(rows, results / suite / WORTH)
    return results / suite / WORTH


def main() -> None:
    """Read the command line; bad input is one line and status 2."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack", help="records and checkpoints → archives")
    packing.add_argument("suite", help="name of the suite")
    packing.add_argument("out", type=Path, help="folder of the benchmark")
    packing.add_argument("--checkpoints", nargs="*", default=[], metavar="PATTERN", help="cases, such as 'fno-seed0*'")
    packing.add_argument("--to", type=Path, default=Path(), help="folder of the archives")
    packing.add_argument("--limit", type=float, default=15, help="MiB in one archive, before compression")
    commands.add_parser("unpack", help="archives → the repository").add_argument("archives", type=Path, nargs="+")
    sampling = commands.add_parser("samples", help="records → samples.json beside them")
    sampling.add_argument("suite", help="name of the suite")
    sampling.add_argument("--data", type=Path, help="file of the test samples, where they were not generated")
    commands.add_parser("worth", help="records and times → worth.json").add_argument("suite", help="name of the suite")
    given = parser.parse_args()
    try:
        if given.command == "pack":
            for path in pack(given.suite, given.out, given.to, given.checkpoints, given.limit):
                print(f"{path}: {path.stat().st_size / MIB:.2f} MiB")
        elif given.command == "samples":
            for name in dict.fromkeys(record.tested_on for record in published(given.suite)):
                file = f"{slug(f'samples {name}')}.json"
                samples(given.suite, given.data, name).write(PUBLISHED / given.suite / file)
        elif given.command == "worth":
            print(worth_of(given.suite))
        else:
            print("\n".join(unpack(given.archives)))
    except (ValueError, OSError) as error:
        print(f"publish.py: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
