import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pdebench_mano.fields.metrics import band_errors, cosine_spectrum, max_error, relative_h1, relative_l2
from pdebench_mano.fields.operator import coordinates


def fields(seed, height=9, width=12, batch=3):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, batch, 2, height, width, generator=generator, dtype=torch.float64)


@given(st.integers(0, 100), st.floats(0.1, 10))
def test_relative_errors_do_not_depend_on_the_unit(seed, unit):
    u, t = fields(seed)
    for metric in (relative_l2, relative_h1, band_errors):
        torch.testing.assert_close(metric(unit * u, unit * t), metric(u, t))
    torch.testing.assert_close(max_error(unit * u, unit * t), unit * max_error(u, t))


def test_values_are_per_sample_not_of_the_batch():
    u, t = fields(0)
    for metric in (relative_l2, relative_h1, max_error, band_errors):
        together = metric(u, t)
        alone = torch.cat([metric(u[i : i + 1], t[i : i + 1]) for i in range(len(u))])
        torch.testing.assert_close(together, alone)


@given(st.integers(0, 100), st.integers(2, 9), st.integers(2, 9))
def test_bands_add_up_to_the_whole_error(seed, height, width):
    u, t = fields(seed, height, width)
    torch.testing.assert_close(band_errors(u, t, (0.6, 2.0)).square().sum(1).sqrt(), relative_l2(u, t))


def test_a_cosine_has_its_energy_at_its_own_frequency():
    n = 32
    x = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    field = torch.cos(2 * math.pi * 3 * x)[:, None].expand(n, n)[None, None]
    energy, frequency = cosine_spectrum(field)
    assert energy.sum().item() == pytest.approx(field.square().sum().item())
    assert frequency.flatten()[energy.flatten().argmax()].item() == 3


@pytest.mark.parametrize("grid", ["vertices", "left"])
def test_h1_norm_of_a_plane_is_exact(grid):
    x, y = coordinates(11, 7, grid, dtype=torch.float64)
    truth = (1 + 0 * x)[None, None]
    error = (2 * x - 3 * y)[None, None]
    expected = math.sqrt(error.square().mean().item() + 4 + 9)  # |∇(2x - 3y)|² = 13 at every point
    assert relative_h1(truth + error, truth, grid).item() == pytest.approx(expected, rel=1e-12)
