"""Losses of fields of any unit, by either norm: values, and derivatives that are theirs."""

import math

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from pdebench_mano.fields import metrics
from pdebench_mano.training.fit import fit
from pdebench_mano.training.losses import LOSSES, by_norm, half_squared_error, relative_l2
from pdebench_mano.training.regimes import Backprop
from pdebench_mano.training.sobolev import with_h1_term

NORMS = ("points", "integral")


def fields(dtype=torch.float64):
    return torch.randn(2, 3, 2, 5, 7, generator=torch.Generator().manual_seed(0), dtype=dtype)


def relative(norm, h1):
    loss = by_norm(relative_l2, "vertices", norm)
    return with_h1_term(loss, 0.3, "vertices", norm) if h1 else loss


def gradient(loss, y, t):
    y = y.clone().requires_grad_()
    loss.samples(y, t).sum().backward()
    return y.grad


def boundary(height, width):
    field = torch.ones(1, 1, height, width, dtype=torch.float64)
    field[..., 1:-1, 1:-1] = 0
    return field


@pytest.mark.parametrize("h1", [False, True])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("exponent", [-100, 100], ids=["1e-30", "1e30"])
def test_a_relative_loss_is_that_of_fields_of_order_one_and_its_derivative_scales(exponent, norm, h1):
    """Squared in float32 as they are, fields of 1e-30 have the loss NaN, and the learning rate is blamed."""
    y, t = fields(torch.float32)
    loss, c = relative(norm, h1), 2.0**exponent
    assert torch.equal(loss.samples(c * y, c * t), loss.samples(y, t))
    assert torch.equal(c * gradient(loss, c * y, c * t), gradient(loss, y, t))
    assert torch.equal(c * loss.errors(c * y, c * t), loss.errors(y, t))


def test_no_bit_of_an_ordinary_loss_depends_on_the_scaling():
    y, t = fields(torch.float32)

    def norm(v):
        return torch.linalg.vector_norm(v.flatten(1), dim=1)

    assert torch.equal(relative_l2.samples(y, t), norm(y - t) / norm(t))
    assert torch.equal(relative_l2.errors(y, t), (y - t) / (norm(y - t) * norm(t))[:, None, None, None])


@pytest.mark.parametrize("h1", [False, True])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("unit", [1e-200, 1.0])
def test_written_out_errors_and_autograd_are_the_slope_of_the_loss(unit, norm, h1):
    """At 1e-200 squares are zero in float64."""
    y, t = fields()
    loss, step = relative(norm, h1), 1e-6
    direction = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=y.dtype)
    up, down = (loss.samples(unit * (y + s * direction), unit * t) for s in (step, -step))
    slope = (up - down) / (2 * step)
    for derivative in (loss.errors(unit * y, unit * t), gradient(loss, unit * y, unit * t)):
        torch.testing.assert_close((unit * derivative * direction).flatten(1).sum(1), slope, rtol=1e-7, atol=1e-9)


def test_a_target_that_is_met_or_zero_has_the_error_that_it_had():
    t = torch.ones(1, 1, 4, 4)
    for norm in NORMS:
        loss = relative(norm, True)
        assert not loss.errors(t, t).any()
        assert torch.isfinite(loss.errors(t, 0 * t)).all()
    assert torch.equal(relative_l2.errors(t, 0 * t), t)
    assert relative_l2(t, 0 * t).item() == math.inf


def test_a_loss_by_integral_is_the_metric_by_integral():
    y, t = fields()
    loss = by_norm(relative_l2, "vertices", "integral")
    torch.testing.assert_close(loss.samples(y, t), metrics.relative_l2(y, t, norm="integral"))
    wrong, one = 0.1 * boundary(9, 12), torch.ones(1, 1, 9, 12, dtype=torch.float64)
    assert loss(one + wrong, one).item() == pytest.approx(0.1 * math.sqrt(1 - 7 * 10 / (8 * 11)), rel=1e-12)
    assert relative_l2(one + wrong, one).item() == pytest.approx(0.1 * math.sqrt(1 - 7 * 10 / (9 * 12)), rel=1e-12)


def test_where_all_points_count_the_same_the_loss_is_the_same():
    for grid in ("left", "periodic"):
        assert by_norm(relative_l2, grid, "integral") is relative_l2
    assert by_norm(relative_l2, "vertices", "points") is relative_l2
    assert by_norm(half_squared_error, "vertices", "integral") is half_squared_error


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("h1", [0.0, 0.3])
def test_training_and_validation_are_by_the_norm_that_was_asked_for(norm, h1):
    """With a step that changes nothing, the epoch has the loss and the validation error of the first weights."""
    a, u = fields(torch.float32)[:, :, :1]
    operator = nn.Conv2d(1, 1, 1)
    with torch.no_grad():
        y = operator(a)
    data = TensorDataset(a, u)
    history = fit(operator, Backprop(), data, validation=data, device="cpu", epochs=1, lr=1e-12, h1=h1, norm=norm)
    (row,) = history.epochs
    assert row["validation"] == pytest.approx(metrics.relative_l2(y, u, norm=norm).mean().item(), rel=1e-5)
    assert row["loss"] == pytest.approx(relative(norm, bool(h1))(y, u).item(), rel=1e-5)
    other = {"points": "integral", "integral": "points"}[norm]
    assert row["validation"] != pytest.approx(metrics.relative_l2(y, u, norm=other).mean().item(), rel=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")
@pytest.mark.parametrize("norm", NORMS)
def test_a_loss_can_be_recorded(norm):
    """Weights that were assigned from the host refuse it."""
    a, u = fields(torch.float32)[:, :, :1].cuda()
    losses = []
    for graphs in (False, True):
        torch.manual_seed(0)
        options = {"epochs": 2, "batch_size": 3, "h1": 0.3, "norm": norm, "cuda_graphs": graphs}
        history = fit(nn.Conv2d(1, 1, 1), Backprop(), TensorDataset(a, u), device="cuda", **options)
        losses.append([row["loss"] for row in history.epochs])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_every_loss_has_its_name():
    assert {name: loss.name for name, loss in LOSSES.items()} == {name: name for name in LOSSES}
