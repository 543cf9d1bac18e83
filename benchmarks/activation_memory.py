"""Peak activation memory and time of one training step against depth, regime by regime.

    python benchmarks/activation_memory.py --depths 10 50 200 [--device cuda] [--json]

A square orthogonal MLP (ReLU) of width 64 on 4096 rows: one activation is 1 MiB, one weight 16 KiB. Weights, gradients
and the batch are there before the step and not counted. On a GPU the peak is the allocator's, on the CPU (Linux) that
of the resident set, for which the allocator must return what is freed: MALLOC_MMAP_THRESHOLD_=65536.
"Checkpointing" is backpropagation with activations kept at √depth places and recomputed between them
(Chen et al. 2016, arXiv:1604.06174).
"""

import argparse
import gc
import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint_sequential

from pdebench_mano.orthogonal import OrthogonalMLP
from pdebench_mano.regimes import Backprop, Foton, Pepita, TransportedFoton, half_squared_error

WIDTH, ROWS = 64, 4096


class Checkpointing(Backprop):
    """Backpropagation that stores √depth activations."""

    name = "checkpointing"

    def gradients(self, operator: nn.Module, a: Tensor, u: Tensor, loss: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        layers = nn.Sequential(*(nn.Sequential(layer, nn.ReLU()) for layer in operator.layers[:-1]), operator.head)
        segments = math.isqrt(len(layers))
        return super().gradients(lambda a: checkpoint_sequential(layers, segments, a, use_reentrant=False), a, u, loss)


REGIMES = [Foton(), TransportedFoton(), Pepita(), Foton(lockstep=False), Checkpointing(), Backprop()]


def name(regime: object) -> str:
    return f"{regime.name}{'' if getattr(regime, 'lockstep', True) else ', stored'}"


def peak(step: Callable[[], object], device: str) -> int:
    """Bytes that `step` needs at its peak beyond what is there before."""
    gc.collect()
    if device == "cuda":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        return torch.cuda.max_memory_allocated() - before
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark begins anew
    before = _resident("VmRSS")
    step()
    return _resident("VmHWM") - before


def _resident(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(field)).split()[1])


def measure(regime: Backprop, depth: int, device: str, repeats: int) -> dict[str, object]:
    torch.manual_seed(0)
    mlp = OrthogonalMLP([WIDTH] * (depth + 1)).to(device)
    a, u = torch.randn(2, ROWS, WIDTH, device=device)
    for p in mlp.parameters():
        p.grad = torch.zeros_like(p)

    def step() -> None:
        regime.gradients(mlp, a, u, half_squared_error)
        if device == "cuda":
            torch.cuda.synchronize()

    regime.gradients(OrthogonalMLP([WIDTH] * 5).to(device), a, u, half_squared_error)  # libraries take their own first
    memory = peak(step, device)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    row: dict[str, object] = {"regime": name(regime), "depth": depth, "device": device, "bytes": memory}
    return row | ({"seconds": sorted(seconds)[repeats // 2]} if repeats else {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depths", type=int, nargs="+", default=[10, 50, 200])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--repeats", type=int, default=5, help="timed steps; 0 for none")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = [measure(r, d, options.device, options.repeats) for r in REGIMES for d in options.depths]
    for row in rows:
        if options.json:
            print(json.dumps(row))
        else:
            milliseconds = f"{1e3 * row['seconds']:8.1f} ms" if "seconds" in row else ""
            print(f"{row['regime']:20} depth {row['depth']:4}  {row['bytes'] / 2**20:8.1f} MiB  {milliseconds}")


if __name__ == "__main__":
    main()
