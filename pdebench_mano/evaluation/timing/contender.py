"""What is timed: something that is ready for batches of one size on one grid, and the samples that it is timed on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from data_gen.grid import Grid
from data_gen.recipe import Recipe
from data_gen.samples import draw_all
from pdebench_mano.evaluation.timing.rows import About
from pdebench_mano.fields.data import Dataset, View
from pdebench_mano.fields.operator import Fields

Predict = Callable[[Tensor], Tensor]

FEW = 8
"""Samples that latencies are means over and tolerances are chosen on."""


@dataclass(frozen=True)
class Drawn:
    """The first samples of a view, drawn again on the finer grid that their labels were solved for on."""

    view: View
    recipe: Recipe

    @property
    def dataset(self) -> Dataset:
        return self.view.dataset

    @property
    def grid(self) -> Grid:
        return self.recipe.solved_on

    @property
    def resolution(self) -> int:
        return self.grid.shape[0]

    def __len__(self) -> int:
        return min(FEW, len(self.view))

    def batch(self, indices: Sequence[int]) -> tuple[Fields, Fields]:
        """Inputs on the finer grid, (batch, inputs, n, m); solutions there are not known, and NaN."""
        numbers = [int(self.view.samples[i]) for i in indices]
        a = torch.from_numpy(draw_all(self.recipe, self.grid, numbers)).float()
        return a, torch.full((len(a), len(self.dataset.info.outputs), *self.grid.shape), torch.nan)


@dataclass(frozen=True)
class Contender:
    """What can be timed on one grid.

    Attributes
    ----------
    about : About
    view : View
        The samples that it is timed on.
    ready : callable
        (inputs of a batch, tolerance) ↦ what predicts for batches of that shape.
    tolerances : tuple of float
        To choose from; none of an operator, one where there is no choice.
    largest : int
        Most samples in a batch.
    """

    about: About
    view: View | Drawn
    ready: Callable[[Tensor, float | None], Predict]
    tolerances: tuple[float, ...]
    largest: int
