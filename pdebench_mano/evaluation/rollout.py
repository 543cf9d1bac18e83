"""Predictions in time: an operator of one step, applied to what it has predicted."""

from typing import Any

from data_gen.grid import Kind
from pdebench_mano.fields.normalized import NormalizedOperator
from pdebench_mano.fields.operator import Fields
from pdebench_mano.fields.steps import Rollouts, Trajectories, roll


def rollout(operator: Any, a: Fields, steps: int) -> Trajectories:
    """The states that an operator of one step predicts, each from the one before.

    Parameters
    ----------
    operator : object with ``predict(a) -> u``
        A trained one, or a user's own.
    a : (batch, channels, height, width) tensor
        A state, and after its channels those of the inputs that are no state, in physical units.
    steps : int

    Returns
    -------
    (batch, steps, outputs, height, width) tensor

    Raises
    ------
    ValueError
        For fewer than one step, or a trained operator that was not trained on steps.
    """
    if isinstance(operator, NormalizedOperator):
        return operator.predict(a, steps=steps)
    return roll(operator.predict, a, steps)


class Rolled:
    """An operator of one step as a predictor of all states of `data`, stacked as they are there."""

    def __init__(self, operator: Any, data: Rollouts) -> None:
        self.operator, self.steps = operator, len(data.times)
        self.grid: Kind = operator.grid

    def predict(self, a: Fields) -> Fields:
        """States (batch, times · outputs, height, width) after that of `a`."""
        return rollout(self.operator, a, self.steps).flatten(1, 2)
