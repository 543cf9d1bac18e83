"""The experiments of FOTON (arXiv:2512.20668), as far as data come with Python packages: digits, and a part of MNIST.

    python benchmarks/papers/foton.py                     # all of it; goes on from its records
    python benchmarks/papers/foton.py --quick --out FILE

Orthogonal networks without biases under cross-entropy and SGD, as in the authors' program; momentum .9 and a half
cosine of learning rates instead of steps, no dropout, and a last layer that is free, but in "MLP, orthogonal head",
which is the authors'. Learning rates are chosen, and for PEPITA whether to keep the constraint. `cosine` in a record is
that of the layer whose update is farthest from the gradient on a batch of training images, before and after training.
"""

import argparse
import itertools
import math
from pathlib import Path
from typing import Any

import torch
from images import Part, parts
from networks import Convolutional, Perceptron
from records import RESULTS, Cell, complete

from pdebench_mano.orthogonal import Chain
from pdebench_mano.training.losses import cross_entropy
from pdebench_mano.training.regimes import TrainingRegime, alignment, build_regime

RULES: dict[str, tuple[str, dict[str, Any]]] = {
    "backprop": ("backprop", {}),
    "foton": ("foton", {}),
    "foton, small step": ("foton", {"eta": 0.01}),
    "foton-latent": ("foton-latent", {}),
    "transported-foton": ("transported-foton", {}),
    "pepita": ("pepita", {}),
}
PAPERS = ("backprop", "foton", "foton-latent", "transported-foton", "pepita")
DEEP = ("backprop", "foton", "transported-foton", "pepita")
RATES = (0.01, 0.03, 0.1)
MOMENTUM = 0.9
BATCH = 64
WIDTH = 64
PATCH = {"digits": 2, "mnist": 4}


def grid() -> list[Cell]:
    """All that is trained, in that order."""
    digits, mnist = {"data": "digits", "epochs": 20, "seeds": 5}, {"data": "mnist", "epochs": 8, "seeds": 3}
    tables: list[tuple[dict[str, Any], str, tuple[int, ...], tuple[str, ...], tuple[str, ...]]] = [
        (digits, "MLP", (10, 50), ("tanh",), tuple(RULES)),
        (digits, "convolutions", (3,), ("tanh", "relu"), PAPERS),
        (digits, "MLP", (2, 3, 5), ("identity", "tanh", "relu", "gelu"), PAPERS),
        (digits | {"seeds": 3}, "MLP", (10,), ("identity", "relu", "gelu"), PAPERS),
        (digits | {"seeds": 3}, "MLP", (50,), ("identity", "relu", "gelu"), DEEP),
        (digits | {"seeds": 3}, "MLP, orthogonal head", (10, 50), ("tanh",), ("backprop", "foton")),
        (mnist, "MLP", (2, 10), ("tanh",), PAPERS),
    ]
    return [
        budget | {"network": network, "depth": depth, "activation": activation, "rule": rule}
        for budget, network, depths, activations, rules in tables
        for depth, activation, rule in itertools.product(depths, activations, rules)
    ]


def build(cell: Cell, side: int, constrained: bool) -> Chain:
    """An untrained network."""
    if cell["network"] == "convolutions":
        return Convolutional(side, PATCH[cell["data"]], cell["depth"], cell["activation"])
    widths, free = [side**2, *[WIDTH] * cell["depth"], 10], cell["network"] == "MLP"
    return Perceptron(widths, cell["activation"], free_head=free, constrained=constrained)


def train(cell: Cell, known: Part, seed: int, lr: float, constrained: bool) -> tuple[Chain, dict[str, Any]]:
    """A trained network, and the least cosine of a layer's update with the gradient before and after."""
    torch.manual_seed(seed)
    network = build(cell, known.images.shape[-1], constrained)
    name, arguments = RULES[cell["rule"]]
    regime = build_regime(name, **arguments)
    regime.check(network)
    optimizer = torch.optim.SGD(network.parameters(), lr, MOMENTUM)
    steps = cell["epochs"] * math.ceil(len(known.images) / BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    first = Part(known.images[:BATCH], known.labels[:BATCH])
    cosines = [least_cosine(network, regime, first)]
    for _ in range(cell["epochs"]):
        for batch in torch.randperm(len(known.images)).split(BATCH):
            optimizer.zero_grad()
            regime.gradients(network, known.images[batch], known.labels[batch], cross_entropy)
            optimizer.step()
            regime.retract(network)
            schedule.step()
    cosines.append(least_cosine(network, regime, first))
    return network, {"cosine": cosines}


def least_cosine(network: Chain, regime: TrainingRegime, batch: Part) -> float | None:
    """Between a layer's update and the gradient, where they differ most; none where one of them is not finite."""
    cosines = [cosine for cosine, _ in alignment(network, regime, *batch, cross_entropy).values()]
    return round(min(cosines), 4) if all(map(math.isfinite, cosines)) else None


def settings(cell: Cell) -> list[dict[str, Any]]:
    """What is chosen from: only PEPITA needs no constraint, and convolutions are orthogonal whatever their kernel."""
    kept = [{"lr": lr, "constrained": True} for lr in RATES]
    free = [{"lr": lr, "constrained": False} for lr in (*RATES, 0.3)]
    return kept + free if cell["rule"] == "pepita" and cell["network"] == "MLP" else kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS / "foton.jsonl")
    parser.add_argument("--quick", action="store_true", help="some networks, a tenth of the images: whether it runs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cells = grid()
    if options.quick:
        small = {"data": "digits", "depth": 3, "activation": "tanh"}
        cells = [cell | {"epochs": 1, "seeds": 1} for cell in cells if small.items() <= cell.items()]
    data = {name: parts(name, 10 if options.quick else 1) for name in dict.fromkeys(cell["data"] for cell in cells)}
    complete(options.out, cells, data, settings, train)


if __name__ == "__main__":
    main()
