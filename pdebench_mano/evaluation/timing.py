"""Times of operators, and of the solvers that stand beside them: a measurement of its own.

One process takes them one after another on one device that does nothing else, from inputs on the device to solutions
there. *Latency* is the time of one sample alone; *throughput* that of one sample within the batch that serves it
fastest, of 1, 2, 4, … samples. Errors in records are those of float32. An operator that was trained in bfloat16 runs in
it where its error does not feel that, as a solver runs to the loosest tolerance that its error does not feel; on a GPU
operators run as a CUDA graph, too. A CPU is one core: a solve takes no more.

FOLDER/times.jsonl    one `Timing` a line; beside the records of a run or a benchmark it is what their reports show
"""

import gc
import json
import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import chain
from os.path import lexists
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError
from threadpoolctl import threadpool_limits
from torch import Tensor

from data_gen.counts import check_count
from data_gen.grid import Grid
from data_gen.problem import Problem, samples_at_once
from data_gen.recipe import Recipe, recipe_of
from data_gen.samples import draw_all
from data_gen.storage import alone, write_text
from pdebench_mano.evaluation.assess import describe, samples
from pdebench_mano.evaluation.evaluate import POINTS, check_grid, held_out, solvable
from pdebench_mano.evaluation.records import digest, solver_name, told_apart
from pdebench_mano.fields.data import Dataset, View
from pdebench_mano.fields.metrics import relative_l2
from pdebench_mano.fields.normalized import NormalizedOperator
from pdebench_mano.fields.operator import Fields
from pdebench_mano.machine.devices import chosen
from pdebench_mano.machine.graphs import recorded
from pdebench_mano.machine.load import loaded, shared
from pdebench_mano.machine.provenance import commit, cpu
from pdebench_mano.training.options import RunConfig, parse_config
from pdebench_mano.training.runs import load

TIMES = "times.jsonl"

TOLERANCES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
FELT = 0.01
"""Relative change of a solver's error from which on a tolerance is too loose."""

NOISE = 0.1
"""Spread of repeats from which on something else was at work."""

FEW, MANY = 8, 64
"""Samples that latencies are means over and tolerances are chosen on; samples that batches are made of."""

ROUND = 0.05
"""Seconds that a repeat takes at least: a shorter one measures the clock."""

PASS = 1.0
"""Seconds that one pass over the samples of a latency may take, if it is of more than one."""

PATIENCE = 2
"""Larger batches that may be no faster before the search for the best ends."""

POINTS_ON_A_GPU = 1 << 22
"""Grid points in an operator's largest batch on a GPU: with more, kernels would need more than 32 bits to count."""

AFFORDABLE = 60.0
"""Seconds of one label from which on labels are not timed."""

ONE_CORE = ", one core"

Predict = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Timing:
    """One operator or solver on one grid.

    Attributes
    ----------
    name : str
        What records call the operator, or ``solver, SCHEME``; ``labels``, which are made by the problem's own solver on
        the stored grid, or the finer one that they were solved for on.
    kind : {"operator", "solver", "labels"}
    problem : str
    resolution : int
    device : str
    precision : {"float32", "bfloat16", "float64"}
        Of an operator float32, or bfloat16 by autocast; of a solver that of its solutions.
    mode : {"eager", "cuda graph", "compiled"}
    rtol : float or None
        Tolerance of a solver.
    batch : int
        Samples in the batch of the throughput.
    latency_ms, throughput_ms : float
        Medians, of one sample alone and of one of the batch.
    spread : float
        (p90 − p10)/median over the repeats, the larger one of latency and throughput.
    repeats : int
    busy : bool
        Whether something else was at work: the times are no better than upper bounds.
    commit : str
    architecture : str
        Digest of what makes an operator as fast as it is, see `architecture`; "" of solvers.
    dataset : str
        Digest of what the samples are, see `pdebench_mano.evaluation.records.evaluated_on`.
    """

    name: str
    kind: str
    problem: str
    resolution: int
    device: str
    precision: str
    mode: str
    rtol: float | None
    batch: int
    latency_ms: float
    throughput_ms: float
    spread: float
    repeats: int
    busy: bool
    commit: str
    architecture: str
    dataset: str

    def same(self, about: "About") -> bool:
        """Whether this is a time of what is described."""
        return all(getattr(self, name) == value for name, value in about._asdict().items())


class About(NamedTuple):
    """What is timed; the attributes are those of `Timing`."""

    name: str
    kind: str
    problem: str
    resolution: int
    device: str
    precision: str
    mode: str
    architecture: str
    dataset: str


@dataclass(frozen=True)
class Contender:
    """What can be timed on one grid.

    Attributes
    ----------
    about : About
    view : View
        The samples that it is timed on.
    ready : callable
        (inputs of a batch, tolerance) ↦ what predicts for batches of that shape.
    tolerances : tuple of float
        To choose from; none of an operator, one where there is no choice.
    largest : int
        Most samples in a batch.
    """

    about: About
    view: "View | Drawn"
    ready: Callable[[Tensor, float | None], Predict]
    tolerances: tuple[float, ...]
    largest: int


class Entrant(NamedTuple):
    """An operator to be timed: what it is called, its run, and where."""

    name: str
    run: Path
    resolutions: Sequence[int]


@dataclass(frozen=True)
class Stopwatch:
    """How times are taken: where, how often, and whether the machine was busy before the first of them.

    Raises
    ------
    ValueError
        If there is no such device, or `repeats` is below 1.
    """

    device: torch.device
    repeats: int = 5
    loaded: bool = False

    def __post_init__(self) -> None:
        check_count("repeats", self.repeats)

    @classmethod
    def on(cls, device: str | None = None, repeats: int = 5) -> "Stopwatch":
        """One for a device, CUDA where there is one by default; asks now whether the cores are busy."""
        return cls(chosen(device), repeats, loaded())

    @property
    def name(self) -> str:
        """What the device is called."""
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else cpu() + ONE_CORE

    def wait(self) -> None:
        """Until the device has done what it was asked."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def milliseconds(self, call: Callable[[], object], repeats: int) -> list[float]:
        """Times of a call, each the mean over as many as take `ROUND`, after two that plan, compile and allocate."""
        call()
        self.wait()
        began = time.perf_counter()
        call()
        self.wait()
        count = max(1, math.ceil(ROUND / (time.perf_counter() - began)))
        times = []
        for _ in range(repeats):
            began = time.perf_counter()
            for _ in range(count):
                call()
            self.wait()
            times.append(1e3 * (time.perf_counter() - began) / count)
        return times

    def clear(self) -> None:
        """Give the device's memory back."""
        if self.device.type == "cuda":
            gc.collect()
            torch.cuda.empty_cache()


def architecture(configuration: Mapping[str, Any]) -> str:
    """Digest of what makes a trained operator as fast as it is, whatever its weights.

    Parameters
    ----------
    configuration : mapping
        Of a run or a record.
    """
    config = configuration["config"]
    said = {name: config.get(name, RunConfig.model_fields[name].default) for name in ("precision", "compile")}
    sources = configuration.get("sources", {}).get("operator")
    return digest([config["operator"], config["operator_args"], said, sources, configuration["data"]["channels"]])


def operators(entrants: Sequence[Entrant], data: Dataset, watch: Stopwatch) -> Iterator[Contender]:
    """Trained operators, each on the device while it is its turn: one contender for each grid and mode.

    Raises
    ------
    ValueError, FileNotFoundError
        If a run has no weights, a resolution is no exact stride, or the grids are of different kinds.
    """
    trained = [load(each.run, device="cpu") for each in entrants]
    for operator, each in zip(trained, entrants, strict=True):
        check_grid(operator, each.name, held_out(data, each.resolutions)[0])
    for operator, each in zip(trained, entrants, strict=True):
        configuration = json.loads((each.run / "config.json").read_text())
        config = parse_config(configuration["config"])
        if config.compile:
            operator.compile()
        modes = ["compiled" if config.compile else "eager", *["cuda graph"] * (watch.device.type == "cuda")]
        operator.to(watch.device)
        for view in held_out(data, each.resolutions):
            precision = precision_of(operator, config, view, watch)
            for mode in modes:
                about = _about(each.name, "operator", view, watch, precision, mode, architecture(configuration))
                points = POINTS_ON_A_GPU if watch.device.type == "cuda" else POINTS
                yield Contender(
                    about, view, _predicting(operator, precision, mode), (), max(1, points // view.grid.points)
                )
        operator.to("cpu")


def precision_of(operator: NormalizedOperator, config: RunConfig, view: View, watch: Stopwatch) -> str:
    """bfloat16 for an operator that was trained in it and whose error it changes by less than `FELT`, else float32."""
    if config.precision == "float32":
        return "float32"
    a, u = (each.to(watch.device) for each in view.batch(range(min(FEW, len(view)))))
    exact, rounded = (
        relative_l2(_in(precision, operator, a), u, view.grid.kind).mean().item()
        for precision in ("float32", "bfloat16")
    )
    return "bfloat16" if abs(rounded - exact) < FELT * exact else "float32"


def _in(precision: str, operator: NormalizedOperator, a: Fields) -> Fields:
    """Predictions in a precision."""
    with torch.autocast(a.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        return operator.predict(a)


def solvers(data: Dataset, resolutions: Sequence[int], watch: Stopwatch) -> Iterator[Contender]:
    """The rivals of the problem, one contender for each grid; none where the problem is not known.

    Raises
    ------
    ValueError
        If a resolution is no exact stride.
    """
    views = held_out(data, resolutions)
    rivals = data.problem.rivals() if data.problem is not None and solvable(data) else ()
    for rival in rivals:
        for view in views:
            yield from _solving(rival, solver_name(rival.scheme), "solver", view, TOLERANCES, watch)


def labels(data: Dataset, watch: Stopwatch) -> Iterator[Contender]:
    """The solver that made the labels, on the grid that it solved on, to their tolerance.

    None where the problem is not known.
    """
    if data.problem is not None and solvable(data):
        (view,) = held_out(data, [data.grid.shape[0]])
        rtol = float(data.info.attributes.get("rtol", data.problem.rtol))
        refined = "label_refinement" in json.loads(data.info.attributes.get("recipe", "{}"))
        drawn = Drawn(view, recipe_of(data.info, data.arrays, data.trust)) if refined else view
        yield from _solving(data.problem, "labels", "labels", drawn, (rtol,), watch)


@dataclass(frozen=True)
class Drawn:
    """The first samples of a view, drawn again on the finer grid that their labels were solved for on."""

    view: View
    recipe: Recipe

    @property
    def dataset(self) -> Dataset:
        return self.view.dataset

    @property
    def grid(self) -> Grid:
        return self.recipe.solved_on

    @property
    def resolution(self) -> int:
        return self.grid.shape[0]

    def __len__(self) -> int:
        return min(FEW, len(self.view))

    def batch(self, indices: Sequence[int]) -> tuple[Fields, Fields]:
        """Inputs on the finer grid, (batch, inputs, n, m); solutions there are not known, and NaN."""
        numbers = [int(self.view.samples[i]) for i in indices]
        a = torch.from_numpy(draw_all(self.recipe, self.grid, numbers)).float()
        return a, torch.full((len(a), len(self.dataset.info.outputs), *self.grid.shape), torch.nan)


def _solving(
    problem: Problem, name: str, kind: str, view: View | Drawn, tolerances: tuple[float, ...], watch: Stopwatch
) -> Iterator[Contender]:
    """A solver on a grid, if it has one for the device."""
    device = str(watch.device)

    def ready(a: Tensor, rtol: float | None) -> Predict:
        solve = problem.on_device(view.grid, rtol=rtol, device=device)
        assert solve is not None
        return solve

    if problem.on_device(view.grid, device=device) is not None:
        largest = 1 if watch.device.type == "cpu" else samples_at_once(view.grid)
        yield Contender(_about(name, kind, view, watch, "float64", "eager", ""), view, ready, tolerances, largest)


def _about(
    name: str, kind: str, view: View | Drawn, watch: Stopwatch, precision: str, mode: str, architecture: str
) -> About:
    """What is timed, on the samples of a view."""
    data = view.dataset
    ground = digest(told_apart(describe(data.info), samples(data)))
    return About(name, kind, data.info.problem, view.resolution, watch.name, precision, mode, architecture, ground)


def _predicting(operator: NormalizedOperator, precision: str, mode: str) -> Callable[[Tensor, float | None], Predict]:
    """What makes an operator ready for batches of one size, in its precision."""

    def predict(a: Tensor) -> Tensor:
        return _in(precision, operator, a)

    def replayed(a: Tensor, rtol: float | None) -> Predict:
        held = a.clone()
        replay = recorded(lambda: predict(held))

        def call(a: Tensor) -> Tensor:
            held.copy_(a)
            return replay()

        return call

    return replayed if mode == "cuda graph" else lambda a, rtol: predict


def take(
    contenders: Iterable[Contender],
    watch: Stopwatch,
    out: Path,
    say: Callable[[str], None] = lambda line: None,
) -> Iterator[Timing]:
    """Time what has no time in ``out/times.jsonl`` yet; each is there before the next is begun.

    What has one there, by this commit, at least as often repeated, on a machine that was not busy, is not timed again.
    What cannot be timed is said, and left out.

    Raises
    ------
    ValueError, OSError
        If the file holds something else, or another process takes times into it.
    """
    contenders = iter(contenders)
    for first in contenders:  # what cannot be timed at all is refused before there is a folder
        with alone(out / TIMES):
            yield from _take(chain([first], contenders), watch, out, say)


def _take(contenders: Iterable[Contender], watch: Stopwatch, out: Path, say: Callable[[str], None]) -> Iterator[Timing]:
    known = read_times(out)
    for contender in contenders:
        there = [each for each in known if each.same(contender.about)]
        if done := [each for each in there if _stands(each, watch)]:
            yield done[0]
            continue
        about = contender.about
        say(f"{about.name} at {about.resolution}², {about.mode}")
        try:
            with one_core() if watch.device.type == "cpu" else torch.cuda.device(watch.device):
                timing = measure(contender, watch)
        except (RuntimeError, ValueError) as error:
            say(f"    not timed: {(str(error).splitlines() or [''])[0]}")
            continue
        finally:
            watch.clear()
        known = [each for each in known if each not in there] + [timing]
        write_times(known, out)
        yield timing


def _stands(timing: Timing, watch: Stopwatch) -> bool:
    """Whether a time need not be taken again."""
    return timing.commit == commit() and not timing.busy and timing.repeats >= watch.repeats


def measure(contender: Contender, watch: Stopwatch) -> Timing:
    """Latency and throughput of one contender.

    Raises
    ------
    ValueError
        If a solver does not converge, or labels take longer than `AFFORDABLE`.
    RuntimeError
        If not even one sample fits on the device, or an operator cannot be recorded as a CUDA graph.
    """
    view = contender.view
    a, u = (each.to(watch.device) for each in view.batch(range(min(MANY, len(view)))))
    rtol = tolerance(contender, a[:FEW], u[:FEW])
    latency = _latency(contender.ready(a[:1], rtol), a[:FEW], watch)

    def throughput(size: int, repeats: int) -> list[float]:
        batch = a[torch.arange(size, device=a.device) % len(a)]
        predict = contender.ready(batch, rtol)
        return [each / size for each in watch.milliseconds(lambda: predict(batch), repeats)]

    size = best_batch(lambda size: _fitting(lambda: throughput(size, 1)[0], size, watch), contender.largest)
    within = throughput(size, watch.repeats)
    widest = max(spread(latency), spread(within))
    return Timing(
        **contender.about._asdict(),
        rtol=rtol,
        batch=size,
        latency_ms=_digits(statistics.median(latency)),
        throughput_ms=_digits(statistics.median(within)),
        spread=_digits(widest),
        repeats=watch.repeats,
        busy=is_busy(watch.loaded, shared(watch.device), widest),
        commit=commit(),
    )


def tolerance(contender: Contender, a: Fields, u: Fields) -> float | None:
    """The tolerance to time a contender with; None of what knows none.

    Where there is a choice, it is made by the relative L2 error for the inputs `a`, (batch, inputs, n, m), against the
    labels `u`, (batch, outputs, n, m).

    Raises
    ------
    ValueError
        If the solver does not converge, or one label takes longer than `AFFORDABLE`.
    """
    if not contender.tolerances:
        return None
    if len(contender.tolerances) > 1:
        kind = contender.view.grid.kind
        found = loosest(
            lambda rtol: relative_l2(contender.ready(a, rtol)(a), u.double(), kind).mean().item(),
            contender.tolerances,
        )
        if found is None:
            raise ValueError(f"the solver converges to no rtol from {max(contender.tolerances):g} on")
        return found
    (rtol,) = contender.tolerances
    began = time.perf_counter()
    one = contender.ready(a[:1], rtol)(a[:1])
    if not bool(one.isfinite().all()):
        raise ValueError(f"the solver does not converge to rtol {rtol:g}")
    if (took := time.perf_counter() - began) > AFFORDABLE:
        raise ValueError(f"one sample takes {took:.0f} s, more than {AFFORDABLE:g} s")
    return rtol


def loosest(error: Callable[[float], float], tolerances: Iterable[float] = TOLERANCES) -> float | None:
    """The largest tolerance that, as all below it, changes an error by less than `FELT` of that at the smallest.

    Tolerances that are too small to be met, whose error is NaN, are left out; None if all are.

    Examples
    --------
    >>> loosest(lambda rtol: 0.02 + rtol)       # 1e-3 changes the error of 0.02 by a twentieth
    0.0001
    """
    found, least = None, math.nan
    for rtol in sorted(tolerances):
        value = error(rtol)
        if found is None and math.isfinite(value):
            found, least = rtol, value
        elif found is not None and abs(value - least) < FELT * least:
            found = rtol
        elif found is not None:
            break
    return found


def best_batch(per_sample: Callable[[int], float | None], largest: int) -> int:
    """The power of two, up to `largest`, that takes the least time a sample.

    The search ends where a batch does not fit, which is None, or after `PATIENCE` batches that are no faster.
    """
    best, least, size, slower = 1, math.inf, 1, 0
    while size <= largest and slower < PATIENCE:
        time_a_sample = per_sample(size)
        if time_a_sample is None:
            break
        slower += 1
        if time_a_sample < least:
            best, least, slower = size, time_a_sample, 0
        size *= 2
    return best


def spread(times: Sequence[float]) -> float:
    """(p90 − p10)/median of some times."""
    low, middle, high = np.percentile(times, [10, 50, 90])
    return float((high - low) / middle)


def is_busy(cores: bool, shared: bool, spread: float) -> bool:
    """Whether something else was at work: on the cores, on the GPU, or by the spread of the repeats."""
    return cores or shared or spread > NOISE


def _latency(predict: Predict, a: Fields, watch: Stopwatch) -> list[float]:
    """Milliseconds of single samples, each a mean over `a`, (batch, inputs, n, m), or as many as `PASS` allows."""
    predict(a[:1])
    watch.wait()
    began = time.perf_counter()
    predict(a[:1])
    watch.wait()
    count = int(PASS / (time.perf_counter() - began))
    singles = a[: max(1, count)].split(1)

    def one_after_another() -> None:
        for single in singles:
            predict(single)
            watch.wait()

    return [each / len(singles) for each in watch.milliseconds(one_after_another, watch.repeats)]


def _fitting(per_sample: Callable[[], float], size: int, watch: Stopwatch) -> float | None:
    """The time of a sample in a batch; None where the batch does not fit."""
    try:
        return per_sample()
    except RuntimeError:  # libraries have other words for it than OutOfMemoryError
        if size == 1:
            raise
        return None
    finally:
        watch.clear()


@contextmanager
def one_core() -> Iterator[None]:
    """Within, PyTorch and the libraries of NumPy and SciPy compute on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


_TIMING = TypeAdapter(Timing)


def read_times(folder: Path) -> list[Timing]:
    """What ``folder/times.jsonl`` holds; nothing if it is not there.

    Raises
    ------
    ValueError
        If it holds something else.
    """
    path = folder / TIMES
    try:
        return [_TIMING.validate_json(line) for line in path.read_bytes().splitlines()] if lexists(path) else []
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{path} holds no times: {'.'.join(map(str, first['loc']))} {first['msg']}") from None


def write_times(times: Sequence[Timing], folder: Path) -> None:
    """Write ``folder/times.jsonl``, in one piece.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / TIMES, "".join(json.dumps(asdict(each)) + "\n" for each in times))


def _digits(value: float) -> float:
    """Four significant digits are more than any clock supports."""
    return float(f"{value:.4g}")
