import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from data_gen import Grid, generate
from pdebench_mano.evaluation.evaluate import evaluate, spectrum
from pdebench_mano.fields.data import DarcyDataset
from pdebench_mano.fields.metrics import METRICS, Compared, errors, max_error, relative_h1, relative_l2
from pdebench_mano.fields.names import LABELS
from pdebench_mano.fields.norms import order_one, weights
from pdebench_mano.fields.operator import coordinates
from pdebench_mano.fields.spectra import band_errors, cosine_spectrum, energy, mode_energies, shells, spectrum_error


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


def test_a_truth_that_is_zero_has_no_relative_error():
    zero, one = torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4)
    assert relative_l2(one, zero).item() == math.inf
    assert math.isnan(relative_l2(zero, zero).item())
    assert max_error(one, zero).item() == 1


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


def test_weights_are_those_of_the_grid_and_none_where_all_points_count_the_same():
    like = torch.zeros(1, 1, 5, 8, dtype=torch.float64)
    expected = torch.from_numpy(Grid((5, 8), "vertices").weights())
    torch.testing.assert_close(weights(like, "vertices", "integral"), expected)
    for grid in ("left", "periodic"):
        assert len(set(Grid((5, 8), grid).weights().flatten())) == 1
        u, t = fields(1)
        for metric in (relative_l2, relative_h1, band_errors, spectrum):
            assert torch.equal(metric(u, t, grid=grid, norm="integral"), metric(u, t, grid=grid)), metric.__name__


def test_h1_by_integral_of_a_bilinear_field_is_that_of_the_trapezoidal_rule():
    x, y = coordinates(11, 7, dtype=torch.float64)
    truth = torch.ones(1, 1, 11, 7, dtype=torch.float64)
    squares = [1 / 3 + 1 / (6 * (n - 1) ** 2) for n in (11, 7)]  # of x and of y: ∫x² and the rule's h²/6
    expected = math.sqrt(squares[0] * squares[1] + squares[0] + squares[1])
    assert relative_h1(truth + x * y, truth, norm="integral").item() == pytest.approx(expected, rel=1e-12)
    assert relative_h1(truth + x * y, truth).item() != pytest.approx(expected, rel=1e-3)


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


@pytest.mark.parametrize("cycles", [0, 0.5, 3, 8])
def test_a_cosine_on_vertices_is_one_mode_by_integral(cycles):
    x, _ = coordinates(17, 5, dtype=torch.float64)
    modes, frequency = cosine_spectrum(torch.cos(2 * math.pi * cycles * x)[None, None], norm="integral")
    (found,) = modes.flatten().gt(1e-20).nonzero()
    assert frequency.flatten()[found].item() == cycles


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


def test_waves_of_a_periodic_grid_have_their_own_frequency_and_all_of_the_energy():
    """Also where it is no whole number of half waves, as a cosine transform takes it for: a sine between edges."""
    x = torch.arange(32, dtype=torch.float64) / 32
    wave = torch.sin(2 * math.pi * (3 * x[:, None] + 4 * x))[None, None]
    modes, frequency = mode_energies(wave, "periodic")
    by_shell = shells(modes, frequency, 16)
    assert by_shell[0, 5].item() == pytest.approx(energy(wave).item())
    assert (by_shell.sum() - by_shell[0, 5]).item() < 1e-20
    assert modes.sum().item() == pytest.approx(energy(wave).item())


def test_slopes_of_a_periodic_grid_are_taken_across_its_edge_too():
    u = torch.rand(2, 1, 12, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    t = torch.rand(2, 1, 12, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    error = relative_h1(u, t, "periodic")
    torch.testing.assert_close(error, relative_h1(u.roll((5, 3), (2, 3)), t.roll((5, 3), (2, 3)), "periodic"))
    assert (error - relative_h1(u, t, "left")).abs().min() > 1e-4


def test_the_error_of_a_spectrum_is_blind_to_places_and_sees_what_is_lost():
    t = torch.rand(2, 1, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 0.5
    assert spectrum_error(t.roll(5, 2), t, "periodic").max() < 1e-12
    assert spectrum_error(0.75 * t, t, "periodic").tolist() == pytest.approx([0.25] * 2)


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
