"""Peak activation memory and time of one training step against depth, regime by regime.

    python benchmarks/activation_memory.py --depths 10 50 200 [--device cuda] [--json]

A square orthogonal chain (ReLU) of 64 channels on 16 fields of 16² points: one activation is 1 MiB, one weight 16 KiB.
Weights, gradients and the batch are there before the step and not counted. On a GPU the peak is the allocator's, on the
CPU that of the tensors that operations have made and nobody has freed. "Checkpointing" is backpropagation with
activations kept at √depth places and recomputed between them (Chen et al. 2016, arXiv:1604.06174).
"""

import argparse
import itertools
import json
import math
import statistics
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint_sequential

from pdebench_mano.orthogonal import Chain, OrthogonalLinear
from pdebench_mano.training.losses import half_squared_error
from pdebench_mano.training.regimes import Backprop, FotonLatent, Pepita, TransportedFoton

CHANNELS = 64
SHAPE = (16, CHANNELS, 16, 16)


class Checkpointing(Backprop):
    """Backpropagation that stores √depth activations."""

    name = "checkpointing"

    def gradients(self, operator: nn.Module, a: Tensor, u: Tensor, loss: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        stages = [partial(activated, operator.phi, layer) for layer in operator.layers[:-1]] + [operator.head]

        def checkpointed(a: Tensor) -> Tensor:
            return checkpoint_sequential(stages, math.isqrt(len(stages)), operator.embed(a), use_reentrant=False)

        return super().gradients(checkpointed, a, u, loss)


def activated(phi: Callable[[Tensor], Tensor], layer: nn.Module, z: Tensor) -> Tensor:
    return phi(layer(z))


REGIMES = {
    "foton-latent": FotonLatent(),
    "transported-foton": TransportedFoton(),
    "transported-foton, slopes by channel": TransportedFoton(slopes="channel"),
    "transported-foton, slopes by point": TransportedFoton(slopes="point"),
    "transported-foton, slopes by block": TransportedFoton(slopes="block"),
    "pepita": Pepita(),
    "foton-latent, stored": FotonLatent(lockstep=False),
    "checkpointing": Checkpointing(),
    "backprop": Backprop(),
}


def square_chain(depth: int, device: str) -> Chain:
    lift, *blocks, head = (OrthogonalLinear(CHANNELS, CHANNELS) for _ in range(depth))
    return Chain(lift, blocks, head, "relu").to(device)


class Live(TorchDispatchMode):
    """Counts the bytes of tensors made within and not yet freed."""

    def __init__(self, there: Iterable[Tensor]) -> None:
        super().__init__()
        self.bytes = self.peak = 0
        self.known = {each.untyped_storage()._cdata for each in there}

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = operation(*args, **(kwargs or {}))
        for each in tree_leaves(result):
            if isinstance(each, Tensor) and (storage := each.untyped_storage())._cdata not in self.known:
                self.known.add(storage._cdata)
                self.bytes += storage.nbytes()
                self.peak = max(self.peak, self.bytes)
                weakref.finalize(storage, self.free, storage._cdata, storage.nbytes())
        return result

    def free(self, storage: int, size: int) -> None:
        self.known.discard(storage)
        self.bytes -= size


def peak(step: Callable[[], object], there: Sequence[Tensor], device: str) -> int:
    """Bytes that `step` needs at its peak beyond what is there before."""
    if device == "cuda":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        return torch.cuda.max_memory_allocated() - before
    with Live(there) as live:
        step()
    return live.peak


def measure(
    name: str,
    chain: Chain,
    small: Chain,
    a: Tensor,
    u: Tensor,
    repeats: int,
    *,
    warmup: int = 0,
    most: float = math.inf,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, object]:
    """Peak memory of a step in bytes and, where `repeats` asks for it, the median of its seconds.

    Timed by `clock` are `repeats` steps, fewer where they take longer than `most` seconds together, after that of which
    the memory is taken and `warmup` others. `small` is a chain like `chain`, on which libraries take their own first.
    """
    regime, device = REGIMES[name], a.device.type
    for p in chain.parameters():
        p.grad = torch.zeros_like(p)

    def step() -> None:
        regime.gradients(chain, a, u, half_squared_error)
        if device == "cuda":
            torch.cuda.synchronize()

    regime.gradients(small, a, u, half_squared_error)
    there = [a, u, *chain.parameters(), *(p.grad for p in chain.parameters() if p.grad is not None)]
    row: dict[str, object] = {"bytes": peak(step, there, device)}
    for _ in range(warmup if repeats else 0):
        step()
    seconds: list[float] = []
    while len(seconds) < repeats and sum(seconds) < most:
        start = clock()
        step()
        seconds.append(clock() - start)
    return row | ({"seconds": statistics.median(seconds)} if repeats else {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--regimes", nargs="+", choices=REGIMES, default=list(REGIMES), metavar="NAME")
    parser.add_argument("--depths", type=int, nargs="+", default=[10, 50, 200])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--repeats", type=int, default=5, help="timed steps; 0 for none")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.manual_seed(0)
    a, u = torch.randn(2, *SHAPE, device=options.device)
    small = square_chain(5, options.device)
    for name, depth in itertools.product(options.regimes, options.depths):
        row = {"regime": name, "depth": depth, "device": options.device}
        row |= measure(name, square_chain(depth, options.device), small, a, u, options.repeats)
        if options.json:
            print(json.dumps(row))
        else:
            milliseconds = f"{1e3 * row['seconds']:8.1f} ms" if "seconds" in row else ""
            print(f"{row['regime']:36} depth {row['depth']:4}  {row['bytes'] / 2**20:8.1f} MiB  {milliseconds}")


if __name__ == "__main__":
    main()
