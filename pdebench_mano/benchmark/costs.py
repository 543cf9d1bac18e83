"""The time and memory of one operator on one grid.

A training step is forward, relative L2 loss, backward and AdamW; inference is a forward pass without gradients. Times
are medians; the memory of a step is what its tensors hold at the peak beyond weights, batch and optimizer state.
"""

import statistics
import time
import weakref
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from data_gen.counts import check_count
from pdebench_mano.benchmark.catalogue import parameter_count
from pdebench_mano.machine.devices import chosen
from pdebench_mano.machine.graphs import recorded_gradients
from pdebench_mano.operators.registry import OPERATORS, build_operator
from pdebench_mano.training.losses import relative_l2

PUBLISHED = {"mano-unfolded": "pdebench_mano.mano.unfolded:UnfoldedMANO"}
NAMES = (*OPERATORS, *PUBLISHED)


@dataclass(frozen=True)
class Settings:
    """What all measurements of a table share.

    Attributes
    ----------
    device : str
        ``cpu``, ``cuda`` or, of several GPUs, such as ``cuda:1``.
    precision : str
        ``float32``, or ``bfloat16`` by autocast.
    batch_size, repeats : int
        Samples of a batch; calls of which the median is taken.
    cuda_graphs : bool
        Replay the recorded gradients of a step, as ``train --cuda-graphs`` does.

    Raises
    ------
    ValueError
        If a value is out of range, or there is no such device.
    """

    device: str = "cpu"
    precision: str = "float32"
    batch_size: int = 1
    repeats: int = 5
    cuda_graphs: bool = False

    def __post_init__(self) -> None:
        chosen(self.device)
        if self.precision not in ("float32", "bfloat16"):
            raise ValueError(f"precision must be float32 or bfloat16, got {self.precision!r}")
        for name in ("batch_size", "repeats"):
            check_count(name, getattr(self, name))

    @property
    def kind(self) -> str:
        """``cpu`` or ``cuda``."""
        return torch.device(self.device).type


@dataclass(frozen=True)
class Measurement:
    """One operator on one grid; what could not be measured is NaN, and `note` says why."""

    operator: str
    resolution: int
    points: int
    parameters: int
    step_ms: float
    inference_ms: float
    peak_mb: float
    note: str = ""


class _Live(TorchDispatchMode):
    """Counts the bytes of tensors that operations have made and nobody has freed."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = self.peak = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        there = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        result = operation(*args, **(kwargs or {}))
        for each in tree_leaves(result):
            if not isinstance(each, Tensor):
                continue
            storage = each.untyped_storage()
            if storage._cdata not in self.known | there:
                self.known.add(storage._cdata)
                self.bytes += storage.nbytes()
                self.peak = max(self.peak, self.bytes)
                weakref.finalize(storage, self._free, storage._cdata, storage.nbytes())
        return result

    def _free(self, storage: int, size: int) -> None:
        self.known.discard(storage)
        self.bytes -= size


def peak_memory(step: Callable[[], object], device: str) -> int:
    """Bytes that `step` needs at its peak beyond what is there before."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        return torch.cuda.max_memory_allocated() - before
    with _Live() as live:
        step()
    return live.peak


def median_ms(call: Callable[[], object], settings: Settings) -> float:
    """Median time of a call, after one that is not counted."""

    def wait() -> None:
        if settings.kind == "cuda":
            torch.cuda.synchronize()

    call()
    wait()
    times = []
    for _ in range(settings.repeats):
        start = time.perf_counter()
        call()
        wait()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def measure(name: str, resolution: int, settings: Settings) -> Measurement:
    """Time and memory of one operator, by name and with default arguments, on a resolution × resolution grid.

    An operator that cannot serve the grid, or runs out of memory, has a row that says so.
    """
    operator = built(name)
    try:
        with torch.cuda.device(settings.device) if settings.kind == "cuda" else nullcontext():
            costs = _costs(operator.to(settings.device), resolution, settings)
    except torch.OutOfMemoryError:
        return unmeasured(name, resolution, "out of memory")
    except (ValueError, RuntimeError) as error:
        return unmeasured(name, resolution, " ".join(str(error).split())[:200])
    return Measurement(name, resolution, resolution**2, parameter_count(operator), *costs)


def unmeasured(name: str, resolution: int, note: str) -> Measurement:
    """The row of what could not be measured."""
    nan = float("nan")
    return Measurement(name, resolution, resolution**2, parameter_count(built(name)), nan, nan, nan, note)


def built(name: str) -> nn.Module:
    """An operator by its name in tables, with default arguments."""
    return build_operator(PUBLISHED.get(name, name), 1, 1)


def _costs(operator: nn.Module, resolution: int, settings: Settings) -> tuple[float, float, float]:
    """Milliseconds of a step and of an inference, and megabytes of a step."""
    shape = (settings.batch_size, 1, resolution, resolution)
    a, u = (torch.randn(shape, device=settings.device) for _ in "au")
    parameters = list(operator.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1e-4)
    autocast = torch.autocast(settings.kind, torch.bfloat16, enabled=settings.precision == "bfloat16")

    def gradients(a: Tensor, u: Tensor) -> Tensor:
        with autocast:
            value = relative_l2(operator(a).float(), u)
        value.backward()
        return value.detach()

    run = recorded_gradients(gradients, parameters) if settings.cuda_graphs and settings.kind == "cuda" else gradients

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        run(a, u)
        optimizer.step()

    @torch.no_grad()
    def inference() -> None:
        with autocast:
            operator(a)

    optimizer.zero_grad(set_to_none=True)
    gradients(a, u)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    peak = peak_memory(lambda: gradients(a, u), settings.device)
    return median_ms(step, settings), median_ms(inference, settings), peak / 1e6
