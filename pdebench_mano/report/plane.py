"""Operators and solvers in the plane of accuracy and time, and a solver's time at an error between its grids."""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from data_gen.problems import PROBLEMS, build_problem
from data_gen.storage import problem_of
from pdebench_mano.evaluation.records import Evaluation, Record, kind_of, solver_name
from pdebench_mano.evaluation.timing import Timing, architecture

COARSE = "coarse solver"


class Point(NamedTuple):
    """An operator, or a solver on one grid, in the plane of accuracy and time."""

    name: str
    grid: int
    error: float
    ms: float


def time_at(error: float, points: Sequence[Point]) -> tuple[float | None, str]:
    """Milliseconds after which a solver has an error, between two of its grids; or None, and why.

    Parameters
    ----------
    error : float
    points : sequence of Point
        Of one solver, one a grid.

    Examples
    --------
    >>> time_at(0.02, [Point("solver", 11, 0.04, 1.0), Point("solver", 41, 0.01, 16.0)])
    (4.0, '')
    """
    points = sorted((each for each in points if each.error > 0), key=lambda each: each.grid)
    if not points:
        return None, "no grid has both an error and a time of the solver"
    coarsest, finest = points[0], points[-1]
    if not error <= coarsest.error:
        return (
            None,
            f"a grid coarser than {coarsest.grid}² is missing: the solver's error is {coarsest.error:.3g} there",
        )
    if error < finest.error:
        return None, f"a grid finer than {finest.grid}² is missing: the solver's error is {finest.error:.3g} there"
    pairs = pairwise([coarsest, *points])
    coarse, fine = next((one, two) for one, two in pairs if one.error >= error >= two.error)
    if coarse.error == fine.error:
        return coarse.ms, ""
    share = math.log(coarse.error / error) / math.log(coarse.error / fine.error)
    return coarse.ms * (fine.ms / coarse.ms) ** share, ""


def least_time(error: float, points: Sequence[Point]) -> float | None:
    """Milliseconds in which a solver has an error or less: `time_at`, or those of its fastest grid ahead of it."""
    between, _ = time_at(error, points)
    return min((each.ms for each in points if each.error <= error), default=None) if between is None else between


def beats(one: Point, other: Point) -> bool:
    """Whether one is as accurate and as fast as another."""
    return one.error <= other.error and one.ms <= other.ms


def front(points: Iterable[Point]) -> list[Point]:
    """Those of which no other is both as fast and as accurate, by time."""
    best: list[Point] = []
    for point in sorted(points, key=lambda each: (each.ms, each.error)):
        if not best or point.error < best[-1].error:
            best.append(point)
    return best


def operator_rows(record: Record) -> Iterator[Evaluation]:
    """The rows of the operator itself."""
    return (row for row in record.evaluations if kind_of(row, record) == "operator")


def operator_ms(record: Record, times: Iterable[Timing], resolution: int) -> float | None:
    """Time of an operator on a grid, of its fastest mode; None if it was not timed there."""
    kind, made = "operator", architecture(record.configuration)
    there = [
        each.throughput_ms
        for each in times
        if (each.kind, each.architecture, each.resolution) == (kind, made, resolution)
    ]
    return min(there, default=None)


def operator_points(records: Iterable[Record], times: Sequence[Timing], resolution: int) -> list[Point]:
    """One point for each model at a resolution, if it was timed there; errors are means over seeds."""
    errors: dict[str, list[float]] = {}
    found: dict[str, float] = {}
    for record in records:
        ms = operator_ms(record, times, resolution) if record.configuration else None
        for row in operator_rows(record):
            if ms is not None and row.resolution == resolution:
                errors.setdefault(record.model, []).append(row.mean())
                found[record.model] = ms
    return [Point(model, resolution, sum(each) / len(each), found[model]) for model, each in errors.items()]


def solver_ms(times: Iterable[Timing]) -> dict[tuple[str, int], float]:
    """Times of solvers by what times call them, and their grids."""
    return {(each.name, each.resolution): each.throughput_ms for each in times if each.kind == "solver"}


def solver_points(records: Iterable[Record], times: Iterable[Timing], resolution: int) -> list[Point]:
    """One point for each solver and grid, if it was timed there: its error at a resolution, or on its own finer grid.

    The time to bring a solution to the resolution is not counted.
    """
    took = solver_ms(times)
    found = {}
    for record in records:
        for row in record.evaluations:
            ms = took.get((timed_as(row, record), row.computed_at)) if kind_of(row, record) == "solver" else None
            if ms is not None and row.resolution == max(row.computed_at, resolution):
                found[row.model, row.computed_at] = Point(row.model, row.computed_at, row.mean(), ms)
    return list(found.values())


def timed_as(row: Evaluation, record: Record) -> str:
    """What times call the solver of a row: a coarse solver, before rivals were told apart, is that of the labels."""
    if row.model != COARSE:
        return row.model
    name, parameters = problem_of(record.dataset)
    known = {key: value for key, value in parameters.items() if not str(value).startswith("sha256:")}
    return solver_name(build_problem(name, **known).scheme if name in PROBLEMS else "")
