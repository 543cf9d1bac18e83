"""Errors of predictions in time: those of each state, and for how long a prediction is good.

States are stacked as those of `pdebench_mano.fields.steps.Rollouts`: (batch, times · outputs, height, width).
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from data_gen.grid import Grid, Norm
from pdebench_mano.fields.data import Dataset
from pdebench_mano.fields.metrics import relative_l2
from pdebench_mano.fields.names import FLUCTUATION, THRESHOLD
from pdebench_mano.fields.operator import Fields
from pdebench_mano.fields.spectra import spectrum_error
from pdebench_mano.fields.steps import Rollouts
from pdebench_mano.operators.registry import build_reference
from pdebench_mano.training.options import RunConfig
from pdebench_mano.training.runs import training_data

PerTime = Float[Tensor, "batch times"]
Mean = Float[Tensor, "1 _ height width"]


class TrainingMean:
    """The mean of the training samples, from which fluctuations are counted: at every time, on any grid.

    Parameters
    ----------
    config : RunConfig
        Which samples are trained on.
    data : Dataset
        Their file.
    """

    def __init__(self, config: RunConfig, data: Dataset) -> None:
        views, _ = training_data(config, data)
        self.data, self.samples = data, tuple(int(i) for i in views[0].samples)

    def on(self, truths: Rollouts) -> Mean | None:
        """The mean (1, times · outputs, height, width) at the times of `truths` and on its grid.

        That of the training data's own grid is interpolated, where it is a coarser one. None where they have other
        times.
        """
        if self.data.info.times != truths.info.times:
            return None
        known = self.data.grid.coarsenings()
        resolution = max([n for n in known if n <= truths.resolution], default=min(known))
        about = self.data.path, self.data.trust, self.data.info.digest
        return _mean(*about, self.samples, resolution, truths.start, truths.grid)


@lru_cache(maxsize=8)
def _mean(
    path: Path, trust: bool, digest: str, samples: tuple[int, ...], resolution: int, start: float, grid: Grid
) -> Mean:
    view = Rollouts(Dataset(path, trust), None, resolution, start=start, indices=samples, cache_bytes=0)
    mean = build_reference("upsampled", build_reference("mean", view), grid.shape)
    return mean.predict(torch.zeros(1, 1, *view.shape))


def errors_in_time(
    prediction: Fields, truth: Fields, data: Rollouts, mean: Mean | None, norm: Norm
) -> dict[str, PerTime]:
    """Errors of each state: relative to it, to what is left without the training mean, and of its spectrum.

    Parameters
    ----------
    prediction, truth : (batch, times · outputs, height, width) tensors
    data : Rollouts
        What they are.
    mean : (1, times · outputs, height, width) tensor, optional
        See `TrainingMean`.
    norm : {"points", "integral"}
    """
    times, grid = len(data.times), data.grid.kind
    states, truths = (each.unflatten(1, (times, -1)).flatten(0, 1) for each in (prediction, truth))
    found = {
        "relative_l2": relative_l2(states, truths, grid, norm),
        "spectrum_error": spectrum_error(states, truths, grid, norm),
    }
    if mean is not None:
        shift = mean.to(truth).expand_as(truth).unflatten(1, (times, -1)).flatten(0, 1)
        found[FLUCTUATION] = relative_l2(states - shift, truths - shift, grid, norm)
    return {metric: values.unflatten(0, (-1, times)) for metric, values in found.items()}


def time_until(
    errors: PerTime, start: float, times: Sequence[float], threshold: float = THRESHOLD
) -> Float[Tensor, " batch"]:
    """How long after `start`, where it is zero, an error that is linear between times is below a threshold.

    All the time that there is, where it never reaches it; an error that is not finite has reached it at once.

    Examples
    --------
    >>> time_until(torch.tensor([[0.1, 0.3], [0.1, 0.15], [0.4, 0.5]]), 10.0, [11.0, 12.0])
    tensor([1.5000, 2.0000, 0.5000])
    """
    at = torch.tensor([start, *times], dtype=errors.dtype, device=errors.device)
    errors = torch.cat([errors.new_zeros(len(errors), 1), errors], 1)
    over = ~(errors < threshold)
    last = over.long().argmax(1).clamp(min=1)
    before, after = (errors.gather(1, i[:, None])[:, 0] for i in (last - 1, last))
    share = ((threshold - before) / (after - before)).nan_to_num(0.0)
    reached = at[last - 1] + share * (at[last] - at[last - 1])
    return torch.where(over.any(1), reached, at[-1]) - start
