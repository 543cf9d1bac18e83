"""Time and memory of MANO against its published formulation on one GPU, and the accuracy of the kernels.

    python benchmarks/attention.py --out benchmarks/attention.json

Width 128, depth 8, 4 heads × 32, mlp 128, rate 2, batch 1, bfloat16 autocast; a step is forward, mean
squared error, backward and AdamW. Every part that is done is in the record, whatever fails after it.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pdebench_mano import MultipoleAttention
from pdebench_mano.machine.graphs import recorded
from pdebench_mano.mano.kernels import using, window_attention
from pdebench_mano.mano.model import PublishedMANO
from pdebench_mano.mano.unfolded import UnfoldedMANO

SETTINGS = {
    "2/1": {"window": 2, "stride": 1, "levels": 9},
    "8/4": {"window": 8, "stride": 4, "levels": 6},
}
MODEL: dict[str, Any] = {
    "width": 128, "depth": 8, "heads": 4, "head_dim": 32, "mlp_width": 128, "rate": 2, "coordinates": False,
}  # fmt: skip
GEOMETRIES = (
    ((2, 37, 53), 2, 1),
    ((1, 64, 64), 8, 4),
    ((1, 45, 38), 8, 4),
    ((1, 23, 30), 5, 3),
)


def milliseconds(call: Callable[[], Any], repeats: int) -> float:
    """Median time between events around a call."""
    call()
    times = []
    for _ in range(repeats):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in "se")
        start.record()
        call()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times)


def steps(operator: torch.nn.Module, n: int) -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
    """A training step and a prediction on an n × n grid."""
    a, u = torch.randn(1, 3, n, n, device="cuda"), torch.randn(1, 1, n, n, device="cuda")
    optimizer = torch.optim.AdamW(operator.parameters(), lr=1e-4, fused=True, capturable=True)

    def train() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16):
            loss = (operator(a) - u).square().mean()
        loss.backward()
        optimizer.step()
        return loss.detach()

    @torch.no_grad()
    def predict() -> Tensor:
        with torch.autocast("cuda", torch.bfloat16):
            return operator(a)

    return train, predict


def measure(kind: type[PublishedMANO], setting: dict[str, int], n: int, repeats: int, graphs: bool) -> dict[str, float]:
    """Milliseconds of a step and a prediction, launched one by one and as graphs, and GB at the peak of the step."""
    train, predict = steps(kind(3, 1, **MODEL, **setting).cuda(), n)
    train()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    result = {"step_ms": milliseconds(train, repeats)}
    result["peak_gb"] = torch.cuda.max_memory_allocated() / 1e9
    result["inference_ms"] = milliseconds(predict, repeats)
    if graphs:
        result["graph_step_ms"] = milliseconds(recorded(train), repeats)
        result["graph_inference_ms"] = milliseconds(recorded(predict), repeats)
    return result


def relative(value: Tensor, reference: Tensor) -> float:
    return float((value.detach().double() - reference.detach()).norm() / reference.detach().norm())


def attention_errors(shape: tuple[int, ...], window: int, stride: int, dtype: torch.dtype) -> dict[str, float]:
    """Relative L2 distance of the attention kernels to the definition in float64, values and gradients."""
    qkv = torch.randn(*shape, 384, device="cuda").to(dtype).requires_grad_()
    g = torch.randn(*shape, 128, device="cuda").to(dtype)
    y = window_attention(qkv, 4, window, stride, form="triton")
    exact = qkv.detach().double().requires_grad_()
    reference = window_attention(exact, 4, window, stride, form="windows")
    (ours,), (theirs,) = torch.autograd.grad(y, qkv, g), torch.autograd.grad(reference, exact, g.double())
    parts = zip("qkv", ours.chunk(3, -1), theirs.chunk(3, -1), strict=True)
    return {"value": relative(y, reference)} | {name: relative(a, b) for name, a, b in parts}


def layer_errors(shape: tuple[int, ...], window: int, stride: int, dtype: torch.dtype) -> dict[str, float]:
    """The same for a whole layer: x + z₀, its gradients by x and by every parameter."""
    layer = MultipoleAttention(128, 4, 32, window, stride, 2).cuda()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_((parameter + 0.1 * torch.randn_like(parameter)).to(dtype))
    x = torch.randn(*shape, 128, device="cuda").to(dtype).requires_grad_()
    g = torch.randn(*shape, 128, device="cuda").to(dtype)
    y = layer(x, residual=True) if dtype != torch.float32 else x + layer.multipoles(x)
    ours = torch.autograd.grad(y, [x, *layer.parameters()], g)
    layer.double()
    exact = x.detach().double().requires_grad_()
    with using("windows"):
        reference = layer(exact, residual=True)
    theirs = torch.autograd.grad(reference, [exact, *layer.parameters()], g.double())
    names = ["x", *(name for name, _ in layer.named_parameters())]
    parts = zip(names, ours, theirs, strict=True)
    return {"value": relative(y, reference)} | {name: relative(a, b) for name, a, b in parts}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out", type=Path, required=True)
    arguments.add_argument("--repeats", type=int, default=7)
    options = arguments.parse_args()
    torch.manual_seed(0)
    import triton

    record: dict[str, Any] = {
        "device": torch.cuda.get_device_name(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "triton": triton.__version__},
        "model": MODEL,
        "settings": SETTINGS,
        "repeats": options.repeats,
        "results": {},
    }

    def part(name: str, call: Callable[[], Any]) -> None:
        start = time.perf_counter()
        try:
            record["results"][name] = call()
        except Exception as error:
            record["results"][name] = {"failed": f"{type(error).__name__}: {error}"[:300]}
        torch.cuda.empty_cache()
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(record, indent=1))
        print(f"{time.perf_counter() - start:6.1f} s  {name}: {record['results'][name]}", flush=True)

    for name, setting in SETTINGS.items():
        part(f"{name} 512² fused", lambda s=setting: measure(PublishedMANO, s, 512, options.repeats, graphs=True))
        part(f"{name} 512² published", lambda s=setting: measure(UnfoldedMANO, s, 512, 3, graphs=False))
    for name, setting in SETTINGS.items():
        for n in (1024, 2048):
            part(f"{name} {n}² fused", lambda s=setting, m=n: measure(PublishedMANO, s, m, 3, graphs=True))
    for geometry in GEOMETRIES:
        for dtype in (torch.bfloat16, torch.float32):
            name = "{} {}/{} ".format(*geometry) + str(dtype).removeprefix("torch.")
            part(f"attention {name}", lambda g=geometry, d=dtype: attention_errors(*g, d))
            part(f"layer {name}", lambda g=geometry, d=dtype: layer_errors(*g, d))


if __name__ == "__main__":
    main()
