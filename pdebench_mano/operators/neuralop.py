"""Operators in neuraloperator's own training: its `Trainer` calls a model as ``model(x=…, y=…)``."""

from typing import Any

from torch import nn

from pdebench_mano.fields.operator import Fields


class TrainerModel(nn.Module):
    """An operator as neuraloperator's `Trainer` wants it.

    Parameters
    ----------
    operator : nn.Module
        Any operator of this suite, or a user's own; its parameters are trained in place.
    """

    def __init__(self, operator: nn.Module) -> None:
        super().__init__()
        self.operator = operator

    def forward(self, x: Fields, **_: Any) -> Fields:
        return self.operator(x)
