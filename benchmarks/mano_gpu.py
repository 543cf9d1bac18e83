"""MANO beside FNO on one GPU, at the sizes of the suites: predictions, a training step, and what bfloat16 costs.

    python benchmarks/mano_gpu.py --out benchmarks/mano_gpu.json

Weights are random. Predictions are replayed CUDA graphs, FNO's in float32, whose convolutions torch takes in TF32
unless told not to, as it is for a second FNO, MANO's by bfloat16 autocast. A step is one of `fit` as the suites train:
batches of 8 at 85², Muon, gradient term, averaged weights, symmetries, replayed. Errors are of that precision against
float64, of a prediction and of all gradients together. Every part done is in the record.
"""

import argparse
import copy
import json
import statistics
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.utils.data import TensorDataset

from pdebench_mano import Backprop, build_operator, fit, normalized
from pdebench_mano.evaluation.timing.stopwatch import Stopwatch
from pdebench_mano.machine.graphs import recorded
from pdebench_mano.machine.provenance import commit

MANO: dict[str, Any] = {"width": 128, "depth": 8, "head_dim": 32, "mlp_width": 256}
OPERATORS: dict[str, tuple[str, dict[str, Any], str]] = {
    "fno": ("fno", {"modes": 24, "width": 64}, "float32"),
    "fno, without TF32": ("fno", {"modes": 24, "width": 64}, "float32"),
    "mano, lattice 1/21": ("mano", MANO | {"spacing": 1 / 21}, "bfloat16"),
    "mano, lattice 1/28": ("mano", MANO | {"spacing": 1 / 28}, "bfloat16"),
}
TRAINING: dict[str, Any] = {
    "epochs": 3, "batch_size": 8, "optimizer": "muon", "schedule": "one-cycle", "loss": "relative_l2", "h1": 0.3,
    "norm": "integral", "clip_norm": 1.0, "ema": 0.99, "symmetries": True,
}  # fmt: skip


def built(name: str, device: torch.device) -> nn.Module:
    operator, arguments, _ = OPERATORS[name]
    torch.manual_seed(0)
    return build_operator(operator, 1, 1, **arguments).to(device)


def smooth(samples: int, points: int) -> Tensor:
    return interpolate(torch.randn(samples, 1, 12, 12), (points, points), mode="bicubic").mul(0.5).exp()


def rounded(name: str, device: torch.device) -> Any:
    return torch.autocast(device.type, torch.bfloat16) if OPERATORS[name][2] == "bfloat16" else nullcontext()


def convolutions(name: str) -> Any:
    return torch.backends.cudnn.flags(enabled=True, allow_tf32="without TF32" not in name)


def prediction(name: str, points: int, batch: int, watch: Stopwatch) -> float:
    """Milliseconds a sample."""
    operator, a = built(name, watch.device).eval(), smooth(batch, points).to(watch.device)

    def predict() -> Tensor:
        with torch.no_grad(), rounded(name, watch.device):
            return operator(a)

    call = recorded(predict) if watch.device.type == "cuda" else predict
    return statistics.median(watch.milliseconds(call, watch.repeats)) / batch


def step(name: str, points: int, steps: int, device: torch.device) -> float:
    """Milliseconds of a training step: the last of three epochs, the first of which compiles and records."""
    a = smooth(8 * steps, points)
    data = TensorDataset(a, a.cumsum(-1).cumsum(-2) / points**2)
    operator = normalized(built(name, torch.device("cpu")), data)
    extra = {"precision": OPERATORS[name][2], "cuda_graphs": device.type == "cuda"}
    ends = [epoch["seconds"] for epoch in fit(operator, Backprop(), data, device=device, **TRAINING, **extra).epochs]
    return 1e3 * (ends[-1] - ends[-2]) / steps


def errors(name: str, points: int, device: torch.device) -> tuple[float, float]:
    """Relative errors of a prediction and of the gradient, rounded as in training, against float64."""
    operator, a = built(name, device), smooth(2, points).to(device)
    exact = copy.deepcopy(operator).double()
    u = exact(a.double())
    weights = torch.randn_like(u)
    theirs = torch.autograd.grad((u * weights).mean(), list(exact.parameters()))
    with rounded(name, device):
        v = operator(a)
        ours = torch.autograd.grad((v * weights.float()).mean(), list(operator.parameters()))
    away = sum((x - y).norm() ** 2 for x, y in zip(ours, theirs, strict=True)) / sum(y.norm() ** 2 for y in theirs)
    return ((v - u).norm() / u.norm()).item(), away.sqrt().item()


def measured(watch: Stopwatch, small: bool) -> Iterator[dict[str, Any]]:
    """Rows of everything; of small sizes, to see that the program runs."""
    grids = [(13, 1), (13, 2)] if small else [(85, 1), (85, 128), (421, 1), (421, 16)]
    for name in OPERATORS:
        row = {"operator": name, "precision": OPERATORS[name][2]}
        with convolutions(name):
            value, gradient = errors(name, grids[0][0], watch.device)
            yield row | {"points": grids[0][0], "error": value, "gradient_error": gradient}
            for points, batch in grids:
                yield row | {"points": points, "batch": batch, "ms_a_sample": prediction(name, points, batch, watch)}
            points, steps = (13, 2) if small else (85, 125)
            yield row | {"points": points, "batch": 8, "ms_a_step": step(name, points, steps, watch.device)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--small", action="store_true", help="tiny sizes, to see that it runs")
    options = parser.parse_args()
    watch = Stopwatch.on(repeats=1 if options.small else 7)
    about = {"device": watch.name, "torch": torch.__version__, "commit": commit()}
    rows: list[dict[str, Any]] = []
    for row in measured(watch, options.small):
        rows.append(row)
        print(*row.values(), flush=True)
        options.out.write_text(json.dumps(about | {"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
