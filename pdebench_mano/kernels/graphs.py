"""Steps recorded as CUDA graphs: what the processor needs to launch kernels is spent once."""

from collections.abc import Callable
from typing import TypeVar

import torch

T = TypeVar("T")


def recorded(step: Callable[[], T], warmup: int = 3) -> Callable[[], T]:
    """Record what `step` does on the GPU; calling the result does it again, without Python.

    Parameters
    ----------
    step : callable without arguments
        A training step or a prediction over tensors that stay where they are: copy new data into its inputs,
        and make the optimizer ``capturable``. Nothing in it may wait for the GPU.
    warmup : int
        Calls before the recording, in which kernels are compiled and memory is reserved.

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
    with torch.cuda.graph(graph):
        result = step()

    def replay() -> T:
        graph.replay()
        return result

    return replay
