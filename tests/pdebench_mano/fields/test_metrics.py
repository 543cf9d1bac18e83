"""Metrics: one value a sample, in no unit, and those of one's own."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from data_gen import generate
from pdebench_mano.fields.data import DarcyDataset
from pdebench_mano.fields.metrics import METRICS, Compared, errors, max_error, relative_h1, relative_l2
from pdebench_mano.fields.names import LABELS
from pdebench_mano.fields.operator import coordinates
from pdebench_mano.fields.spectra import band_errors


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


@pytest.mark.parametrize("grid", ["vertices", "left"])
def test_h1_norm_of_a_plane_is_exact(grid):
    x, y = coordinates(11, 7, grid, dtype=torch.float64)
    truth = (1 + 0 * x)[None, None]
    error = (2 * x - 3 * y)[None, None]
    expected = math.sqrt(error.square().mean().item() + 4 + 9)  # |∇(2x - 3y)|² = 13 at every point
    assert relative_h1(truth + error, truth, grid).item() == pytest.approx(expected, rel=1e-12)


def test_a_truth_that_is_zero_has_no_relative_error():
    zero, one = torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4)
    assert relative_l2(one, zero).item() == math.inf
    assert math.isnan(relative_l2(zero, zero).item())
    assert max_error(one, zero).item() == 1


def test_slopes_of_a_periodic_grid_are_taken_across_its_edge_too():
    u = torch.rand(2, 1, 12, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    t = torch.rand(2, 1, 12, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    error = relative_h1(u, t, "periodic")
    torch.testing.assert_close(error, relative_h1(u.roll((5, 3), (2, 3)), t.roll((5, 3), (2, 3)), "periodic"))
    assert (error - relative_h1(u, t, "left")).abs().min() > 1e-4


OWN = """
import torch

def bias(prediction, truth):
    return (prediction - truth).mean((1, 2, 3))

def missed_input(prediction, truth, a):
    return (prediction - a).abs().amax((1, 2, 3))

def mean_of_all(prediction, truth):
    return (prediction - truth).mean()

def broken(prediction, truth):
    raise KeyError("nothing")

def max_error(prediction, truth):
    return (prediction - truth).abs().amax((1, 2, 3))

def alone(prediction):
    return prediction
"""


@pytest.fixture
def compared(tmp_path, monkeypatch):
    """Three samples of Darcy flow, and something near their solutions; in a folder with metrics of one's own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(OWN)
    generate("d.hdf5", 3, (9, 9))
    view = DarcyDataset("d.hdf5")
    a, truth = view.batch(range(3))
    return Compared(truth + 0.01 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(0)), truth, a, view)


def test_every_metric_has_a_name_in_tables():
    assert list(METRICS) == list(LABELS)


def test_a_metric_of_ones_own_stands_beside_the_others(compared):
    found = errors(compared, ["own.py:bias", "own.py:missed_input"])
    assert list(found) == [*METRICS, "bias", "missed_input"]
    torch.testing.assert_close(found["bias"], (compared.prediction - compared.truth).mean((1, 2, 3)))
    torch.testing.assert_close(found["missed_input"], (compared.prediction - compared.a).abs().amax((1, 2, 3)))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("own.py:mean_of_all", r"must give one value per sample, \(3,\), got \(\)"),
        ("own.py:broken", "KeyError: 'nothing'"),
        ("own.py:max_error", "called as one that is always taken, max_error"),
        ("own.py:alone", "must be a function of .prediction, truth. or"),
        ("own.py:none", "has no none"),
        ("nowhere.py:bias", "there is no file"),
        ("bias", "is unknown: use module:name or file.py:name"),
    ],
)
def test_what_is_no_metric_is_refused_in_a_line(compared, name, message):
    with pytest.raises(ValueError, match=message):
        errors(compared, [name])
