"""The published records, which come with the package, and a run of one's own beside them.

published/SUITE/records/*.jsonl    the records of a suite's cases
published/SUITE/samples.json       what its test samples are, see `pdebench_mano.fields.samples`; of a suite of several
                                   datasets samples-NAME.json, those of each

A run stands beside them only if it was evaluated on the same samples: the recipe that drew and solved them and their
positions must agree, whichever device solved them, or the digest of the file where no recipe is known.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from os.path import lexists
from pathlib import Path
from typing import Any

from pdebench_mano.evaluation.records import Record, evaluated_on, find_records, kind_of, read_record, records_of
from pdebench_mano.fields.samples import Samples, refuse_overlap
from pdebench_mano.report.naming import renamed
from pdebench_mano.training.folder import samples_of

PUBLISHED = Path(__file__).parent / "published"

FLAGSHIP = "darcy85-refined"
"""The suite that is shown first, once it has records."""


def suites() -> list[str]:
    """Names of the suites that have published records, the flagship first."""
    names = [folder.name for folder in PUBLISHED.iterdir() if find_records(folder)]
    return sorted(names, key=lambda name: (name != FLAGSHIP, name))


def published(suite: str) -> list[Record]:
    """The published records of a suite.

    Raises
    ------
    ValueError
        If it has none.
    """
    if suite not in suites():
        raise ValueError(f"suite {suite!r} has no published records: use {', '.join(suites())}")
    return [read_record(path) for path in find_records(PUBLISHED / suite)]


def tested_on(suite: str) -> list[Samples]:
    """What the test samples of a published suite are, of each of its datasets, where that is kept with its records."""
    return [Samples.read(path) for path in sorted((PUBLISHED / suite).glob("samples*.json"))]


def beside(board: Sequence[Record], run: Path, tested: Sequence[Samples] = ()) -> list[Record]:
    """The records of a run or a benchmark that can stand beside `board`, at the resolutions they share.

    Parameters
    ----------
    board : sequence of Record
        The records of one suite.
    run : path
        Folder of an evaluated run, or of a benchmark.
    tested : sequence of Samples
        What the board's test samples are: a run that was trained on one of them is refused.

    Raises
    ------
    ValueError
        If the run has no record, none on the board's samples at a resolution of the board, or was trained on one.
    """
    records = [read_record(path) for path in records_of(run)]
    trained = [record for record in records if record.configuration]
    if not trained:
        raise ValueError(f"{run} holds no record of a model; pdebench-mano evaluate makes that of a run")
    grounds = [evaluated_on(record) for record in board]
    same = [record for record in trained if evaluated_on(record) in grounds]
    if not same:
        raise ValueError(f"{run} was evaluated on other samples: {difference(trained[0], board[0])}")
    if not (by := [record for record in same if record.norm == board[0].norm]):
        raise ValueError(f"{run} has errors by the norm {same[0].norm!r}, and the board by {board[0].norm!r}")
    same = by
    trained_on = samples_of(run) if lexists(run / "config.json") else None
    if trained_on is not None:
        for each in tested:
            refuse_overlap(each, trained_on, str(run))
    resolutions = {row.resolution for record in board for row in record.evaluations}
    shared = [_at(record, resolutions) for record in same]
    if not any(record.evaluations for record in shared):
        there = {row.resolution for record in same for row in record.evaluations}
        raise ValueError(f"{run} was evaluated at {_grids(there)}, and the board is at {_grids(resolutions)}")
    return [record for record in shared if record.evaluations]


def difference(own: Record, other: Record) -> str:
    """Why the samples of two records are not the same, in words; empty if they are."""
    mine, theirs = ({**evaluated_on(record), "positions": _positions(record)} for record in (own, other))
    if evaluated_on(own)["positions"] != evaluated_on(other)["positions"] and mine == theirs:
        return "their positions differ"
    names = [name for name in {**theirs, **mine} if mine.get(name) != theirs.get(name)]
    if "digest" in names:  # of a recipe on one side, no word says whether the samples agree
        names = ["digest"]
        mine, theirs = ({"digest": str(record.dataset["digest"])[:12]} for record in (own, other))
    return "; ".join(f"{name} {mine.get(name)!r}, not {theirs.get(name)!r}" for name in names)


def named(record: Record, run: Path) -> Record:
    """The record as tables show it beside published ones: with its run and budget in the model's name."""
    return renamed(record, f"{run}, {record.budget}")


def lines(records: Sequence[Record], suite: str, run: Path | None = None) -> Iterator[dict[str, Any]]:
    """One plain object for each model, seed, budget and resolution.

    ``relative_l2`` and the other metrics are means over ``samples``; ``run`` is where a record that is not published
    comes from; ``dataset`` is the digest of the file, ``configuration`` that of all that determines the outcome, and
    ``source`` that of the code. ``weights`` are real numbers, ``train_seconds`` those of one training, and ``seeds``
    counts those of the model and budget. ``trained_on`` and ``tested_on`` name datasets, in a suite of several.
    """
    seeds = Counter((model, budget) for model, budget, _ in {(each.model, each.budget, each.seed) for each in records})
    for record in records:
        for row in record.evaluations:
            yield {
                "suite": suite,
                "run": None if run is None else str(run),
                "budget": record.budget,
                "seed": record.seed,
                **row.summary(),
                "dataset": record.dataset["digest"],
                "norm": record.norm,
                "configuration": record.key,
                "problem": record.problem,
                "kind": kind_of(row, record),
                "weights": record.training.get("parameters"),
                "train_seconds": record.training.get("seconds"),
                "seeds": seeds[record.model, record.budget],
                "source": record.environment["source"],
                **({"trained_on": record.trained_on, "tested_on": record.tested_on} if record.tested_on else {}),
            }


def _at(record: Record, resolutions: set[int]) -> Record:
    """The rows of the model itself and of its upsampled predictions, at these resolutions."""
    rows = [
        row
        for row in record.evaluations
        if kind_of(row, record) in ("operator", "upsampled") and row.resolution in resolutions
    ]
    return replace(record, evaluations=rows)


def _positions(record: Record) -> str:
    return f"{len(record.samples)} from {min(record.samples)} to {max(record.samples)}"


def _grids(resolutions: set[int]) -> str:
    return ", ".join(f"{n}²" for n in sorted(resolutions))
