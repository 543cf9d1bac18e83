"""Predictions that are recorded as CUDA graphs when they come again.

    replays = Replays(holding)
    replays(operator, a)        # operator(a), which the second call for this shape records and later ones replay

Whatever a recording could miss leads to another one, or to none: see `kind` and `standing`.
"""

from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn

from pdebench_mano.machine.graphs import recorded

MOST = 8
"""Recordings that are kept, each with the memory of its result; what lies between is shared."""

Function = Callable[[Tensor], Tensor]


def replayable(a: Tensor) -> bool:
    """Whether calls on `a` may be replayed: on the current GPU and its default stream, and not while one is recorded.

    Recordings are made, and timed, on other streams.
    """
    if not a.is_cuda or torch.is_grad_enabled() or torch.compiler.is_compiling():
        return False
    default = torch.cuda.current_stream() == torch.cuda.default_stream()
    return a.device.index == torch.cuda.current_device() and default


def kind(a: Tensor) -> Hashable:
    """What else than the values of an input decides which kernels run on it."""
    device = a.device.type
    autocast = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
    tf32 = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    exact = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.enabled
    return a.shape, a.stride(), a.dtype, a.device, autocast, tf32, exact


def standing(modules: Sequence[nn.Module]) -> tuple[list[int], bool]:
    """Where the weights of modules lie and which are their children, and whether a hook wants to be called."""
    places: list[int] = []
    hooked = False
    for each in modules:
        places += [id(child) for child in each._modules.values()]
        places += [t.data_ptr() for t in each._parameters.values() if t is not None]
        places += [t.data_ptr() for t in each._buffers.values() if t is not None]
        hooked = hooked or bool(each._forward_hooks or each._forward_pre_hooks)
    return places, hooked


class Replays:
    """Calls of a module on one tensor, replayed where they come again.

    Parameters
    ----------
    holding : callable
        Gives what collects the tensors, beside parameters, that are made before a recording and read in it.
    record : callable
        As `recorded`.
    able : callable
        As `replayable`.
    """

    def __init__(
        self,
        holding: Callable[[], AbstractContextManager[list[Tensor]]],
        record: Callable[..., Callable[[], Tensor]] = recorded,
        able: Callable[[Tensor], bool] = replayable,
    ) -> None:
        self.holding, self.record, self.able = holding, record, able
        self.lock = Lock()
        self.forget()

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies, and what is unpickled, begin without recordings."""
        return type(self), (self.holding, self.record, self.able)

    def forget(self) -> None:
        """Drop all recordings."""
        self.modules: list[nn.Module] = []
        self.places: list[int] = []
        self.kept: dict[Hashable, Function | None] = {}
        self.pool: Any = None

    def __call__(self, module: nn.Module, a: Tensor, also: Hashable = None) -> Tensor:
        """``module(a)``, by a recording from the second call of its kind on, since many kinds come but once.

        A module that cannot be recorded is called every time.

        Parameters
        ----------
        module : nn.Module
            The same at every call. Its weights may change in place, and be moved or replaced; a change of attributes
            that decide what it computes must be said by `also`.
        a : tensor
        also : hashable
            What else decides what is computed.
        """
        if not self.able(a):
            return module(a)
        with self.lock:
            places, hooked = standing(self.modules)
            if not self.modules or places != self.places:
                self.forget()
                self.modules = list(module.modules())
                self.places, hooked = standing(self.modules)
            if hooked:
                return module(a)
            key = (kind(a), also)
            known = key in self.kept
            call = self.kept.pop(key, None)
            if known and call is None:
                call = self.replay_of(module, a)
            self.kept[key] = call
            if len(self.kept) > MOST:
                del self.kept[next(iter(self.kept))]  # that which was unused for longest
            return module(a) if call is None else call(a)

    def replay_of(self, module: nn.Module, a: Tensor) -> Function:
        """What copies an input to where the recording reads it, replays, and copies the result; or the module."""
        try:
            with torch.inference_mode(False), torch.no_grad(), self.holding() as constants:
                if self.pool is None and a.is_cuda:
                    self.pool = torch.cuda.graph_pool_handle()
                held = a.clone()
                replay = self.record(lambda: module(held), pool=self.pool)
        except Exception:  # whatever cannot be recorded in the operator's code, or no memory to record it in
            return module

        def call(a: Tensor, _: list[Tensor] = constants) -> Tensor:
            held.copy_(a)
            return replay().clone()

        return call
