"""The image classification of MANO's paper (arXiv:2507.02748), as far as data come with Python packages.

    python benchmarks/papers/mano.py                      # all of it; goes on from its records
    python benchmarks/papers/mano.py --quick --out FILE

Operators of the suite, whose outputs are averaged over the grid and read by a linear head, on digits pixel by pixel and
on MNIST by patches of 4×4: published multipole attention (windows of 2×2 points at every point, two blocks), ViT (three
blocks, a token a point) and Swin (two blocks, windows of 4×4 tokens, the second shifted), of equal size to 1 %. Trained
from scratch with AdamW under cross-entropy, learning rates rising over the first fifth, gradients clipped; the paper
takes attention weights of a Swin that was trained on ImageNet. The learning rate is chosen.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from images import Part, parts
from networks import Pooled
from records import RESULTS, Cell, complete
from torch import nn
from torch.utils.data import TensorDataset

from pdebench_mano import build_operator
from pdebench_mano.training.fit import fit
from pdebench_mano.training.regimes import Backprop

OPERATORS: dict[str, Callable[..., nn.Module]] = {
    "MANO": partial(build_operator, "mano-published", width=32, depth=2, heads=4, head_dim=8, mlp_width=64),
    "ViT": partial(build_operator, "vit", width=32, depth=3, heads=4, mlp_ratio=2.75, spacing=None),
    "Swin": partial(build_operator, "swin", width=36, depths=(2,), heads=3, window=4, spacing=None),
}
RATES = (3e-4, 1e-3, 3e-3)
BATCH = 32
FEATURES = 32
PATCH = {"digits": 1, "mnist": 4}


def grid() -> list[Cell]:
    """All that is trained, in that order."""
    budgets = {"data": "digits", "epochs": 16, "seeds": 3}, {"data": "mnist", "epochs": 4, "seeds": 3}
    return [budget | {"network": name} for budget in budgets for name in OPERATORS]


def train(cell: Cell, known: Part, seed: int, lr: float) -> tuple[nn.Module, dict[str, Any]]:
    """A trained network, and nothing to add."""
    torch.manual_seed(seed)
    patch = PATCH[cell["data"]]
    network = Pooled(OPERATORS[cell["network"]](in_channels=patch**2, out_channels=FEATURES), FEATURES, patch)
    options = {"epochs": cell["epochs"], "batch_size": BATCH, "lr": lr, "seed": seed, "loss": "cross_entropy"}
    options |= {"schedule": "one-cycle", "clip_norm": 1.0}
    fit(network, Backprop(), TensorDataset(*known), device="cpu", **options)
    return network, {}


def settings(cell: Cell) -> list[dict[str, Any]]:
    """What is chosen from."""
    return [{"lr": lr} for lr in RATES]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS / "mano.jsonl")
    parser.add_argument("--quick", action="store_true", help="a tenth of the digits: whether it runs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cells = grid()
    if options.quick:
        cells = [cell | {"epochs": 1, "seeds": 1} for cell in cells if cell["data"] == "digits"]
    data = {name: parts(name, 10 if options.quick else 1) for name in dict.fromkeys(cell["data"] for cell in cells)}
    complete(options.out, cells, data, settings, train)


if __name__ == "__main__":
    main()
