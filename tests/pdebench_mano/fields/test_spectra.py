"""Spectra: of which modes a field is, by points and by integral, and the errors in bands of them."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from data_gen import Grid
from pdebench_mano.fields.metrics import relative_l2
from pdebench_mano.fields.operator import coordinates
from pdebench_mano.fields.spectra import band_errors, cosine_spectrum, energy, mode_energies, shells, spectrum_error


def fields(seed, height=9, width=12, batch=3):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, batch, 2, height, width, generator=generator, dtype=torch.float64)


@given(st.integers(0, 100), st.integers(2, 9), st.integers(2, 9))
def test_bands_add_up_to_the_whole_error(seed, height, width):
    u, t = fields(seed, height, width)
    torch.testing.assert_close(band_errors(u, t, (0.6, 2.0)).square().sum(1).sqrt(), relative_l2(u, t))


@given(st.integers(0, 100), st.integers(2, 9), st.integers(2, 9))
def test_bands_add_up_to_the_whole_error_by_integral(seed, height, width):
    """The DCT-I is orthogonal under the trapezoidal rule; the DCT-II is not."""
    u, t = fields(seed, height, width)
    parts = band_errors(u, t, (0.6, 2.0), norm="integral")
    torch.testing.assert_close(parts.square().sum(1).sqrt(), relative_l2(u, t, norm="integral"))
    modes, _ = cosine_spectrum(u, norm="integral")
    torch.testing.assert_close(modes.sum((1, 2, 3)), energy(u, norm="integral"))
    cells = (height - 1) * (width - 1)
    mean = (u.square() * torch.from_numpy(Grid((height, width)).weights())).sum((1, 2, 3))
    torch.testing.assert_close(energy(u, norm="integral"), cells * mean)


def test_a_cosine_has_its_energy_at_its_own_frequency():
    n = 32
    x = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    field = torch.cos(2 * math.pi * 3 * x)[:, None].expand(n, n)[None, None]
    energy, frequency = cosine_spectrum(field)
    assert energy.sum().item() == pytest.approx(field.square().sum().item())
    assert frequency.flatten()[energy.flatten().argmax()].item() == 3


@pytest.mark.parametrize("cycles", [0, 0.5, 3, 8])
def test_a_cosine_on_vertices_is_one_mode_by_integral(cycles):
    x, _ = coordinates(17, 5, dtype=torch.float64)
    modes, frequency = cosine_spectrum(torch.cos(2 * math.pi * cycles * x)[None, None], norm="integral")
    (found,) = modes.flatten().gt(1e-20).nonzero()
    assert frequency.flatten()[found].item() == cycles


def test_waves_of_a_periodic_grid_have_their_own_frequency_and_all_of_the_energy():
    """Also where it is no whole number of half waves, as a cosine transform takes it for: a sine between edges."""
    x = torch.arange(32, dtype=torch.float64) / 32
    wave = torch.sin(2 * math.pi * (3 * x[:, None] + 4 * x))[None, None]
    modes, frequency = mode_energies(wave, "periodic")
    by_shell = shells(modes, frequency, 16)
    assert by_shell[0, 5].item() == pytest.approx(energy(wave).item())
    assert (by_shell.sum() - by_shell[0, 5]).item() < 1e-20
    assert modes.sum().item() == pytest.approx(energy(wave).item())


def test_the_error_of_a_spectrum_is_blind_to_places_and_sees_what_is_lost():
    t = torch.rand(2, 1, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 0.5
    assert spectrum_error(t.roll(5, 2), t, "periodic").max() < 1e-12
    assert spectrum_error(0.75 * t, t, "periodic").tolist() == pytest.approx([0.25] * 2)
