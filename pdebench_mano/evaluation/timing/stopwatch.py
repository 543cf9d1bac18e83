"""The clock: where times are taken and how often, and whether something else was at work."""

import gc
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from data_gen.counts import check_count
from pdebench_mano.evaluation.timing.rows import ONE_CORE
from pdebench_mano.machine.devices import chosen
from pdebench_mano.machine.load import loaded
from pdebench_mano.machine.provenance import cpu

NOISE = 0.1
"""Spread of repeats from which on something else was at work."""

ROUND = 0.05
"""Seconds that a repeat takes at least: a shorter one measures the clock."""

LONG = 10.0
"""Seconds of a call from which on it is not repeated."""


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

    def seconds(self, call: Callable[[], object]) -> float:
        """What a call takes."""
        began = time.perf_counter()
        call()
        self.wait()
        return time.perf_counter() - began

    def milliseconds(self, call: Callable[[], object], repeats: int) -> list[float]:
        """Times of a call, each the mean over as many as take `ROUND`, after two that plan, compile and allocate.

        The second of those is the only time of a call that is `LONG`.
        """
        self.seconds(call)
        once = self.seconds(call)
        if once >= LONG:
            return [1e3 * once]
        count = max(1, math.ceil(ROUND / once))

        def several() -> None:
            for _ in range(count):
                call()

        return [1e3 * self.seconds(several) / count for _ in range(repeats)]

    def clear(self) -> None:
        """Give the device's memory back."""
        if self.device.type == "cuda":
            gc.collect()
            torch.cuda.empty_cache()


def spread(times: Sequence[float]) -> float:
    """(p90 − p10)/median of some times."""
    low, middle, high = np.percentile(times, [10, 50, 90])
    return float((high - low) / middle)


def is_busy(cores: bool, shared: bool, spread: float) -> bool:
    """Whether something else was at work: on the cores, on the GPU, or by the spread of the repeats."""
    return cores or shared or spread > NOISE


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
