"""Backpropagation (Rumelhart, Hinton & Williams 1986): the exact gradient, by autograd."""

from torch import Tensor, nn

from pdebench_mano.operator import Fields
from pdebench_mano.regimes.losses import Loss


class Backprop:
    """Trains any differentiable operator."""

    name = "backprop"

    def check(self, operator: nn.Module) -> None:
        pass

    def gradients(self, operator: nn.Module, a: Fields, u: Fields, loss: Loss) -> Tensor:
        value = loss(operator(a), u)
        value.backward()
        return value.detach()

    def retract(self, operator: nn.Module) -> None:
        """Orthogonal layers, where the operator has any, return to their constraint."""
        for module in operator.modules():
            retract = getattr(module, "retract", None)
            if callable(retract):
                retract()
