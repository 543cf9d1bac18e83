"""Errors of predicted fields: one value per sample, means and spreads are the report's business.

`METRICS` lists those that every evaluation takes; a metric of one's own is a function of prediction and truth, and of
the inputs if it takes three, named as ``module:function`` or ``file.py:function``.

Every function takes prediction and truth as (batch, channels, height, width) in physical units and is a mean in one of
two norms, see `pdebench_mano.fields.norms`. Both fields are divided by a power of two near max |t| of the sample first,
which changes no bit of a relative error and keeps squares of fields of any unit within the range of float32.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import max_pool2d

from data_gen.grid import Kind, Norm
from data_gen.lookup import find, source_sha256
from pdebench_mano.fields.data import View
from pdebench_mano.fields.names import BAND_LABELS
from pdebench_mano.fields.norms import PerSample, mean_square, order_one, slope_weights, weights
from pdebench_mano.fields.operator import Fields
from pdebench_mano.fields.spectra import band_errors
from pdebench_mano.fields.steps import Rollouts

JUMP = 1.5
"""Ratio between coefficients of one neighbourhood from which on they make a jump."""

JUMP_WIDTH = 1 / 40
"""How far from a jump a point is still near it."""


def relative_l2(prediction: Fields, truth: Fields, grid: Kind = "vertices", norm: Norm = "points") -> PerSample:
    """‖u - t‖₂ / ‖t‖₂, dimensionless."""
    unit, counted = order_one(truth), weights(truth, grid, norm)
    return (mean_square((prediction - truth) * unit, counted) / mean_square(truth * unit, counted)).sqrt()


def relative_h1(prediction: Fields, truth: Fields, grid: Kind = "vertices", norm: Norm = "points") -> PerSample:
    """‖u - t‖ / ‖t‖ in H¹, ‖v‖² = ‖v‖₂² + ‖∂v/∂x‖₂² + ‖∂v/∂y‖₂² on the unit square.

    Derivatives are differences of neighbouring points over their distance, 1/(n-1) on
    vertices and 1/n on left and periodic grids; on a periodic one the last point is next to the first.
    """
    counted, (along_x, along_y) = weights(truth, grid, norm), slope_weights(truth, grid, norm)

    def slope(field: Fields, dim: int) -> Tensor:
        around = field.narrow(dim, 0, 1) if grid == "periodic" else None
        return field.diff(dim=dim, append=around) * (field.shape[dim] - (grid == "vertices"))

    def square(field: Fields) -> PerSample:
        dx, dy = slope(field, -2), slope(field, -1)
        return mean_square(field, counted) + mean_square(dx, along_x) + mean_square(dy, along_y)

    unit = order_one(truth)
    return (square((prediction - truth) * unit) / square(truth * unit)).sqrt()


def max_error(prediction: Fields, truth: Fields) -> PerSample:
    """Largest |u - t| over channels and points, in the units of the field."""
    return (prediction - truth).abs().flatten(1).amax(1)


@dataclass(frozen=True)
class Compared:
    """A batch of predictions beside what they should be.

    Attributes
    ----------
    prediction, truth : (batch, channels, height, width) tensors
        In physical units.
    a : (batch, inputs, height, width) tensor
        Inputs, on the grid of the truth.
    data : View
        What they are of.
    norm : {"points", "integral"}
    """

    prediction: Fields
    truth: Fields
    a: Fields
    data: View
    norm: Norm = "points"

    @cached_property
    def bands(self) -> Float[Tensor, "batch intervals"]:
        """See `band_errors`."""
        return band_errors(self.prediction, self.truth, grid=self.data.grid.kind, norm=self.norm)

    @cached_property
    def near(self) -> Bool[Tensor, "batch 1 height width"]:
        """Points near a jump of an input that is positive, see `near_jumps`."""
        return near_jumps(self.a[:, [channel for channel, field in enumerate(self.data.inputs) if field.positive]])

    def relative_l2(self, part: Bool[Tensor, "batch 1 height width"] | None = None) -> PerSample:
        """Relative L2 error, or its part on some points; squares of parts sum to its square."""
        prediction = self.prediction if part is None else torch.where(part, self.prediction, self.truth)
        return relative_l2(prediction, self.truth, self.data.grid.kind, self.norm)


@dataclass(frozen=True)
class Metric:
    """A measure of how far predictions are from the truth.

    Attributes
    ----------
    name : str
        In records, see `pdebench_mano.fields.names`.
    function : callable
        One value per sample of what is `Compared`; None where that is not known.
    applies : callable
        Whether it says anything of such data.
    """

    name: str
    function: Callable[[Compared], PerSample | None]
    applies: Callable[[View], bool] = lambda data: True


def _has_jumps(data: View) -> bool:
    return any(field.positive for field in data.inputs)


def _has_equation(data: View) -> bool:
    return data.dataset.problem is not None and not (isinstance(data, Rollouts) and bool(data.first))


def _band(index: int) -> Callable[[Compared], PerSample]:
    return lambda compared: compared.bands[:, index]


def residuals(compared: Compared) -> PerSample | None:
    """The residual of each prediction in its problem's own discrete equation; None where a sample has none."""
    data, a = compared.data, compared.a
    problem = data.dataset.problem
    assert problem is not None
    if isinstance(data, Rollouts):
        a = data.given(a)
    u = compared.prediction.unflatten(1, (-1, len(data.info.outputs)))
    pairs = zip(a.double().cpu().numpy(), u.double().cpu().numpy(), strict=True)
    values = [problem.residual(a_i, u_i, data.grid) for a_i, u_i in pairs]
    known = [value for value in values if value is not None]
    return torch.tensor(known) if len(known) == len(values) else None


METRICS = {
    metric.name: metric
    for metric in [
        Metric("relative_l2", lambda c: c.relative_l2()),
        Metric("relative_h1", lambda c: relative_h1(c.prediction, c.truth, c.data.grid.kind, c.norm)),
        Metric("max_error", lambda c: max_error(c.prediction, c.truth)),
        *(Metric(name, _band(index)) for index, name in enumerate(BAND_LABELS)),
        Metric("near_jumps", lambda c: c.relative_l2(c.near), _has_jumps),
        Metric("elsewhere", lambda c: c.relative_l2(~c.near), _has_jumps),
        Metric("residual", residuals, _has_equation),
    ]
}
"""What every evaluation takes, by name.

``near_jumps`` and ``elsewhere`` are the parts of the relative L2 error on points within 1/40 of a jump of an input that
is positive, and on the others; like those of the bands, their squares sum to its square. ``residual`` is that of the
problem's discrete equation on the grid of the prediction, where it has one.
"""


def errors(compared: Compared, own: Sequence[str] = ()) -> dict[str, PerSample]:
    """Every metric that applies, one value per sample each, and those of one's own.

    Raises
    ------
    ValueError
        As `own_metric`, and where such a function does not give a value for each sample.
    """
    found = {}
    for metric in (*METRICS.values(), *map(own_metric, own)):
        values = metric.function(compared) if metric.applies(compared.data) else None
        if values is not None:
            found[metric.name] = values
    return found


def own_metric(name: str) -> Metric:
    """A metric of one's own: a function (prediction, truth) or (prediction, truth, inputs) ↦ (batch,).

    It takes tensors (batch, channels, height, width) in physical units, and is called as the function is.

    Raises
    ------
    ValueError
        If there is no such function, it is called as a metric of the suite is, or takes something else.
    """
    function = find(name, {}, "metric")
    called = name.rpartition(":")[2]
    if called in METRICS:
        raise ValueError(f"metric {name!r} is called as one that is always taken, {called}: call it otherwise")
    if not callable(function) or (count := _arguments(function)) not in (2, 3):
        raise ValueError(f"metric {name!r} must be a function of (prediction, truth) or (prediction, truth, inputs)")

    def checked(compared: Compared) -> PerSample:
        try:
            values = function(*(compared.prediction, compared.truth, compared.a)[:count])
        except Exception as error:  # of the user's own function
            raise ValueError(f"metric {name!r}: {type(error).__name__}: {error}") from error
        if not isinstance(values, Tensor) or values.shape != compared.truth.shape[:1]:
            got = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise ValueError(f"metric {name!r} must give one value per sample, ({len(compared.truth)},), got {got}")
        return values.detach()

    return Metric(called, checked)


def _arguments(function: Callable[..., Any]) -> int:
    return sum(each.default is each.empty for each in inspect.signature(function).parameters.values())


def own_sources(names: Sequence[str]) -> dict[str, str | None]:
    """Metrics of one's own and the SHA-256 of the files that define them.

    Raises
    ------
    ValueError
        If there is no such file.
    """
    return {name: source_sha256(name, {}) for name in names}


def near_jumps(a: Fields) -> Bool[Tensor, "batch 1 height width"]:
    """Points of which some neighbour's value, at most `JUMP_WIDTH` away, is `JUMP` times that of another."""
    i, j = (max(1, round(JUMP_WIDTH * n)) for n in a.shape[-2:])

    def largest_nearby(field: Tensor) -> Tensor:
        along_x = max_pool2d(field, (2 * i + 1, 1), stride=1, padding=(i, 0))
        return max_pool2d(along_x, (1, 2 * j + 1), stride=1, padding=(0, j))

    return (largest_nearby(a) > -JUMP * largest_nearby(-a)).any(1, keepdim=True)
