"""Backpropagation (Rumelhart, Hinton & Williams 1986): the exact gradient, by autograd."""

from torch import Tensor, nn

from pdebench_mano.training.losses import Inputs, Loss, Targets
from pdebench_mano.training.regimes.base import retract_layers


class Backprop:
    """Trains any differentiable operator."""

    name = "backprop"

    def check(self, operator: nn.Module) -> None:
        pass

    def gradients(self, operator: nn.Module, a: Inputs, u: Targets, loss: Loss) -> Tensor:
        value = loss(operator(a), u)
        value.backward()
        return value.detach()

    def retract(self, operator: nn.Module) -> None:
        retract_layers(operator)
