"""Trained on one dataset, tested on another: records of a suite of several datasets → matrices.

A column is a dataset that is tested on, and all its errors are of the same samples; a row is a model by what it was
trained on, and the seeds are those of its trainings. Beneath stand the solver to quote and the mean solution, which
each dataset has of its own. Intervals are those of `pdebench_mano.report.bootstrap`.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from pdebench_mano.evaluation.records import Evaluation, Record, kind_of
from pdebench_mano.report.bootstrap import difference, interval
from pdebench_mano.report.naming import apart, ground, label
from pdebench_mano.report.tables import bare, digits, quoted, written

SOLVER, MEAN = "quoted solver", "mean solution"
"""Rows of what is not trained."""


class Row(NamedTuple):
    """A model, the dataset that it was trained on, and what tables call that."""

    model: str
    trained_on: str
    name: str


class Matrix(NamedTuple):
    """Relative L2 errors at one resolution, of the models of one budget, by one norm.

    Attributes
    ----------
    budget : str
    norm : str
    resolution : int
    errors : DataFrame
        Model and what it was trained on, by what it was tested on: mean with interval, in words.
    beside_own : DataFrame
        The same of the difference to the model that was trained on what is tested on, paired over the samples; only of
        models of which there is one, and empty on its own dataset.
    """

    budget: str
    norm: str
    resolution: int
    errors: pd.DataFrame
    beside_own: pd.DataFrame


def matrices(records: Sequence[Record]) -> list[Matrix]:
    """One for each budget and norm, at the coarsest and the finest resolution; none where a suite has one dataset."""
    several = [record for record in records if record.tested_on]
    shown = {id(record): name.model for record, name in zip(several, apart(several), strict=True)}
    found = []
    for norm, budget in dict.fromkeys((each.norm, each.budget) for each in several if each.configuration):
        here = [each for each in several if each.norm == norm and each.budget in (budget, "")]
        sizes = sorted({row.resolution for each in here if each.configuration for row in each.evaluations})
        for n in dict.fromkeys((sizes[0], sizes[-1])):
            found.append(Matrix(budget, norm, n, *_cells(here, n, shown)))
    return found


def _cells(records: Sequence[Record], resolution: int, shown: dict[int, str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The two tables of a `Matrix`; `shown` says what a record is called."""
    columns = headings(records)
    found: dict[Row, dict[str, list[np.ndarray]]] = {}
    for record in sorted((each for each in records if each.configuration), key=lambda each: each.seed):
        row = found.setdefault(Row(record.model, record.trained_on, shown[id(record)]), {})
        for each in record.evaluations:
            if (kind_of(each, record), each.resolution) == ("operator", resolution):
                row.setdefault(columns[ground(record)], []).append(np.asarray(each.errors["relative_l2"], float))
    errors = {
        row: {place: np.stack(seeds) for place, seeds in found[row].items()}
        for row in sorted(found, key=lambda row: (row.model, row.trained_on not in columns.values(), *row))
    }
    means = {row.name: {place: written(interval(each)) for place, each in errors[row].items()} for row in errors}
    beside = {row.name: _beside_own(row, errors) for row in errors}
    tables = (pd.DataFrame.from_dict(each, "index") for each in (means | _references(records, resolution), beside))
    first, second = (table.reindex(columns=sorted(columns.values())).fillna("") for table in tables)
    return first, second


def _beside_own(row: Row, errors: Mapping[Row, Mapping[str, np.ndarray]]) -> dict[str, str]:
    """What training elsewhere costs, by what is tested on."""
    cells = {}
    for place in errors[row]:
        own = [each for each in errors if each[:2] == (row.model, place) and place in errors[each]]
        if row.trained_on != place and len(own) == 1:
            cells[place] = signed(errors[row][place], errors[own[0]][place])
    return cells


def headings(records: Sequence[Record]) -> dict[tuple[str, str], str]:
    """Samples, see `ground` → the name of the dataset, and the digest of the samples where several have one name."""
    places = {ground(record): record.tested_on for record in records}
    twice = [name for name in places.values() if list(places.values()).count(name) > 1]
    return {place: f"{name} {place[0][:8]}" if name in twice else name for place, name in places.items()}


def signed(errors: Float[np.ndarray, "seeds samples"], reference: Float[np.ndarray, "others samples"]) -> str:
    """``+.0021 [+.0015, +.0030]``: the difference of two means, paired over the samples, with interval."""
    shown = digits(float(reference.mean()))
    numbers = [f"{value:+z.{shown}f}" for value in difference(errors, reference)]
    mean, low, high = (number[0] + bare(number[1:]) for number in numbers)
    return f"{mean} [{low}, {high}]"


def _references(records: Sequence[Record], resolution: int) -> dict[str, dict[str, str]]:
    """The rows of the solver that validation samples chose on each dataset, or its only one, and of the mean."""
    columns, schemes = headings(records), quoted(records)
    grids = {each.configuration["data"]["resolution"] for each in records if each.configuration}
    cells: dict[str, dict[str, str]] = {}
    for record in records:
        place = ground(record)
        for row in record.evaluations:
            kind, name = kind_of(row, record), label(row, record)
            stands = name in schemes[place] if place in schemes else row.computed_at in grids
            if row.resolution == resolution and kind == "solver" and stands:
                told = f"{_of_samples(row)}, {name.removeprefix('solver, ')}"
                cells.setdefault(SOLVER, {})[columns[place]] = told
            elif row.resolution == resolution and kind == "mean":
                cells.setdefault(MEAN, {})[columns[place]] = _of_samples(row)
    return {name: cells[name] for name in (SOLVER, MEAN) if name in cells}


def _of_samples(row: Evaluation) -> str:
    """The mean error of what is not trained, with interval."""
    return written(interval(np.asarray(row.errors["relative_l2"], float)[None]))
