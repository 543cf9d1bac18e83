"""Rows of what stands beside operators without being trained: solvers, persistence, and the labels themselves.

A solver solves on a grid of its own, and its solution is interpolated. In time all begin with the same state.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data_gen.convergence import extrapolate
from data_gen.grid import Kind, Norm
from data_gen.problem import Problem, samples_at_once
from data_gen.recipe import recipe_of
from pdebench_mano.evaluation.evaluate import (
    evaluate_upsampled,
    held_out,
    measure,
    no_finer_than_labels,
    solvable,
    views,
)
from pdebench_mano.evaluation.in_time import TrainingMean
from pdebench_mano.evaluation.records import Evaluation, solver_name
from pdebench_mano.fields.data import Dataset, View, opened
from pdebench_mano.fields.operator import Fields
from pdebench_mano.fields.steps import Rollouts
from pdebench_mano.machine.devices import chosen
from pdebench_mano.machine.progress import Progress, console, silent
from pdebench_mano.operators.registry import build_reference


def evaluate_solver(
    data: Dataset | str | Path,
    grids: Sequence[int],
    resolutions: Sequence[int],
    progress: Progress = silent,
    *,
    norm: Norm = "points",
    start: float | None = None,
    mean: TrainingMean | None = None,
    metrics: Sequence[str] = (),
) -> list[Evaluation]:
    """Errors of the problem's own solver on each of `grids`, interpolated; none where the problem is not known.

    With a `start`, it solves from the state at that time to all that are stored after it. Where it fails on a sample,
    as on a grid that is too coarse, the rows of that grid are left out, and a line on stderr says why.
    """
    data = opened(data)
    if data.problem is None or not solvable(data):
        return []
    options: dict[str, Any] = {"norm": norm, "start": start, "mean": mean, "metrics": metrics}
    return _solver_rows(data.problem, "coarse solver", data, grids, resolutions, progress, **options)


def evaluate_rivals(
    data: Dataset | str | Path,
    grids: Sequence[int],
    resolutions: Sequence[int],
    progress: Progress = silent,
    *,
    norm: Norm = "points",
    schemes: Collection[str] | None = None,
    start: float | None = None,
    mean: TrainingMean | None = None,
    metrics: Sequence[str] = (),
) -> list[Evaluation]:
    """Errors of each of the problem's `rivals` on each of `grids`, interpolated; only of `schemes`, if they are given.

    With a `start`, they solve from the state at that time to all that are stored after it. Left out is what would solve
    on a finer grid than the labels were solved on, and, as by `evaluate_solver`, what fails.

    Raises
    ------
    ValueError
        If a resolution is no exact stride.
    """
    data = opened(data)
    options: dict[str, Any] = {"norm": norm, "start": start, "mean": mean, "metrics": metrics}
    return [
        row
        for rival in rivals(data)
        if schemes is None or rival.scheme in schemes
        for row in _solver_rows(rival, solver_name(rival.scheme), data, grids, resolutions, progress, **options)
    ]


def evaluate_persistence(
    data: Dataset | str | Path,
    resolutions: Sequence[int],
    progress: Progress = silent,
    *,
    norm: Norm = "points",
    start: float = 0.0,
    mean: TrainingMean | None = None,
    metrics: Sequence[str] = (),
) -> list[Evaluation]:
    """Errors of the state at `start`, taken for all that are stored after it. Parameters are those of `evaluate`."""
    rows = (
        measure(
            build_reference("persistence", truth),
            "persistence",
            truth,
            truth,
            progress,
            norm=norm,
            mean=mean,
            metrics=metrics,
        )
        for truth in held_out(data, resolutions, start)
    )
    return [replace(row, kind="persistence") for row in rows]


def validate_rivals(
    data: Dataset | str | Path,
    grids: Sequence[int],
    progress: Progress = silent,
    *,
    norm: Norm = "points",
    schemes: Collection[str] | None = None,
    start: float | None = None,
) -> list[dict[str, Any]]:
    """Errors of the problem's `rivals`, or those of `schemes`, on the validation samples, as trials of an operator.

    One object for each scheme and grid: ``configuration``, its scheme and the points of the grid along the first axis,
    and ``validation``, the mean relative L2 error there. None of a file without such samples, and none of a solver that
    fails on one.
    """
    data = opened(data)
    if "val" not in data.info.splits:
        return []
    trials = []
    for rival in (each for each in rivals(data) if schemes is None or each.scheme in schemes):
        for view in views(data, "val", grids, start):
            solver = _solver(rival, view)
            if solver is None:
                continue
            with _left_out_where_it_fails(solver_name(rival.scheme), view):
                _solve_at_once(solver, view)
                row = measure(solver, solver_name(rival.scheme), view, view, progress, norm=norm)
                place = {"solver": rival.scheme, "resolution": view.resolution}
                trials.append({"configuration": place, "validation": float(f"{row.mean():.6g}")})
    return trials


def _solver_rows(
    problem: Problem,
    name: str,
    data: Dataset,
    grids: Sequence[int],
    resolutions: Sequence[int],
    progress: Progress,
    *,
    norm: Norm,
    start: float | None,
    mean: TrainingMean | None,
    metrics: Sequence[str],
) -> list[Evaluation]:
    """Rows of a solver on some grids."""
    rows = []
    for grid in grids:
        (inputs,) = held_out(data, [grid], start)
        solver = _solver(problem, inputs)
        if solver is None:
            continue
        options: dict[str, Any] = {"norm": norm, "kind": "solver", "start": start, "mean": mean, "metrics": metrics}
        with _left_out_where_it_fails(name, inputs):
            _solve_at_once(solver, inputs)
            rows += evaluate_upsampled(solver, name, data, grid, resolutions, progress, **options)
    return rows


def _solve_at_once(solver: Any, view: View) -> None:
    """Let a GPU, where there is one, solve for all samples of a view before they are asked for in turn."""
    device = chosen()
    if device.type == "cuda":
        size = samples_at_once(view.grid)
        for first in range(0, len(view), size):
            solver.predict(view.batch(range(first, min(first + size, len(view))))[0].to(device))


@contextmanager
def _left_out_where_it_fails(name: str, view: View) -> Iterator[None]:
    """Go on without a solver that does not converge or blows up, and say so in a line on stderr."""
    try:
        yield
    except (ArithmeticError, RuntimeError, ValueError) as error:
        why = " ".join(str(error).split()) or type(error).__name__
        console.print(f"{name} on {view.grid} points is left out: {why}", highlight=False, soft_wrap=True)


def _solver(problem: Problem, view: View) -> Any:
    """A solver as what predicts the outputs of a view.

    None where it would solve on more points than the labels were solved for on, or cannot begin with the states that
    are there.
    """
    if not no_finer_than_labels(problem, view):
        return None
    if not isinstance(view, Rollouts):
        return build_reference("solver", problem, view.grid)
    if view.first and not view.restartable:
        return None
    return build_reference("solver", problem, view.grid, steps=len(view.times))


def rivals(data: Dataset) -> tuple[Problem, ...]:
    """Discretisations to stand beside operators; none where the problem of the data is not known or solved for."""
    return data.problem.rivals() if data.problem is not None and solvable(data) else ()


def evaluate_labels(
    data: Dataset | str | Path,
    count: int,
    resolutions: Sequence[int],
    progress: Progress = silent,
    *,
    norm: Norm = "points",
    start: float | None = None,
    mean: TrainingMean | None = None,
    metrics: Sequence[str] = (),
) -> list[Evaluation]:
    """How far the labels of the first `count` test samples are from the solution of the differential equation.

    The rows are those of a model that predicts what the labels tend to as their grid is refined: no error below theirs
    says anything about the equation. `data_gen.convergence.extrapolate` estimates the limit from solves on up to twice
    as many intervals a side.

    Raises
    ------
    ValueError
        If a resolution is no exact stride, or the coefficients cannot be drawn on a finer grid.
    """
    data = opened(data)
    recipe = recipe_of(data.info, data.arrays, data.trust)
    truths = held_out(data, resolutions, start)
    samples = truths[0].samples[:count]
    limits = []
    for k, i in enumerate(samples):
        limits.append(extrapolate(recipe, int(i)).limit)
        progress(k + 1, len(samples), "label uncertainty, samples")
    finest = recipe.grid.refined().shape[0]
    rows = []
    for truth in truths:
        later = np.stack(limits)[:, -(truth.channels[1] // len(data.info.outputs)) :]
        there = recipe.problem.restrict(later, recipe.grid, truth.grid, "output")
        row = measure(
            _Known(there, truth),
            "label uncertainty",
            truth,
            truth,
            norm=norm,
            mean=mean,
            count=len(limits),
            metrics=metrics,
        )
        rows.append(replace(row, kind="labels", computed_at=finest))
    return rows


class _Known:
    """Predicts what is known of the samples of a view, (samples, times, outputs, *shape), in their order."""

    def __init__(self, u: np.ndarray, data: View) -> None:
        self.grid: Kind = data.grid.kind
        self.u = torch.from_numpy(u).float().flatten(1, 2)
        self.asked = 0

    def predict(self, a: Fields) -> Fields:
        self.asked += len(a)
        return self.u[self.asked - len(a) : self.asked].to(a)
