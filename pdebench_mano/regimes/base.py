"""What a training regime is: a rule that fills `.grad`."""

from typing import Protocol

from torch import Tensor, nn

from pdebench_mano.operator import Fields
from pdebench_mano.regimes.losses import Loss


class TrainingRegime(Protocol):
    """One loop serves every regime: gradients → optimizer.step → retract."""

    name: str

    def check(self, operator: nn.Module) -> None:
        """Raise TypeError, saying what is missing, for an operator this regime cannot train."""

    def gradients(self, operator: nn.Module, a: Fields, u: Fields, loss: Loss) -> Tensor:
        """Fill `.grad` of every parameter of `operator` and return the loss, detached."""

    def retract(self, operator: nn.Module) -> None:
        """Bring constrained parameters back onto their constraint, after the step."""
