"""Errors of predicted fields: one value per sample, means and spreads are the report's business.

Every function takes prediction and truth as (batch, channels, height, width) in
physical units and is a mean over grid points, so that values at different
resolutions can be compared.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from pdebench_mano.fields.operator import Fields, Grid

PerSample = Float[Tensor, " batch"]

BANDS = (4.0, 16.0)
"""Edges between low, middle and high frequencies, in cycles per unit length."""


def _mean_square(field: Float[Tensor, "batch ..."]) -> PerSample:
    return field.square().flatten(1).mean(1)


def relative_l2(prediction: Fields, truth: Fields) -> PerSample:
    """‖u - t‖₂ / ‖t‖₂, dimensionless."""
    return (_mean_square(prediction - truth) / _mean_square(truth)).sqrt()


def relative_h1(prediction: Fields, truth: Fields, grid: Grid = "vertices") -> PerSample:
    """‖u - t‖ / ‖t‖ in H¹, ‖v‖² = ‖v‖₂² + ‖∂v/∂x‖₂² + ‖∂v/∂y‖₂² on the unit square.

    Derivatives are differences of neighbouring points over their distance, 1/(n-1) on
    vertices and 1/n on a left grid.
    """

    def square(field: Fields) -> PerSample:
        ends = 1 if grid == "vertices" else 0
        dx = field.diff(dim=-2) * (field.shape[-2] - ends)
        dy = field.diff(dim=-1) * (field.shape[-1] - ends)
        return _mean_square(field) + _mean_square(dx) + _mean_square(dy)

    return (square(prediction - truth) / square(truth)).sqrt()


def max_error(prediction: Fields, truth: Fields) -> PerSample:
    """Largest |u - t| over channels and points, in the units of the field."""
    return (prediction - truth).abs().flatten(1).amax(1)


def cosine_spectrum(field: Fields) -> tuple[Fields, Float[Tensor, "height width"]]:
    """Energy of every cosine mode of `field`, and the frequency of each mode.

    The orthonormal DCT-II, as the Fourier transform of the field mirrored at its edges:
    unlike a plain Fourier transform it sees no jump where opposite edges differ.

    Returns
    -------
    energy : (batch, channels, height, width) tensor
        Sums to the sum of squares of the field (Parseval).
    frequency : (height, width) tensor
        Wave number |k| in cycles per unit length; a cosine with one extremum at each end has 1/2.
    """
    height, width = field.shape[-2:]
    mirrored = torch.cat([field, field.flip(-2)], -2)
    mirrored = torch.cat([mirrored, mirrored.flip(-1)], -1)
    modes = torch.fft.fft2(mirrored, norm="ortho")[..., :height, :width].abs().square()
    i = torch.arange(height, device=field.device)
    j = torch.arange(width, device=field.device)
    multiplicity = torch.where(i > 0, 2, 1)[:, None] * torch.where(j > 0, 2, 1)
    # each mode but the constant appears at ±k of the mirrored field, which holds every value four times
    return modes * multiplicity / 4, 0.5 * torch.hypot(i[:, None].to(field.dtype), j.to(field.dtype))


def band_errors(
    prediction: Fields, truth: Fields, bands: tuple[float, ...] = BANDS
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
    energy, frequency = cosine_spectrum(prediction - truth)
    band = torch.bucketize(frequency, torch.tensor(bands, device=frequency.device, dtype=frequency.dtype), right=True)
    total = truth.square().flatten(1).sum(1)
    parts = [(energy * (band == index)).flatten(1).sum(1) for index in range(len(bands) + 1)]
    return (torch.stack(parts, 1) / total[:, None]).sqrt()
