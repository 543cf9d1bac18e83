"""The error by which an epoch, or a setting, is chosen."""

from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset

from data_gen.grid import Kind, Norm
from pdebench_mano.fields.data import View, fetch
from pdebench_mano.fields.metrics import relative_l2
from pdebench_mano.fields.steps import Steps, roll
from pdebench_mano.machine.parallel import add, rank, world


@torch.no_grad()
def validate(
    operator: nn.Module, data: Dataset[Any], device: torch.device, batch_size: int = 32, norm: Norm = "points"
) -> float:
    """Mean over samples of the relative L2 error, computed in evaluation mode by all processes together.

    Of steps, a sample is a trajectory, and its error that of the rollout from its first state, over all times.
    """
    samples = len(data.samples) if isinstance(data, Steps) else len(data)  # type: ignore[arg-type]
    total = torch.zeros(2, dtype=torch.float64, device=device)
    mode = operator.training
    operator.eval()
    for start in range(rank() * batch_size, samples, world() * batch_size):
        indices = range(start, min(start + batch_size, samples))
        if isinstance(data, Steps):
            a, states = data.window(indices, len(data.times))
            u, prediction = states.flatten(1, 2), roll(operator, a.to(device), len(data.times)).flatten(1, 2)
        else:
            a, u = fetch(data, indices)
            prediction = operator(a.to(device))
        errors = relative_l2(prediction, u.to(device), kind_of(data), norm)
        total += torch.stack([errors.double().sum(), torch.tensor(len(errors), device=device)])
    operator.train(mode)
    add(total)
    return (total[0] / total[1]).item()


def kind_of(data: Dataset[Any]) -> Kind:
    """The kind of grid of a view; of other data, vertices, as `normalized` takes them."""
    return data.grid.kind if isinstance(data, View) else "vertices"
