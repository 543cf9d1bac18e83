"""Who is timed: operators in each of their modes, the problem's solvers, and what made the labels.

Of operators of steps it is the rollout that errors are of: all states after that at the start, one from another.
Solvers stand beside it over the same interval, from the same state.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from data_gen.problem import Problem, samples_at_once
from data_gen.recipe import recipe_of
from data_gen.storage import read_json
from pdebench_mano.evaluation.assess import describe, samples
from pdebench_mano.evaluation.beside import rivals
from pdebench_mano.evaluation.evaluate import (
    POINTS,
    Predictor,
    check_grid,
    held_out,
    no_finer_than_labels,
    rolled,
    solvable,
    start_of,
)
from pdebench_mano.evaluation.records import digest, solver_name, told_apart
from pdebench_mano.evaluation.timing.contender import FEW, Contender, Drawn, Predict
from pdebench_mano.evaluation.timing.precision import halves, precision_of, predict_in, worth_timing
from pdebench_mano.evaluation.timing.rows import About, architecture
from pdebench_mano.evaluation.timing.stopwatch import Stopwatch
from pdebench_mano.evaluation.timing.tolerances import TOLERANCES
from pdebench_mano.fields.data import Dataset, View
from pdebench_mano.fields.normalized import NormalizedOperator
from pdebench_mano.fields.steps import Rollouts
from pdebench_mano.machine.graphs import recorded
from pdebench_mano.operators.registry import build_reference
from pdebench_mano.training.options import parse_config
from pdebench_mano.training.runs import load, refuse_untrusted, untrained

POINTS_ON_A_GPU = 1 << 22
"""Grid points in an operator's largest batch on a GPU: with more, kernels would need more than 32 bits to count."""

PROGRAMS = 64
"""Most programs of a compiled operator: with more, the compiler goes on without, and says so in a warning alone."""


class Untrained(NamedTuple):
    """What stands for a run whose weights are not there: an operator takes as long whatever they are.

    `configuration` is that of the run or its record. The precision that its error bears is known of its weights alone:
    `precisions` are those that were found with them, by resolution, as its record says; where there is none it computes
    in float32, as errors of records are.
    """

    configuration: Mapping[str, Any]
    precisions: Mapping[int, str] = {}


class Entrant(NamedTuple):
    """An operator to be timed: what it is called, its run or what stands for that, and where."""

    name: str
    run: Path | Untrained
    resolutions: Sequence[int]

    @property
    def configuration(self) -> Mapping[str, Any]:
        """That of its run."""
        return read_json(self.run / "config.json") if isinstance(self.run, Path) else self.run.configuration


def operators(
    entrants: Sequence[Entrant], data: Dataset, watch: Stopwatch, start: float | None = None
) -> Iterator[Contender]:
    """Operators, each on the device while it is its turn: one contender for each grid, precision and mode.

    Operators of steps are rolled out from the state at `start`, 0 by default.

    Raises
    ------
    ValueError, FileNotFoundError
        If a run has no weights, a resolution is no exact stride, or the grids are of different kinds; for a start of an
        operator that was not trained on steps.
    """
    prepared = [_operator(each, data) for each in entrants]
    for operator, each in zip(prepared, entrants, strict=True):
        check_grid(operator, each.name, held_out(data, each.resolutions, start_of(operator, start))[0])
    for operator, each in zip(prepared, entrants, strict=True):
        configuration = each.configuration
        config = parse_config(configuration["config"])
        if config.compile:  # of a program for batches of any size, the compiler leaves layouts as they are
            operator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            operator.compile()
            torch._dynamo.config.recompile_limit = PROGRAMS
        modes = ["compiled" if config.compile else "eager", *["cuda graph"] * (watch.device.type == "cuda")]
        operator.to(watch.device)
        for view in held_out(data, each.resolutions, start_of(operator, start)):
            predictor = rolled(operator, view)
            if isinstance(each.run, Untrained):
                said = each.run.precisions.get(view.resolution)
                borne = said if said in halves(config.precision, watch.device) else "float32"
            else:
                borne = precision_of(predictor, config.precision, view, watch.device)
            points = POINTS_ON_A_GPU if watch.device.type == "cuda" else POINTS
            for precision in worth_timing(borne, config.precision):
                if config.compile:
                    torch.compiler.reset()  # what differs from another grid would be a variable
                for mode in modes:
                    about = _about(each.name, "operator", view, watch, precision, mode, architecture(configuration))
                    predicting = _predicting(predictor, precision, mode)
                    yield Contender(about, view, predicting, (), max(1, points // view.grid.points))
        operator.to("cpu")


def solvers(
    data: Dataset, resolutions: Sequence[int], watch: Stopwatch, start: float | None = None
) -> Iterator[Contender]:
    """The rivals of the problem, one contender for each grid; none where the problem is not known.

    With a `start`, they solve from the state at that time for all that are stored after it; none where they cannot.

    Raises
    ------
    ValueError
        If a resolution is no exact stride, or there is no such time.
    """
    views = held_out(data, resolutions, start)
    for rival in rivals(data):
        for view in (each for each in views if no_finer_than_labels(rival, each)):
            yield from _solving(rival, solver_name(rival.scheme), "solver", view, TOLERANCES, watch)


def labels(data: Dataset, watch: Stopwatch, start: float | None = None) -> Iterator[Contender]:
    """The solver that made the labels, on the grid that it solved on, to their tolerance.

    None where the problem is not known. With a `start`, it is what makes the trajectories, from their beginning, that
    operators of steps learn from.
    """
    if data.problem is not None and solvable(data):
        (view,) = held_out(data, [data.grid.shape[0]], start if start is None else 0.0)
        rtol = float(data.info.attributes.get("rtol", data.problem.rtol))
        refined = data.info.label_refinement > 1
        drawn = Drawn(view, recipe_of(data.info, data.arrays, data.trust)) if refined else view
        for each in _solving(data.problem, "labels", "labels", drawn, (rtol,), watch):
            (beside,) = held_out(data, [data.grid.shape[0]], start)
            yield replace(each, about=each.about._replace(dataset=_ground(beside)))


def _operator(entrant: Entrant, data: Dataset) -> NormalizedOperator:
    """The operator of an entrant, on the CPU: that of its run, or what a training of its configuration begins with.

    In the latter, between normalisers fitted on a few samples of `data`, what is too small for a normal float counts as
    zero. A CPU takes longer for such numbers, and they are there before training alone: activations halve the field of
    a chain at every layer. Published operators are not deep enough for that; an orthogonal FNO of 200 layers takes
    twice the time.
    """
    if isinstance(entrant.run, Path):
        return load(entrant.run, device="cpu")
    config = parse_config(entrant.configuration["config"])
    refuse_untrusted(config, entrant.name)
    (view,) = held_out(data, [min(entrant.resolutions)])
    few = data.view(None, view.resolution, pairs=config.pairs, indices=view.samples[:FEW])
    with torch.random.fork_rng(devices=[]):
        operator = untrained(config, few).eval()
    operator.register_forward_pre_hook(lambda *_: _count_subnormals(False))
    operator.register_forward_hook(lambda *_: _count_subnormals(True), always_call=True)
    return operator


@torch.compiler.disable
def _count_subnormals(as_they_are: bool) -> None:
    """Whether floats below the normal ones are what they are in this thread, or zero."""
    torch.set_flush_denormal(not as_they_are)


def _predicting(operator: Predictor, precision: str, mode: str) -> Callable[[Tensor, float | None], Predict]:
    """What makes an operator ready for batches of one size, in its precision."""

    def predict(a: Tensor) -> Tensor:
        return predict_in(precision, operator, a)

    def replayed(a: Tensor, rtol: float | None) -> Predict:
        held = a.clone()
        replay = recorded(lambda: predict(held))

        def call(a: Tensor) -> Tensor:
            held.copy_(a)
            return replay()

        return call

    return replayed if mode == "cuda graph" else lambda a, rtol: predict


def _solving(
    problem: Problem, name: str, kind: str, view: View | Drawn, tolerances: tuple[float, ...], watch: Stopwatch
) -> Iterator[Contender]:
    """A solver on a grid, if it has one for the device."""
    device = str(watch.device)

    def ready(a: Tensor, rtol: float | None) -> Predict:
        solve = _solver(problem, view, rtol, device)
        assert solve is not None
        return solve

    if _solver(problem, view, None, device) is not None:
        largest = 1 if watch.device.type == "cpu" else samples_at_once(view.grid)
        about = _about(name, kind, view, watch, problem.arithmetic, "eager", "")
        yield Contender(about, view, ready, tolerances, largest)


def _solver(problem: Problem, view: View | Drawn, rtol: float | None, device: str) -> Predict | None:
    """What solves on a device for the outputs of a view; None where nothing does."""
    if isinstance(view, Rollouts):
        return _in_time(problem, view, rtol, device)
    return problem.on_device(view.grid, rtol=rtol, device=device)


def _in_time(problem: Problem, view: Rollouts, rtol: float | None, device: str) -> Predict | None:
    """What solves from the state at the start of `view` for all that follow, stacked as there; NaN where it fails.

    None where the problem has no solver for the device, or cannot begin with the state.
    """
    if view.first and not view.restartable:
        return None
    steps = len(view.times)
    interval: Problem = build_reference("solver", problem, view.grid, steps=steps).problem
    solve = interval.trajectories_on_device(view.grid, rtol=rtol, device=device)
    return None if solve is None else lambda a: solve(view.given(a))[:, :steps].flatten(1, 2)


def _about(
    name: str, kind: str, view: View | Drawn, watch: Stopwatch, precision: str, mode: str, architecture: str
) -> About:
    """What is timed, on the samples of a view."""
    data = view.dataset
    steps = len(view.times) if isinstance(view, Rollouts) else 1
    return About(
        name,
        kind,
        data.info.problem,
        view.resolution,
        watch.name,
        precision,
        mode,
        architecture,
        _ground(view),
        steps,
    )


def _ground(view: View | Drawn) -> str:
    """Digest of what the samples of a view are, as that of a record of them."""
    data = view.dataset
    times = {"times": list(view.times)} if isinstance(view, Rollouts) else {}
    return digest(told_apart(describe(data.info), samples(data)) | times)
