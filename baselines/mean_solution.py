"""MeanSolution: the same field for every coefficient, what a model that has learned nothing should predict."""

import torch
from jaxtyping import Float
from torch import Tensor

from pdebench_mano.fields.data import View
from pdebench_mano.fields.operator import Fields


class MeanSolution:
    """Predicts the mean of the solutions it is given.

    Parameters
    ----------
    data : View
        Training samples, on the grid that predictions are made on; of rollouts, the mean is that of each time.
    """

    def __init__(self, data: View) -> None:
        self.grid = data.grid.kind
        total = torch.zeros(data.channels[1], *data.shape, dtype=torch.float64)
        for index in range(len(data)):
            total += data[index][1]
        self.mean: Float[Tensor, "outputs height width"] = total / len(data)

    def predict(self, a: Fields) -> Fields:
        """The mean (batch, outputs, height, width), whatever the inputs on that grid are."""
        return self.mean.to(a).expand(len(a), -1, -1, -1)
