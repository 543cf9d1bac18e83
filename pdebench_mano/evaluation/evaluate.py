"""Evaluation across resolutions, beside the baselines that zero-shot super-resolution has to beat.

Every model is asked for the same samples at every resolution, each an exact stride of the stored fields. An *upsampled*
row reads the coefficient at the training resolution and interpolates the prediction; a *coarse solver* row solves the
equation there instead.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import max_pool2d

from data_gen.convergence import extrapolate
from data_gen.grid import Kind, Norm
from data_gen.problem import Problem, samples_at_once
from data_gen.recipe import recipe_of
from pdebench_mano.evaluation.records import Evaluation, Spectra, solver_name
from pdebench_mano.fields.data import Dataset, View, opened
from pdebench_mano.fields.metrics import (
    BANDS,
    band_errors,
    cosine_spectrum,
    energy,
    max_error,
    order_one,
    relative_h1,
    relative_l2,
)
from pdebench_mano.fields.operator import Fields
from pdebench_mano.machine.devices import chosen
from pdebench_mano.machine.progress import Progress, silent
from pdebench_mano.operators.registry import build_reference

POINTS = 1 << 18
"""Grid points in one batch: what bounds the memory of an evaluation."""

JUMP = 1.5
"""Ratio between coefficients of one neighbourhood from which on they make a jump."""

JUMP_WIDTH = 1 / 40
"""How far from a jump a point is still near it."""


@runtime_checkable
class Predictor(Protocol):
    """Inputs (batch, inputs, h, w) ↦ solutions (batch, outputs, h, w), in physical units, on grids of one kind."""

    grid: Kind

    def predict(self, a: Fields) -> Fields: ...


def evaluate(
    operator: Predictor,
    name: str,
    data: Dataset | str | Path,
    resolutions: Sequence[int],
    progress: Progress = silent,
    split: str | None = None,
    *,
    norm: Norm = "points",
) -> list[Evaluation]:
    """Errors of an operator on the samples of a file, one row a resolution.

    Parameters
    ----------
    operator : Predictor
    name : str
        What the rows are called.
    data : Dataset or path
    resolutions : sequence of int
        Points along the first axis, each an exact stride of the stored grid.
    progress : callable
        Told of every row how many samples are done; see `pdebench_mano.machine.progress`.
    split : {"train", "val", "test"}, optional
        By default the test split if the file has one, else all its samples.
    norm : {"points", "integral"}
        See `pdebench_mano.fields.metrics`.

    Raises
    ------
    ValueError
        If a resolution is no exact stride, the file has no such split, or another kind of grid than the operator.
    """
    truths = held_out(data, resolutions) if split is None else views(data, split, resolutions)
    check_grid(operator, name, truths[0])
    return [replace(measure(operator, name, truth, truth, progress, norm=norm), kind="operator") for truth in truths]


def evaluate_upsampled(
    predictor: Predictor,
    name: str,
    data: Dataset | str | Path,
    computed_at: int,
    resolutions: Sequence[int],
    progress: Progress = silent,
    *,
    norm: Norm = "points",
    kind: str = "upsampled",
) -> list[Evaluation]:
    """Errors of predictions made on the grid `computed_at` and splined to those of `resolutions` that are no coarser.

    `kind` is what makes them. The other parameters, and the errors raised, are those of `evaluate`.
    """
    data = opened(data)
    (inputs,) = held_out(data, [computed_at])
    check_grid(predictor, name, inputs)
    rows = (
        measure(build_reference("upsampled", predictor, truth.shape), name, inputs, truth, progress, norm=norm)
        for truth in held_out(data, [n for n in resolutions if n >= computed_at])
    )
    return [replace(row, kind=kind) for row in rows]


def evaluate_solver(
    data: Dataset | str | Path,
    grids: Sequence[int],
    resolutions: Sequence[int],
    progress: Progress = silent,
    *,
    norm: Norm = "points",
) -> list[Evaluation]:
    """Errors of the problem's own solver on each of `grids`, splined; none where the problem is not known."""
    data = opened(data)
    if not solvable(data):
        return []
    return _solver_rows(data.problem, "coarse solver", data, grids, resolutions, progress, norm=norm)


def evaluate_rivals(
    data: Dataset | str | Path,
    grids: Sequence[int],
    resolutions: Sequence[int],
    progress: Progress = silent,
    *,
    norm: Norm = "points",
    schemes: Collection[str] | None = None,
) -> list[Evaluation]:
    """Errors of each of the problem's `rivals` on each of `grids`, splined; only of `schemes`, where they are given.

    Raises
    ------
    ValueError
        If a resolution is no exact stride.
    """
    data = opened(data)
    return [
        row
        for rival in rivals(data)
        if schemes is None or rival.scheme in schemes
        for row in _solver_rows(rival, solver_name(rival.scheme), data, grids, resolutions, progress, norm=norm)
    ]


def validate_rivals(
    data: Dataset | str | Path, grids: Sequence[int], progress: Progress = silent, *, norm: Norm = "points"
) -> list[dict[str, Any]]:
    """Errors of each of the problem's `rivals` on the validation samples, as the trials of an operator are kept.

    One object for each scheme and grid: ``configuration``, its scheme and the points of the grid along the first axis,
    and ``validation``, the mean relative L2 error there. None of a file without such samples.
    """
    data = opened(data)
    if "val" not in data.info.splits:
        return []
    trials = []
    for rival in rivals(data):
        solver = build_reference("solver", rival, data.grid)
        for view in views(data, "val", grids):
            row = measure(solver, solver_name(rival.scheme), view, view, progress, norm=norm)
            place = {"solver": rival.scheme, "resolution": view.resolution}
            trials.append({"configuration": place, "validation": float(f"{row.mean():.6g}")})
    return trials


def _solver_rows(
    problem: Problem | None,
    name: str,
    data: Dataset,
    grids: Sequence[int],
    resolutions: Sequence[int],
    progress: Progress,
    *,
    norm: Norm,
) -> list[Evaluation]:
    """Rows of a solver on some grids; a GPU solves for all the samples of a grid before they are asked for in turn."""
    device, rows = chosen(), []
    for grid in grids:
        solver = build_reference("solver", problem, data.grid)
        (inputs,) = held_out(data, [grid])
        if device.type == "cuda":
            size = samples_at_once(inputs.grid)
            for start in range(0, len(inputs), size):
                solver.predict(inputs.batch(range(start, min(start + size, len(inputs))))[0].to(device))
        rows += evaluate_upsampled(solver, name, data, grid, resolutions, progress, norm=norm, kind="solver")
    return rows


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
    truths = held_out(data, resolutions)
    samples = truths[0].samples[:count]
    limits = torch.empty(len(samples), len(data.info.outputs), *data.info.shape)
    for k, i in enumerate(samples):
        limits[k] = torch.from_numpy(extrapolate(recipe, int(i)).limit[-1])
        progress(k + 1, len(samples), "label uncertainty")
    rows = []
    for truth in truths:
        a, u = truth.batch(range(len(limits)))
        prediction = limits[..., :: truth.stride, :: truth.stride]
        kind, values = truth.grid.kind, errors(prediction, u, a, truth, norm=norm)
        spectra = torch.stack([spectrum(field, u, kind, norm) for field in (u, prediction, prediction - u)])
        finest = 2 * truth.info.shape[0] - 1
        rows.append(replace(_row("label uncertainty", truth, finest, values, spectra), kind="labels"))
    return rows


def check_grid(predictor: Predictor, name: str, data: View) -> None:
    """Raise ValueError if predictions and data live on grids of different kinds."""
    if data.grid.kind != predictor.grid:
        raise ValueError(f"{name} works on a grid of kind {predictor.grid!r}; {data.path} has {data.grid.kind!r}")


def held_out(data: Dataset | str | Path, resolutions: Sequence[int]) -> list[View]:
    """The samples to evaluate on, at each resolution: the test split of a file that has one, else all of them."""
    data = opened(data)
    return views(data, "test" if "test" in data.info.splits else None, resolutions)


def views(data: Dataset | str | Path, split: str | None, resolutions: Sequence[int]) -> list[View]:
    """The samples of a split, or all of them, at each resolution; nothing of them is kept in memory."""
    data = opened(data)
    return [data.view(split, resolution, cache_bytes=0) for resolution in resolutions]


def solvable(data: Dataset) -> bool:
    """Whether the problem of the data is known, has a solver to stand beside operators, and lives on their grid."""
    problem = data.problem
    return problem is not None and bool(problem.rivals()) and problem.kind == data.grid.kind


def measure(
    predictor: Predictor,
    name: str,
    inputs: View,
    truths: View,
    progress: Progress = silent,
    *,
    norm: Norm = "points",
) -> Evaluation:
    """Errors of one predictor, given coefficients of `inputs`, against the solutions of `truths`, batch by batch."""
    device = chosen()
    size = max(1, POINTS // math.prod(truths.shape))
    values: dict[str, list[Tensor]] = {}
    spectra = torch.zeros(3, truths.resolution // 2, dtype=torch.float64)
    for start in range(0, len(truths), size):
        indices = range(start, min(start + size, len(truths)))
        a, truth = (each.to(device) for each in truths.batch(indices))
        given = a if inputs is truths else inputs.batch(indices)[0].to(device)
        prediction = predictor.predict(given)
        _refuse_infinite("prediction", prediction.flatten(1), name, truths, indices)
        for metric, batch in errors(prediction, truth, a, truths, norm=norm).items():
            _refuse_infinite(metric, batch[:, None], name, truths, indices)
            values.setdefault(metric, []).append(batch.cpu())
        parts = (truth, prediction, prediction - truth)
        spectra += torch.stack([spectrum(field, truth, truths.grid.kind, norm) for field in parts])
        progress(indices.stop, len(truths), f"{name} at {truths.resolution}²")
    joined = {metric: torch.cat(batches) for metric, batches in values.items()}
    return _row(name, truths, inputs.resolution, joined, spectra)


def _refuse_infinite(
    what: str, values: Float[Tensor, "batch _"], name: str, truths: View, indices: Sequence[int]
) -> None:
    """Raise ValueError, naming the sample, where a value of a batch is NaN or infinite."""
    bad = ~values.isfinite().all(1)
    if bool(bad.any()):
        sample = truths.samples[indices[int(bad.nonzero()[0])]]
        raise ValueError(
            f"{name} at {truths.resolution}²: the {what} is not finite in sample {sample} of {truths.path}"
        )


def _row(
    name: str,
    truths: View,
    computed_at: int,
    values: dict[str, Float[Tensor, " samples"]],
    spectra: Float[Tensor, "3 frequencies"],
) -> Evaluation:
    """A row of errors, from spectra that are sums over its samples."""
    count = len(values["relative_l2"])
    return Evaluation(
        model=name,
        resolution=truths.resolution,
        computed_at=computed_at,
        errors={metric: _digits(each) for metric, each in values.items()},
        spectra=Spectra(*(_digits(row) for row in spectra / count)),
    )


def errors(
    prediction: Fields, truth: Fields, a: Fields, data: View, *, norm: Norm = "points"
) -> dict[str, Float[Tensor, " batch"]]:
    """Every metric of the suite, one value per sample each.

    ``near_jumps`` and ``elsewhere`` are the parts of the relative L2 error on points within 1/40 of a jump of an input
    that is positive, and on the others; like the bands, their squares sum to its square. ``residual`` is that of the
    problem's discrete equation on the grid of the prediction, where it has one.
    """
    edges = ["0", *(f"{edge:g}" for edge in BANDS), "inf"]
    grid = data.grid.kind
    bands = band_errors(prediction, truth, grid=grid, norm=norm).T
    metrics = {
        "relative_l2": relative_l2(prediction, truth, grid, norm),
        "relative_h1": relative_h1(prediction, truth, grid, norm),
        "max_error": max_error(prediction, truth),
        **{f"band_{low}_{high}": band for low, high, band in zip(edges, edges[1:], bands, strict=False)},
    }
    positive = [channel for channel, field in enumerate(data.info.inputs) if field.positive]
    if positive:
        near = near_jumps(a[:, positive])
        metrics["near_jumps"] = relative_l2(torch.where(near, prediction, truth), truth, grid, norm)
        metrics["elsewhere"] = relative_l2(torch.where(near, truth, prediction), truth, grid, norm)
    residuals = residuals_of(a, prediction, data)
    return metrics if residuals is None else metrics | {"residual": residuals}


def residuals_of(a: Fields, prediction: Fields, data: View) -> Float[Tensor, " batch"] | None:
    """How far predictions are from the discrete equation of the problem; None where it has none, or is not known."""
    problem = data.dataset.problem
    if problem is None:
        return None
    pairs = zip(a.double().cpu().numpy(), prediction.double().cpu().numpy(), strict=True)
    values = [problem.residual(a_i, u_i[None], data.grid) for a_i, u_i in pairs]
    known = [value for value in values if value is not None]
    return torch.tensor(known) if len(known) == len(values) else None


def near_jumps(a: Fields) -> Bool[Tensor, "batch 1 height width"]:
    """Points of which some neighbour's value, at most `JUMP_WIDTH` away, is `JUMP` times that of another."""
    i, j = (max(1, round(JUMP_WIDTH * n)) for n in a.shape[-2:])

    def largest_nearby(field: Tensor) -> Tensor:
        along_x = max_pool2d(field, (2 * i + 1, 1), stride=1, padding=(i, 0))
        return max_pool2d(along_x, (1, 2 * j + 1), stride=1, padding=(0, j))

    return (largest_nearby(a) > -JUMP * largest_nearby(-a)).any(1, keepdim=True)


def spectrum(field: Fields, truth: Fields, grid: Kind = "vertices", norm: Norm = "points") -> Float[Tensor, " half"]:
    """Energy of `field` at frequencies [k, k+1) cycles per unit length over that of `truth`, summed over a batch."""
    unit = order_one(truth)
    modes, frequency = cosine_spectrum(field * unit, grid, norm)
    relative = (modes.sum(1) / energy(truth * unit, grid, norm)[:, None, None]).sum(0).double()
    bins = frequency.long()
    return torch.bincount(bins.flatten(), relative.flatten(), minlength=int(bins.max()) + 1)[
        : field.shape[-2] // 2
    ].cpu()


def ranked(errors: Sequence[float]) -> dict[str, int]:
    """Positions of the samples with the smallest, the median and the largest error."""
    order = np.argsort(errors, kind="stable")
    return {"best": int(order[0]), "median": int(order[len(order) // 2]), "worst": int(order[-1])}


def examples(
    operator: Predictor, data: Dataset | str | Path, evaluation: Evaluation
) -> dict[str, Float[np.ndarray, "..."]]:
    """The best, the median and the worst sample of an evaluation: ``a``, ``truth``, ``prediction``, (3, h, w) each."""
    (view,) = held_out(data, [evaluation.resolution])
    a, truth = view.batch(list(ranked(evaluation.errors["relative_l2"]).values()))
    prediction = torch.cat([operator.predict(sample[None]) for sample in a])
    return {"a": a[:, 0].numpy(), "truth": truth[:, 0].numpy(), "prediction": prediction[:, 0].numpy()}


def _digits(values: Tensor) -> list[float]:
    """Six significant digits are what a float32 computation supports."""
    return [float(f"{value:.6g}") for value in values.tolist()]
