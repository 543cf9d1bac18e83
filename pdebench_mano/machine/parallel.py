"""Data-parallel training: what the processes started by ``torchrun`` tell each other, and threads in each.

A process alone is rank 0 of 1, and every function here does what that needs.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
import torch.distributed.nn  # imported once a group exists, its default arguments would keep that group for ever
from jaxtyping import Float
from torch import Tensor, nn

POINTS_PER_THREAD = 1 << 15
"""Grid points in a batch that are worth a thread: two threads from about 16 samples of 65² on."""


@contextmanager
def processes() -> Iterator[int]:
    """Within, the processes of ``torchrun`` form a group; yields this one's rank."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield rank()
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield rank()
    finally:
        dist.destroy_process_group()


@contextmanager
def threads_for(points: int) -> Iterator[None]:
    """Within, PyTorch computes on no more CPU threads than batches of `points` grid points keep busy.

    An operator on small fields is many short loops; more threads wait for each other longer than they work.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(min(before, max(1, points // POINTS_PER_THREAD)))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def rank() -> int:
    """Number of this process."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def add(tensor: Tensor) -> Tensor:
    """The sum of `tensor`, of any shape, over all processes, in place."""
    if dist.is_initialized():
        dist.all_reduce(tensor)
    return tensor


def agree(value: float, device: torch.device) -> float:
    """The value of process 0."""
    if not dist.is_initialized():
        return value
    shared = torch.tensor(value, dtype=torch.float64, device=device)
    dist.broadcast(shared, 0)
    return shared.item()


def average_gradients(parameters: list[nn.Parameter], share: float) -> None:
    """Replace each gradient, a mean over this process's samples, by the mean over the whole batch.

    Parameters
    ----------
    parameters : list of Parameter
    share : float
        Fraction of the batch that this process has.
    """
    if not dist.is_initialized():
        return
    for p in parameters:
        if p.grad is None:
            p.grad = torch.zeros_like(p)
        p.grad.mul_(share)
    parts = [torch.view_as_real(p.grad) if p.is_complex() else p.grad for p in parameters if p.grad is not None]
    flat: Float[Tensor, " total"] = add(torch.cat([part.flatten() for part in parts]))
    for part, piece in zip(parts, flat.split([part.numel() for part in parts]), strict=True):
        part.copy_(piece.view_as(part))
