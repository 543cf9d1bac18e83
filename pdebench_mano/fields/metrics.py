"""Errors of predicted fields: one value per sample, means and spreads are the report's business.

`METRICS` lists those that every evaluation takes; a metric of one's own is a function of prediction and truth, and of
the inputs if it takes three, named as ``module:function`` or ``file.py:function``.

Every function takes prediction and truth as (batch, channels, height, width) in physical units and is a mean, so that
values at different resolutions can be compared:

========== ==================================================================================
norm       mean of a square
========== ==================================================================================
points     over grid points, whatever their kind
integral   over the unit square: the trapezoidal rule on vertices, where points of an edge count
           half and corners a quarter; on left and periodic grids, that over points
========== ==================================================================================

Lengths are parts of the sides, so that slopes and wave numbers are those of the unit square, whatever the box that the
problem lives on.

Both fields are divided by a power of two near max |t| of the sample first, which changes no bit of
a relative error and keeps squares of fields of any unit within the range of float32.
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
from pdebench_mano.fields.names import BAND_LABELS, BANDS
from pdebench_mano.fields.operator import Fields
from pdebench_mano.fields.steps import Rollouts

PerSample = Float[Tensor, " batch"]

JUMP = 1.5
"""Ratio between coefficients of one neighbourhood from which on they make a jump."""

JUMP_WIDTH = 1 / 40
"""How far from a jump a point is still near it."""


def order_one(truth: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch *ones"]:
    """The power of two that brings the largest |t| of each sample to [1/2, 1); one where the truth is zero.

    Fields near the ends of what floating point can hold come as close to that as a factor can bring them.
    """
    smallest = torch.finfo(truth.dtype).tiny
    largest = truth.detach().abs().flatten(1).amax(1).reshape(-1, *(1,) * (truth.ndim - 1))
    within = largest.clamp(smallest, 0.25 / smallest)
    return torch.where(largest == 0, torch.ones_like(within), torch.frexp(within).mantissa / within)


def trapezoidal(n: int, like: Tensor) -> Float[Tensor, " {n}"]:
    """Weights of the trapezoidal rule on the n vertices of (0, 1), which sum to one."""
    rule = torch.full((n,), 1 / (n - 1), device=like.device, dtype=like.dtype)
    rule[:: n - 1].div_(2)  # in place, not assigned: no copy from the host while a CUDA graph is recorded
    return rule


def weights(like: Fields, grid: Kind, norm: Norm) -> Float[Tensor, "height width"] | None:
    """Weights of the grid points of `like` in a mean, which sum to one; None where all count the same."""
    if norm == "points" or grid != "vertices":
        return None
    return trapezoidal(like.shape[-2], like)[:, None] * trapezoidal(like.shape[-1], like)


def slope_weights(
    like: Fields, grid: Kind, norm: Norm
) -> tuple[Float[Tensor, "_ width"], Float[Tensor, "height _"]] | tuple[None, None]:
    """The same of the differences along x and along y, which stand for the slopes between points."""
    if norm == "points" or grid != "vertices":
        return None, None
    x, y = trapezoidal(like.shape[-2], like), trapezoidal(like.shape[-1], like)
    dx, dy = 1 / (len(x) - 1), 1 / (len(y) - 1)
    return (dx * y).expand(len(x) - 1, -1), (dy * x[:, None]).expand(-1, len(y) - 1)


def _mean_square(field: Float[Tensor, "batch ..."], weights: Float[Tensor, "_ _"] | None = None) -> PerSample:
    if weights is None:
        return field.square().flatten(1).mean(1)
    return (field.square() * weights).sum((-2, -1)).mean(1)


def relative_l2(prediction: Fields, truth: Fields, grid: Kind = "vertices", norm: Norm = "points") -> PerSample:
    """‖u - t‖₂ / ‖t‖₂, dimensionless."""
    unit, counted = order_one(truth), weights(truth, grid, norm)
    return (_mean_square((prediction - truth) * unit, counted) / _mean_square(truth * unit, counted)).sqrt()


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
        return _mean_square(field, counted) + _mean_square(dx, along_x) + _mean_square(dy, along_y)

    unit = order_one(truth)
    return (square((prediction - truth) * unit) / square(truth * unit)).sqrt()


def max_error(prediction: Fields, truth: Fields) -> PerSample:
    """Largest |u - t| over channels and points, in the units of the field."""
    return (prediction - truth).abs().flatten(1).amax(1)


def cosine_spectrum(
    field: Fields, grid: Kind = "vertices", norm: Norm = "points"
) -> tuple[Fields, Float[Tensor, "height width"]]:
    """Energy of every cosine mode of `field`, and the frequency of each mode.

    As the Fourier transform of the field mirrored at its edges: unlike a plain Fourier transform it sees no jump
    where opposite edges differ. The mirror stands beyond the last point, which makes the orthonormal DCT-II; by
    integral on vertices it stands on that point, which makes the DCT-I, orthogonal under the trapezoidal rule.

    Returns
    -------
    energy : (batch, channels, height, width) tensor
        Sums to the sum of squares of the field (Parseval), edges counting half where the integral counts them so.
    frequency : (height, width) tensor
        Wave number |k| in cycles per unit length; a cosine with one extremum at each end has 1/2.
    """
    height, width = field.shape[-2:]
    on_points = norm == "integral" and grid == "vertices"
    inner = slice(1, -1) if on_points else slice(None)
    mirrored = torch.cat([field, field[..., inner, :].flip(-2)], -2)
    mirrored = torch.cat([mirrored, mirrored[..., inner].flip(-1)], -1)
    modes = torch.fft.fft2(mirrored, norm="ortho")[..., :height, :width].abs().square()
    i = torch.arange(height, device=field.device)
    j = torch.arange(width, device=field.device)
    alone = (height - 1, width - 1) if on_points else (0, 0)
    twice_i, twice_j = (i > 0) & (i != alone[0]), (j > 0) & (j != alone[1])
    multiplicity = torch.where(twice_i, 2, 1)[:, None] * torch.where(twice_j, 2, 1)
    # a mode that is not its own mirror image appears at ±k of the mirrored field, which holds every value four times
    return modes * multiplicity / 4, 0.5 * torch.hypot(i[:, None].to(field.dtype), j.to(field.dtype))


def fourier_spectrum(field: Fields) -> tuple[Fields, Float[Tensor, "height width"]]:
    """Energy of every Fourier mode of `field` on a periodic grid, and its wave number |k| in cycles per unit length.

    Energies, (batch, channels, height, width), sum to the sum of squares of the field (Parseval).
    """
    height, width = field.shape[-2:]
    k, l = (torch.fft.fftfreq(n, 1 / n, device=field.device, dtype=field.dtype) for n in (height, width))  # noqa: E741
    return torch.fft.fft2(field, norm="ortho").abs().square(), torch.hypot(k[:, None], l)


def mode_energies(
    field: Fields, grid: Kind = "vertices", norm: Norm = "points"
) -> tuple[Fields, Float[Tensor, "height width"]]:
    """Energies (batch, channels, height, width) and frequencies of the modes that suit a grid: waves, or cosines."""
    return fourier_spectrum(field) if grid == "periodic" else cosine_spectrum(field, grid, norm)


def shells(modes: Fields, frequency: Float[Tensor, "height width"], count: int) -> Float[Tensor, "batch {count}"]:
    """Energy at frequencies [k, k+1), k = 0, …, count - 1, over all channels."""
    bins = frequency.long().flatten()
    sums = modes.new_zeros(len(modes), int(bins.max()) + 1).index_add_(1, bins, modes.sum(1).flatten(1))
    return torch.nn.functional.pad(sums, (0, max(0, count - sums.shape[1])))[:, :count]


def spectrum_error(prediction: Fields, truth: Fields, grid: Kind = "vertices", norm: Norm = "points") -> PerSample:
    """Relative L2 difference of the amplitudes √E(k), E(k) the energy at frequencies [k, k+1), k below half the points.

    It does not see where anything is, but what is blurred.
    """
    unit, count = order_one(truth), truth.shape[-2] // 2
    amplitudes = [shells(*mode_energies(field * unit, grid, norm), count).sqrt() for field in (prediction, truth)]
    return (amplitudes[0] - amplitudes[1]).norm(dim=1) / amplitudes[1].norm(dim=1)


def energy(field: Fields, grid: Kind = "vertices", norm: Norm = "points") -> PerSample:
    """What the energies of `mode_energies` sum to, over channels and modes."""
    square, counted = field.square(), weights(field, grid, norm)
    if counted is not None:
        square = square * (counted * ((field.shape[-2] - 1) * (field.shape[-1] - 1)))
    return square.flatten(1).sum(1)


def band_errors(
    prediction: Fields,
    truth: Fields,
    bands: tuple[float, ...] = BANDS,
    grid: Kind = "vertices",
    norm: Norm = "points",
) -> Float[Tensor, "batch intervals"]:
    """Relative L2 error carried by each frequency band; the squares sum to `relative_l2` squared.

    Parameters
    ----------
    bands : tuple of float
        Increasing edges in cycles per unit length; n edges make n + 1 bands.

    Returns
    -------
    (batch, n + 1) tensor, from the lowest band to the highest
    """
    unit = order_one(truth)
    modes, frequency = mode_energies((prediction - truth) * unit, grid, norm)
    band = torch.bucketize(frequency, torch.tensor(bands, device=frequency.device, dtype=frequency.dtype), right=True)
    total = energy(truth * unit, grid, norm)
    parts = [(modes * (band == index)).flatten(1).sum(1) for index in range(len(bands) + 1)]
    return (torch.stack(parts, 1) / total[:, None]).sqrt()


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
