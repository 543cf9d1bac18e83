import math

import pytest
import torch

from pdebench_mano.fields.operator import coordinates
from pdebench_mano.training.losses import half_squared_error
from pdebench_mano.training.sobolev import with_h1_term


@pytest.mark.parametrize(("grid", "norm"), [("vertices", "points"), ("vertices", "integral"), ("periodic", "integral")])
def test_written_out_error_is_the_derivative(grid, norm):
    generator = torch.Generator().manual_seed(0)
    y, t = torch.randn(2, 3, 2, 5, 7, generator=generator, dtype=torch.float64)
    loss = with_h1_term(half_squared_error, 0.3, grid, norm)
    y.requires_grad_()
    (derivative,) = torch.autograd.grad(loss.samples(y, t).sum(), y)
    torch.testing.assert_close(loss.errors(y.detach(), t), derivative)


def test_term_is_the_relative_error_of_the_slope():
    x, _ = coordinates(9, 5, dtype=torch.float64)
    t = (3 * x)[None, None]
    loss = with_h1_term(half_squared_error, 1.0)
    term = loss(1.5 * t, t) - half_squared_error(1.5 * t, t)
    assert math.isclose(term.item(), 0.5, rel_tol=1e-12)


def test_by_integral_slopes_along_an_edge_count_half():
    x, y = coordinates(9, 5, dtype=torch.float64)
    t = x[None, None]
    loss = with_h1_term(half_squared_error, 1.0, norm="integral")
    error = (x * y)[None, None]
    term = loss(t + error, t) - half_squared_error(t + error, t)
    squares = [1 / 3 + 1 / (6 * (n - 1) ** 2) for n in (9, 5)]  # of x and of y, by the trapezoidal rule
    assert math.isclose(term.item(), math.sqrt(sum(squares)), rel_tol=1e-12)  # |∇t| = 1
    plain = with_h1_term(half_squared_error, 1.0)
    assert not math.isclose((plain(t + error, t) - half_squared_error(t + error, t)).item(), term.item(), rel_tol=1e-2)


def test_on_a_periodic_grid_no_place_is_different_from_another():
    generator = torch.Generator().manual_seed(0)
    y, t = torch.randn(2, 3, 1, 8, 6, generator=generator, dtype=torch.float64)
    loss = with_h1_term(half_squared_error, 1.0, "periodic")
    moved = [each.roll((3, 1), (-2, -1)) for each in (y, t)]
    torch.testing.assert_close(loss.samples(*moved), loss.samples(y, t), rtol=1e-12, atol=0)
    torch.testing.assert_close(loss.errors(*moved), loss.errors(y, t).roll((3, 1), (-2, -1)), rtol=1e-12, atol=1e-12)
    x = coordinates(8, 6, grid="periodic", dtype=torch.float64)[0]
    waves = [torch.sin(2 * math.pi * k * x)[None, None] for k in (1, 2)]
    term = loss(waves[0] + waves[1], waves[0]) - half_squared_error(waves[0] + waves[1], waves[0])
    ratio = math.sin(2 * math.pi / 8) / math.sin(math.pi / 8)  # of the symbols of the difference
    assert math.isclose(term.item(), ratio, rel_tol=1e-12)
