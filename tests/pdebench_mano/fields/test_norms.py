"""Norms: means of squares by points and by integral, of fields of any unit, and what is measured in them."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from data_gen import Grid, generate
from pdebench_mano.evaluation.evaluate import evaluate, spectrum
from pdebench_mano.fields.data import DarcyDataset
from pdebench_mano.fields.metrics import Compared, errors, max_error, relative_h1, relative_l2
from pdebench_mano.fields.norms import order_one, weights
from pdebench_mano.fields.operator import coordinates
from pdebench_mano.fields.spectra import band_errors


def fields(seed, height=9, width=12, batch=3):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, batch, 2, height, width, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("largest", [1e-43, 1.2e-38, 1e-30, 1.0, 1e30, 3e38])
def test_the_scale_is_a_power_of_two_and_of_each_sample_its_own(largest):
    t = torch.tensor([largest, -1.5, 0.0])[:, None, None, None] * torch.tensor([1.0, 0.25]).reshape(1, 1, 1, 2)
    unit = order_one(t)
    assert unit.shape == (3, 1, 1, 1)
    assert (torch.frexp(unit).mantissa == 0.5).all()
    assert unit[1:].flatten().tolist() == [0.5, 1.0], "a truth that is zero stays as it is"
    assert 1e-6 < (t * unit)[0].max() <= 8, "within the range whose squares float32 holds"
    assert relative_l2(0.75 * t[:2], t[:2]).tolist() == pytest.approx(
        [0.25, 0.25], rel=1e-6 if largest > 1e-40 else 0.1
    )


def test_weights_are_those_of_the_grid_and_none_where_all_points_count_the_same():
    like = torch.zeros(1, 1, 5, 8, dtype=torch.float64)
    expected = torch.from_numpy(Grid((5, 8), "vertices").weights())
    torch.testing.assert_close(weights(like, "vertices", "integral"), expected)
    for grid in ("left", "periodic"):
        assert len(set(Grid((5, 8), grid).weights().flatten())) == 1
        u, t = fields(1)
        for metric in (relative_l2, relative_h1, band_errors, spectrum):
            assert torch.equal(metric(u, t, grid=grid, norm="integral"), metric(u, t, grid=grid)), metric.__name__


def plainly(u, t):
    """The relative errors by their definitions, which hold where squares are within the range of the type."""

    def mean_square(v):
        return v.square().flatten(1).mean(1)

    def h1(v):
        return mean_square(v) + mean_square(v.diff(dim=-2) * (v.shape[-2] - 1)) + mean_square(v.diff(dim=-1) * 11)

    return (mean_square(u - t) / mean_square(t)).sqrt(), (h1(u - t) / h1(t)).sqrt()


@given(st.integers(0, 100), st.floats(1e-3, 1e3), st.sampled_from([torch.float32, torch.float64]))
def test_no_bit_of_an_ordinary_error_depends_on_the_scaling(seed, unit, dtype):
    u, t = (unit * fields(seed)).to(dtype)
    l2, h1 = plainly(u, t)
    assert torch.equal(relative_l2(u, t), l2)
    assert torch.equal(relative_h1(u, t), h1)


@pytest.mark.parametrize("exponent", [-100, 100], ids=["1e-30", "1e30"])
@pytest.mark.parametrize("norm", ["points", "integral"])
def test_errors_of_fields_of_any_unit_are_those_of_fields_of_order_one(exponent, norm):
    """Squares of either leave the range of float32: without scaling 0, NaN or inf."""
    u, t = fields(0).float()
    c = 2.0**exponent
    for metric in (relative_l2, relative_h1, band_errors, spectrum):
        assert torch.equal(metric(c * u, c * t, norm=norm), metric(u, t, norm=norm)), metric.__name__
    assert torch.equal(max_error(c * u, c * t), c * max_error(u, t)), "in the units of the field"


def boundary(height, width):
    field = torch.ones(1, 1, height, width, dtype=torch.float64)
    field[..., 1:-1, 1:-1] = 0
    return field


@pytest.mark.parametrize(("height", "width"), [(9, 12), (2, 5), (3, 3)])
def test_an_error_on_the_boundary_counts_half_by_integral(height, width):
    error = 0.1 * boundary(height, width)
    truth = torch.ones_like(error)
    inside = (height - 2) * (width - 2)
    by_points = 0.1 * math.sqrt(1 - inside / (height * width))
    by_integral = 0.1 * math.sqrt(1 - inside / ((height - 1) * (width - 1)))
    assert relative_l2(truth + error, truth).item() == pytest.approx(by_points, rel=1e-12)
    assert relative_l2(truth + error, truth, norm="integral").item() == pytest.approx(by_integral, rel=1e-12)


def test_h1_by_integral_of_a_bilinear_field_is_that_of_the_trapezoidal_rule():
    x, y = coordinates(11, 7, dtype=torch.float64)
    truth = torch.ones(1, 1, 11, 7, dtype=torch.float64)
    squares = [1 / 3 + 1 / (6 * (n - 1) ** 2) for n in (11, 7)]  # of x and of y: ∫x² and the rule's h²/6
    expected = math.sqrt(squares[0] * squares[1] + squares[0] + squares[1])
    assert relative_h1(truth + x * y, truth, norm="integral").item() == pytest.approx(expected, rel=1e-12)
    assert relative_h1(truth + x * y, truth).item() != pytest.approx(expected, rel=1e-3)


@pytest.fixture(scope="module")
def view(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "darcy.hdf5"
    generate(path, 3, 17, seed=1, split=(0.0, 0.0, 1.0))
    return DarcyDataset(path, "test")


class WrongOnTheBoundary:
    """The labels, and .01 where they vanish at the walls."""

    grid = "vertices"

    def __init__(self, view):
        self.view = view

    def predict(self, a):
        return self.view.batch(range(len(a)))[1].to(a.device) + 0.01 * boundary(*a.shape[-2:]).to(a)


@pytest.mark.parametrize("norm", ["points", "integral"])
def test_every_part_of_an_error_is_by_the_norm_of_the_whole(view, norm):
    a, u = view.batch(range(3))
    generator = torch.Generator().manual_seed(0)
    found = errors(Compared(u + 0.01 * torch.randn(u.shape, generator=generator), u, a, view, norm))
    whole = found["relative_l2"].square()
    torch.testing.assert_close(found["near_jumps"].square() + found["elsewhere"].square(), whole)
    torch.testing.assert_close(sum(each.square() for name, each in found.items() if name.startswith("band")), whole)


def test_an_evaluation_has_the_norm_that_was_asked_for(view):
    """Labels vanish at the walls, so what counts of them is equal up to the number of points or cells."""
    points, integral = (
        evaluate(WrongOnTheBoundary(view), "wrong", view.dataset, [17], norm=norm)[0] for norm in ("points", "integral")
    )
    squares = (17**2 - 15**2), (16**2 - 15**2)
    ratio = math.sqrt(squares[1] / squares[0])
    assert integral.errors["relative_l2"] == pytest.approx([ratio * e for e in points.errors["relative_l2"]], rel=1e-4)
    assert integral.errors["max_error"] == points.errors["max_error"]
    whole = sum(integral.spectra.error)
    assert whole < sum(e**2 for e in integral.errors["relative_l2"]) / 3 < 1.2 * whole, "but for the last half bin"
