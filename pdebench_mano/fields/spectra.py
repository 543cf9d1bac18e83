"""Fields by wave number: energies of modes, and errors in what they say."""

import torch
from jaxtyping import Float
from torch import Tensor

from data_gen.grid import Kind, Norm
from pdebench_mano.fields.names import BANDS
from pdebench_mano.fields.norms import PerSample, order_one, weights
from pdebench_mano.fields.operator import Fields


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
