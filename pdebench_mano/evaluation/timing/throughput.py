"""Latency and throughput, of one contender after another, into the file of their times."""

import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

import torch

from data_gen.storage import alone
from pdebench_mano.evaluation.timing.contender import FEW, Contender, Predict
from pdebench_mano.evaluation.timing.rows import TIMES, Timing, read_times, write_times
from pdebench_mano.evaluation.timing.stopwatch import LONG, Stopwatch, is_busy, one_core, spread
from pdebench_mano.evaluation.timing.tolerances import tolerance
from pdebench_mano.fields.operator import Fields
from pdebench_mano.machine.load import shared
from pdebench_mano.machine.provenance import commit

MANY = 64
"""Samples that batches are made of."""

PASS = 1.0
"""Seconds that one pass over the samples of a latency may take, if it is of more than one."""

PATIENCE = 2
"""Larger batches that may be no faster before the search for the best ends; of such as take `LONG`, one."""

GAIN = 0.02
"""Part of a sample's time that a larger batch has to save to count as faster: where none does, a GPU is full."""


def take(
    contenders: Iterable[Contender],
    watch: Stopwatch,
    out: Path,
    say: Callable[[str], None] = lambda line: None,
) -> Iterator[Timing]:
    """Time what has no time in ``out/times.jsonl`` yet; each is there before the next is begun.

    What has one there, by this commit, at least as often repeated, or too `LONG` for that, on a machine that was not
    busy, is not timed again. Where it is busy again, the steadier of the two stays. What cannot be timed is said, and
    left out.

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
        timing = _steadiest([timing, *there])
        known = [each for each in known if each not in there] + [timing]
        write_times(known, out)
        yield timing


def _steadiest(times: Sequence[Timing]) -> Timing:
    """The first, or an earlier one of its commit, as often repeated, that tells less of what else a machine does."""
    comparable = (each for each in times if (each.commit, each.repeats) == (times[0].commit, times[0].repeats))
    return min(comparable, key=lambda each: (each.busy, each.spread))


def _stands(timing: Timing, watch: Stopwatch) -> bool:
    """Whether a time need not be taken again."""
    long = _is_long(1, timing.latency_ms) or _is_long(timing.batch, timing.throughput_ms)
    return timing.commit == commit() and not timing.busy and timing.repeats >= (1 if long else watch.repeats)


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

    tried: dict[int, list[float]] = {}

    def per_sample(size: int) -> float:
        tried[size] = throughput(size, 1)
        return tried[size][0]

    size = best_batch(lambda size: _fitting(lambda: per_sample(size), size, watch), contender.largest)
    within = tried[size] if _is_long(size, tried[size][0]) else throughput(size, watch.repeats)
    widest = max(spread(latency), spread(within))
    return Timing(
        **contender.about._asdict(),
        rtol=rtol,
        batch=size,
        latency_ms=_digits(statistics.median(latency)),
        throughput_ms=_digits(statistics.median(within)),
        spread=_digits(widest),
        repeats=min(len(latency), len(within)),
        busy=is_busy(watch.loaded, shared(watch.device), widest),
        commit=commit(),
    )


def best_batch(per_sample: Callable[[int], float | None], largest: int) -> int:
    """The power of two, up to `largest`, that takes the least time a sample, within `GAIN`.

    The search ends where a batch does not fit, which is None, or after `PATIENCE` batches that are no faster. Times are
    in milliseconds.
    """
    best, least, size, slower, patience = 1, math.inf, 1, 0, PATIENCE
    while size <= largest and slower < patience:
        time_a_sample = per_sample(size)
        if time_a_sample is None:
            break
        slower += 1
        if time_a_sample < (1 - GAIN) * least:
            best, least, slower = size, time_a_sample, 0
        patience = 1 if _is_long(size, time_a_sample) else PATIENCE
        size *= 2
    return best


def _is_long(size: int, time_a_sample: float) -> bool:
    """Whether a batch of some milliseconds a sample takes `LONG`."""
    return size * time_a_sample >= 1e3 * LONG


def _latency(predict: Predict, a: Fields, watch: Stopwatch) -> list[float]:
    """Milliseconds of single samples, each a mean over `a`, (batch, inputs, n, m), or as many as `PASS` allows.

    Of a sample that takes `LONG`, one.
    """
    watch.seconds(lambda: predict(a[:1]))
    once = watch.seconds(lambda: predict(a[:1]))
    if once >= LONG:
        return [1e3 * once]
    singles = a[: max(1, int(PASS / once))].split(1)

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


def _digits(value: float) -> float:
    """Four significant digits are more than any clock supports."""
    return float(f"{value:.4g}")
