"""What a training regime is: a rule that fills `.grad`."""

from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from pdebench_mano.orthogonal import OrthogonalLayer
from pdebench_mano.orthogonal.polar import retract_
from pdebench_mano.training.losses import Inputs, Loss, Targets


@runtime_checkable
class TrainingRegime(Protocol):
    """One loop serves every regime: gradients → optimizer.step → retract."""

    name: str

    def check(self, operator: nn.Module) -> None:
        """Raise TypeError, saying what is missing, for an operator this regime cannot train."""

    def gradients(self, operator: nn.Module, a: Inputs, u: Targets, loss: Loss) -> Tensor:
        """Add to `.grad` of every parameter, as ``backward()`` does, and return the loss, detached.

        Parameters
        ----------
        operator : nn.Module
            A plain operator, or a `NormalizedOperator` with `a` and `u` in physical units.
        a, u : (batch, *shape) tensors
            Inputs and targets.
        loss : Loss
        """

    def retract(self, operator: nn.Module) -> None:
        """Bring constrained parameters back onto their constraint, after the step."""


def retract_layers(operator: nn.Module) -> None:
    """Let all constrained orthogonal layers of `operator`, if it has any, return to their constraint together."""
    layers = [m for m in operator.modules() if isinstance(m, OrthogonalLayer) and m.constrained]
    retract_(w for layer in layers for w in layer.matrices())
