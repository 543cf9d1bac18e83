"""Evaluation across resolutions.

Every model is asked for the same samples at every resolution that the stored grid can be brought to. An *upsampled*
row reads the inputs at the training resolution and interpolates the prediction: what zero-shot super-resolution has to
beat. In time, all begin with the same state and predict all that are stored after it. What stands beside operators
without being trained is in `pdebench_mano.evaluation.beside`.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from data_gen.grid import Kind, Norm
from data_gen.problem import Problem
from pdebench_mano.evaluation.in_time import TrainingMean, errors_in_time, time_until
from pdebench_mano.evaluation.records import Evaluation, Spectra, ranked
from pdebench_mano.evaluation.rollout import Rolled
from pdebench_mano.fields.data import Dataset, View, opened
from pdebench_mano.fields.metrics import Compared, errors, relative_l2
from pdebench_mano.fields.names import FLUCTUATION, UNTIL
from pdebench_mano.fields.norms import order_one
from pdebench_mano.fields.operator import Fields
from pdebench_mano.fields.spectra import energy, mode_energies, shells
from pdebench_mano.fields.steps import Rollouts
from pdebench_mano.machine.devices import chosen
from pdebench_mano.machine.progress import Progress, silent
from pdebench_mano.operators.registry import build_reference

POINTS = 1 << 18
"""Grid points in one batch: what bounds the memory of an evaluation."""

SHOWN = 4
"""Times at which fields of a rollout are shown, at most."""
FIRST, FRAMES, SIDE = 5, 8, 128
"""Of the samples that are kept of whatever is evaluated: how many, at how many times, and points a side; at most."""


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
    start: float | None = None,
    mean: TrainingMean | None = None,
    metrics: Sequence[str] = (),
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
    start : float, optional
        Roll an operator of one step out from the state at that time, 0 where it was trained on steps.
    mean : TrainingMean, optional
        What errors relative to the fluctuation of a rollout are counted from.
    metrics : sequence of str
        Metrics of one's own, beside `pdebench_mano.fields.metrics.METRICS`: ``module:function`` or
        ``file.py:function``.

    Raises
    ------
    ValueError
        If a resolution is no exact stride, the file has no such split, no such time to start at, or another kind of
        grid than the operator; for a start of an operator that was not trained on steps; if a metric is not there.
    """
    start = start_of(operator, start)
    truths = held_out(data, resolutions, start) if split is None else views(data, split, resolutions, start)
    check_grid(operator, name, truths[0])
    rows = (
        measure(rolled(operator, truth), name, truth, truth, progress, norm=norm, mean=mean, metrics=metrics)
        for truth in truths
    )
    return [replace(row, kind="operator") for row in rows]


def start_of(operator: Predictor, start: float | None) -> float | None:
    """Where the rollout of an operator starts: at 0 if nothing is said of one of steps; None if it is not rolled out.

    Raises
    ------
    ValueError
        For a start of an operator that was not trained on steps.
    """
    pairs = getattr(operator, "pairs", None)
    if start is not None and pairs == "final":
        raise ValueError(f"start={start:g} needs an operator trained with pairs='step', not 'final'")
    return 0.0 if start is None and pairs == "step" else start


def rolled(operator: Predictor, data: View) -> Predictor:
    """An operator as what predicts the outputs of a view."""
    return Rolled(operator, data) if isinstance(data, Rollouts) else operator


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
    start: float | None = None,
    mean: TrainingMean | None = None,
    metrics: Sequence[str] = (),
) -> list[Evaluation]:
    """Errors of predictions made on the grid `computed_at`, interpolated to those of `resolutions` that are no coarser.

    `kind` is what makes them: an operator where they are upsampled, which is rolled out where it is one of steps; else
    what predicts all outputs of a view. The other parameters, and the errors raised, are those of `evaluate`.
    """
    data = opened(data)
    start = start_of(predictor, start)
    (inputs,) = held_out(data, [computed_at], start)
    check_grid(predictor, name, inputs)
    predictor = rolled(predictor, inputs) if kind == "upsampled" else predictor
    rows = (
        measure(
            build_reference("upsampled", predictor, truth.shape),
            name,
            inputs,
            truth,
            progress,
            norm=norm,
            mean=mean,
            metrics=metrics,
        )
        for truth in held_out(data, [n for n in resolutions if n >= computed_at], start)
    )
    return [replace(row, kind=kind) for row in rows]


def check_grid(predictor: Predictor, name: str, data: View) -> None:
    """Raise ValueError if predictions and data live on grids of different kinds."""
    if data.grid.kind != predictor.grid:
        raise ValueError(f"{name} works on a grid of kind {predictor.grid!r}; {data.path} has {data.grid.kind!r}")


def held_out(data: Dataset | str | Path, resolutions: Sequence[int], start: float | None = None) -> list[View]:
    """The samples to evaluate on, at each resolution: the test split of a file that has one, else all of them."""
    data = opened(data)
    return views(data, "test" if "test" in data.info.splits else None, resolutions, start)


def views(
    data: Dataset | str | Path, split: str | None, resolutions: Sequence[int], start: float | None = None
) -> list[View]:
    """The samples of a split, or all of them, at each resolution; nothing of them is kept in memory.

    With a `start`, the states after that time, from the one there.
    """
    data = opened(data)
    if start is None:
        return [data.view(split, resolution, cache_bytes=0) for resolution in resolutions]
    return [Rollouts(data, split, resolution, start=start, cache_bytes=0) for resolution in resolutions]


def solvable(data: Dataset) -> bool:
    """Whether the problem of the data is known, has a solver to stand beside operators, and lives on their grid."""
    problem = data.problem
    return problem is not None and bool(problem.rivals()) and problem.kind == data.grid.kind


def no_finer_than_labels(rival: Problem, view: View) -> bool:
    """Whether a rival solves for the inputs of a view on no more points than the labels were solved for on."""
    info = view.dataset.info
    return rival.solved_on(view.grid).points <= info.grid.refined(info.label_refinement).points


def measure(
    predictor: Predictor,
    name: str,
    inputs: View,
    truths: View,
    progress: Progress = silent,
    *,
    norm: Norm = "points",
    mean: TrainingMean | None = None,
    count: int | None = None,
    metrics: Sequence[str] = (),
) -> Evaluation:
    """Errors of one predictor, given inputs of `inputs`, against the solutions of `truths`, batch by batch.

    `count` is the number of samples, the first ones, where it is not all of them.
    """
    device, count = chosen(), len(truths) if count is None else count
    size = max(1, POINTS // (math.prod(truths.shape) * truths.channels[1] // len(truths.info.outputs)))
    values: dict[str, list[Tensor]] = {}
    spectra = torch.zeros(3, truths.resolution // 2, dtype=torch.float64)
    at_each: dict[str, list[Tensor]] = {}
    middle = mean.on(truths) if mean is not None and isinstance(truths, Rollouts) else None
    for start in range(0, count, size):
        indices = range(start, min(start + size, count))
        a, truth = (each.to(device) for each in truths.batch(indices))
        given = a if inputs is truths else inputs.batch(indices)[0].to(device)
        prediction = predictor.predict(given)
        if not isinstance(truths, Rollouts):  # which may blow up: that is an outcome
            _refuse_infinite("prediction", prediction.flatten(1), name, truths, indices)
        for metric, batch in errors(Compared(prediction, truth, a, truths, norm), metrics).items():
            if not isinstance(truths, Rollouts):
                _refuse_infinite(metric, batch[:, None], name, truths, indices)
            values.setdefault(metric, []).append(batch.cpu())
        if isinstance(truths, Rollouts):
            for metric, batch in errors_in_time(prediction, truth, truths, middle, norm).items():
                at_each.setdefault(metric, []).append(batch.cpu())
            if middle is not None:
                shift = middle.to(truth)
                stacked = relative_l2(prediction - shift, truth - shift, truths.grid.kind, norm)
                values.setdefault(FLUCTUATION, []).append(stacked.cpu())
        parts = (truth, prediction, prediction - truth)
        spectra += torch.stack([spectrum(field, truth, truths.grid.kind, norm) for field in parts])
        progress(indices.stop, count, f"{name} at {truths.resolution}², samples")
    joined, in_time = ({metric: torch.cat(each) for metric, each in found.items()} for found in (values, at_each))
    if isinstance(truths, Rollouts):
        joined[UNTIL] = time_until(in_time["relative_l2"], truths.start, truths.times)
    return Evaluation(
        model=name,
        resolution=truths.resolution,
        computed_at=inputs.resolution,
        errors={metric: _digits(each) for metric, each in joined.items()},
        spectra=Spectra(*(_digits(row) for row in spectra / count)),
        times=list(truths.times) if isinstance(truths, Rollouts) else [],
        per_time={metric: [_digits(sample) for sample in each] for metric, each in in_time.items()},
    )


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


def spectrum(field: Fields, truth: Fields, grid: Kind = "vertices", norm: Norm = "points") -> Float[Tensor, " half"]:
    """Energy of `field` at frequencies [k, k+1) cycles per unit length over that of `truth`, summed over a batch."""
    unit = order_one(truth)
    modes, frequency = mode_energies(field * unit, grid, norm)
    relative = modes.double() / energy(truth * unit, grid, norm)[:, None, None, None]
    return shells(relative, frequency, field.shape[-2] // 2).sum(0).cpu()


def examples(
    operator: Predictor, data: Dataset | str | Path, evaluation: Evaluation, start: float | None = None
) -> dict[str, Float[np.ndarray, "..."]]:
    """The best, the median and the worst sample of an evaluation: ``a``, ``truth``, ``prediction``, (3, h, w) each.

    Of a rollout these are the last states, and ``truths``, ``predictions``, (3, some, h, w), those at some ``times``.
    """
    (view,) = held_out(data, [evaluation.resolution], start)
    return predicted(operator, view, list(ranked(evaluation.errors["relative_l2"]).values()))


def first_samples(
    operator: Predictor, data: Dataset | str | Path, evaluation: Evaluation, start: float | None = None
) -> dict[str, Shaped[np.ndarray, "..."]]:
    """The same as `examples` of the first test samples, which are the same for whatever is evaluated on the data.

    They are for looking at: of a grid of more than `SIDE` points a side every second is kept, or third, …. ``position``
    (samples,) says which samples of the file they are.
    """
    (view,) = held_out(data, [evaluation.resolution], start)
    positions = list(range(min(FIRST, len(view))))
    fields = predicted(operator, view, positions, FRAMES)
    step = -(-evaluation.resolution // SIDE)
    thinned = {name: each if name == "times" else each[..., ::step, ::step] for name, each in fields.items()}
    return thinned | {"position": np.array([view.samples[i] for i in positions])}


def predicted(
    operator: Predictor, view: View, positions: Sequence[int], times: int = SHOWN
) -> dict[str, Float[np.ndarray, "..."]]:
    """Input, truth and prediction of some samples of a view, as `examples` has them; at so many times, at most."""
    a, truth = view.batch(positions)
    predictor = rolled(operator, view)
    prediction = torch.cat([predictor.predict(sample[None]) for sample in a])
    channel = -len(view.info.outputs)  # the first output, at the last time
    fields = {"a": a[:, 0], "truth": truth[:, channel], "prediction": prediction[:, channel]}
    shown = {name: each.numpy() for name, each in fields.items()}
    if isinstance(view, Rollouts):
        some = np.unique(np.linspace(0, len(view.times) - 1, times).round().astype(int))
        channels = some * len(view.info.outputs)
        shown |= {"truths": truth[:, channels].numpy(), "predictions": prediction[:, channels].numpy()}
        shown["times"] = np.array(view.times)[some]
    return shown


def _digits(values: Tensor) -> list[float]:
    """Six significant digits are what a float32 computation supports."""
    return [float(f"{value:.6g}") for value in values.tolist()]
