"""CUDA graphs: a training step, or a prediction, launched as one.

At the sizes of neural operators a GPU spends most of a step waiting for the next kernel to be
launched. A step whose shapes do not change can be recorded once and replayed with one launch
(CUDA C++ Programming Guide, §CUDA Graphs), whatever the operator and the regime, as long as
neither copies between host and device nor lets the data choose what is computed.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

T = TypeVar("T")
Gradients = Callable[[Tensor, Tensor], Tensor]


def recorded(step: Callable[[], T], warmup: int = 3, pool: Any = None) -> Callable[[], T]:
    """Record what `step` does on the GPU; calling the result does it again, without Python.

    Parameters
    ----------
    step : callable without arguments
        A training step or a prediction over tensors that stay where they are: copy new data into its inputs,
        and make the optimizer ``capturable``. Nothing in it may wait for the GPU.
    warmup : int
        Calls before the recording, in which kernels are compiled and memory is reserved.
    pool : optional
        Memory to share with other recordings, of `torch.cuda.graph_pool_handle`: none of them runs beside another, and
        what one returned is read before the next is replayed.

    Returns
    -------
    callable
        Replays the step and returns what the recorded call returned: the same tensors, filled anew.

    Examples
    --------
    >>> train = recorded(lambda: step(a, u))            # doctest: +SKIP
    >>> for batch in batches:                           # doctest: +SKIP
    ...     a.copy_(batch[0]), u.copy_(batch[1])
    ...     loss = train()
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(warmup):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=pool):
        result = step()

    def replay() -> T:
        graph.replay()
        return result

    return replay


class _Recording(NamedTuple):
    graph: torch.cuda.CUDAGraph
    a: Tensor
    u: Tensor
    value: Tensor
    gradients: list[Tensor | None]


def recorded_gradients(gradients: Gradients, parameters: list[nn.Parameter], warmup: int = 3) -> Gradients:
    """A function that does what `gradients` does, by replaying a recording of it.

    Parameters
    ----------
    gradients : callable
        (a, u) ↦ loss, filling ``.grad`` of the parameters; both on one CUDA device.
    parameters : list of Parameter
    warmup : int
        Calls before the recording, in which libraries choose their algorithms.

    Returns
    -------
    callable
        Each shape of a and u is recorded when first seen. The loss it returns is overwritten by the next call.
    """
    recordings: dict[tuple[torch.Size, torch.Size], _Recording] = {}

    def record(a: Tensor, u: Tensor) -> _Recording:
        a, u = a.clone(), u.clone()
        state = torch.cuda.get_rng_state(a.device)
        stream = torch.cuda.Stream(a.device)
        stream.wait_stream(torch.cuda.current_stream(a.device))
        with torch.cuda.stream(stream):
            for _ in range(warmup):
                _forget(parameters)
                gradients(a, u)
        torch.cuda.current_stream(a.device).wait_stream(stream)
        _forget(parameters)
        torch.cuda.set_rng_state(state, a.device)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            value = gradients(a, u)
        return _Recording(graph, a, u, value, [p.grad for p in parameters])

    def replay(a: Tensor, u: Tensor) -> Tensor:
        key = (a.shape, u.shape)
        if key not in recordings:
            recordings[key] = record(a, u)
        recording = recordings[key]
        recording.a.copy_(a)
        recording.u.copy_(u)
        recording.graph.replay()
        for p, gradient in zip(parameters, recording.gradients, strict=True):
            p.grad = gradient
        return recording.value

    return replay


def recorded_update(update: Callable[[], None], parameters: list[nn.Parameter], warmup: int = 3) -> Callable[[], None]:
    """A function that does what `update` does, by replaying a recording of it.

    Parameters
    ----------
    update : callable without arguments
        Changes the parameters in place, by their gradients, and by numbers that lie in tensors on the GPU.
    parameters : list of Parameter
    warmup : int
        Calls that are the update itself, in which it makes what it keeps between calls.

    Returns
    -------
    callable
        Gradients in each place are recorded when they have been there `warmup` times; see `recorded_gradients`, which
        leaves those of each shape in a place of their own.
    """
    calls: dict[int, int] = {}
    recordings: dict[int, torch.cuda.CUDAGraph] = {}

    def call() -> None:
        place = next(p.grad.data_ptr() for p in parameters if p.grad is not None)
        calls[place] = calls.get(place, 0) + 1
        if calls[place] <= warmup:
            update()
            return
        if place not in recordings:
            recordings[place] = torch.cuda.CUDAGraph()
            with torch.cuda.graph(recordings[place]):
                update()
        recordings[place].replay()

    return call


def _forget(parameters: list[nn.Parameter]) -> None:
    """Without earlier gradients, a step writes its own instead of adding to them."""
    for p in parameters:
        p.grad = None
