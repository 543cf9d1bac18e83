"""Training over several steps in a row: an operator of one step rolled out, and the mean of its losses.

One step trains an operator on states of the data alone. Rolled out it meets its own, and is trained to go on from them
(Brandstetter, Worrall & Welling 2022, arXiv 2202.03376, §3.1, who cut the graph between steps); noise on the first
state stands for what earlier steps have left there (Sanchez-Gonzalez et al. 2020, arXiv 2002.09405, §4.3).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pdebench_mano.fields.operator import Fields
from pdebench_mano.fields.steps import Trajectories, roll
from pdebench_mano.training.losses import Batch, Loss
from pdebench_mano.training.options import Training


class Unrolled(nn.Module):
    """State and other inputs ↦ the next `steps` states; see `pdebench_mano.fields.steps.roll`."""

    def __init__(self, operator: nn.Module, steps: int, detach: bool) -> None:
        super().__init__()
        self.operator, self.steps, self.detach = operator, steps, detach

    def forward(self, a: Fields) -> Trajectories:
        return roll(self.operator, a, self.steps, self.detach)


def unrolled(operator: nn.Module, options: Training) -> nn.Module:
    """What the options train: the operator, or so many of its steps."""
    return operator if options.unroll == 1 else Unrolled(operator, options.unroll, options.detach)


def over_steps(loss: Loss, steps: int) -> Loss:
    """The mean of a loss over the steps of trajectories (batch, steps, channels, height, width)."""

    def each(of: Callable[[Batch, Batch], Tensor]) -> Callable[[Batch, Batch], Tensor]:
        return lambda y, t: of(y.flatten(0, 1), t.flatten(0, 1)).unflatten(0, (-1, steps))

    return Loss(
        f"{loss.name} over {steps} steps",
        lambda y, t: each(loss.samples)(y, t).mean(1),
        lambda y, t: each(loss.errors)(y, t) / steps,
    )


def disturbed(a: Fields, states: int, noise: float, draw: Callable[[torch.Size], Tensor]) -> Fields:
    """Add noise to the states, the first so many channels of `a` (batch, channels, height, width).

    `draw` gives standard normal numbers of a shape; they are multiplied by `noise` and by the standard deviation of
    each sample's own state over the grid.
    """
    state = a[:, :states]
    size = noise * state.std((-2, -1), keepdim=True)
    return torch.cat([state + size * draw(state.shape).to(state), a[:, states:]], 1)
