"""Persistence: nothing changes, what a prediction in time has to be better than."""

from pdebench_mano.fields.operator import Fields
from pdebench_mano.fields.steps import Rollouts


class Persistence:
    """Predicts the state that it is given, at every time.

    Parameters
    ----------
    data : Rollouts
        Whose times are predicted.
    """

    def __init__(self, data: Rollouts) -> None:
        self.grid, self.states, self.steps = data.grid.kind, len(data.info.outputs), len(data.times)

    def predict(self, a: Fields) -> Fields:
        """The state of `a` (batch, states + other inputs, height, width), once for each time, stacked."""
        return a[:, : self.states].repeat(1, self.steps, 1, 1)
