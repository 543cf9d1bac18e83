"""CUDA graphs: what is done over and over on a GPU, launched as one (CUDA C++ Programming Guide, §CUDA Graphs)."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def captured(step: Callable[[], None], device: "torch.device") -> Callable[[], None]:
    """The same as one CUDA graph, over tensors that stay where they are; on a CPU, as it is."""
    if device.type != "cuda":
        return step
    import torch

    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        step()
    torch.cuda.current_stream(device).wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay
