"""Operators on periodic grids: they keep the contract, and know no edge."""

import pytest
import torch

from pdebench_mano.fields.lattice import axis, interpolation, resample
from pdebench_mano.fields.operator import Operator, live_on
from pdebench_mano.mano.expansions import expand, gather
from pdebench_mano.mano.kernels import window_attention
from pdebench_mano.mano.kernels.wrapping import fold, wrap
from pdebench_mano.operators.contract import contract, smooth_coefficient
from pdebench_mano.operators.registry import OPERATORS, build_operator

SMALLER = {
    "mano": {"width": 8, "depth": 1, "heads": 2, "head_dim": 4, "mlp_width": 8, "spacing": 1 / 16},
    "mano-published": {"width": 8, "depth": 1, "heads": 2, "head_dim": 4, "mlp_width": 8, "levels": 2},
    "fno": {"width": 8, "modes": 8, "depth": 2},
    "tfno": {"width": 8, "modes": 8, "depth": 2},
    "uno": {"width": 8, "modes": 8},
    "swin": {"width": 12, "depths": (2,)},
    "orthogonal-conv": {"width": 4, "depth": 1},
    "transolver": {"width": 16, "depth": 1},
    "ho-fno": {"width": 8, "modes": 8, "depth": 2},
    "lrsa": {"width": 16, "depth": 1},
}


@pytest.mark.parametrize("name", OPERATORS)
def test_registered_operators_keep_the_contract_on_a_periodic_grid(name):
    torch.manual_seed(0)
    operator = build_operator(name, 1, 1, **SMALLER.get(name, {}))
    assert {check.name: check.detail for check in contract(operator, grid="periodic") if not check.holds} == {}


SHIFTS = {
    "mano": (16, {"spacing": 1 / 16, "window": 4, "stride": 2}),
    "mano-published": (16, {}),
    "fno": (1, {"period": 1.5}),
    "tfno": (1, {}),
    "uno": (2, {"modes": 8, "width": 8}),
    "vit": (4, {"spacing": 1 / 16, "patch": 2}),
    "swin": (16, {"spacing": 1 / 16, "depths": (2, 2)}),
    "unet": (8, {"spacing": 1 / 16}),
    "orthogonal-fno": (1, {}),
    "orthogonal-conv": (1, {"width": 8, "depth": 2}),
    "transolver": (2, {"reference": None}),
    "ho-fno": (1, {}),
}
"""By how many of 32 points fields move with their inputs: the coarsest lattice, stride or patch. (An orthogonal MLP has
a weight for each point.)"""


@pytest.mark.parametrize("name", SHIFTS)
def test_without_coordinates_an_operator_commutes_with_shifts_of_its_lattice(name, monkeypatch):
    zeros = lambda self, a: torch.cat([a, torch.zeros(len(a), 2, *a.shape[2:])], 1)  # noqa: E731
    monkeypatch.setattr(Operator, "with_coordinates", zeros)
    shift, arguments = SHIFTS[name]
    torch.manual_seed(0)
    operator = build_operator(name, 1, 1, **arguments).eval()
    a = torch.randn(1, 1, 32, 32)

    def moved(grid):
        live_on(operator, grid)
        with torch.no_grad():
            u, there = operator(a), operator(a.roll((shift, -shift), (2, 3)))
        return ((there.roll((-shift, shift), (2, 3)) - u).norm() / (u - u.mean()).norm()).item()

    assert moved("periodic") < 1e-4
    if not name.startswith("orthogonal") and name not in ("tfno",):
        assert moved("left") > 1e-3, "a grid that ends is another matter"


def test_coordinates_go_round():
    operator = Operator()
    operator.grid = "periodic"
    x, y = operator.with_coordinates(torch.zeros(1, 1, 64, 48))[0, 1:]
    for field, dim in ((x, 0), (y, 1)):
        steps = (field.roll(-1, dim) - field).abs()
        assert steps.max() < 2 * torch.pi / 48
        assert torch.allclose(field, -field.roll(field.shape[dim] // 2, dim), atol=1e-6)


@pytest.mark.parametrize("lattice", [8, 12])
def test_waves_go_to_the_lattice_and_back_at_second_order_without_an_edge(lattice):
    errors = []
    for n in (24, 48):
        w = smooth_coefficient(n, "periodic").double()
        back = resample(resample(w, (n // 2, n // 2), "periodic"), (n, n), "periodic")
        errors.append((back - w).abs().amax((0, 1)))
    for error in errors:
        assert error[0].max() < 1.5 * error[5:-5].max(), "an edge is no worse than what is inside"
    assert errors[0].max() / errors[1].max() == pytest.approx(4, rel=0.1)
    w = smooth_coefficient(24, "periodic").double()
    moments = gather(w.permute(0, 2, 3, 1), (lattice, lattice), "periodic")
    moved = gather(w.roll(6, 2).permute(0, 2, 3, 1), (lattice, lattice), "periodic")
    torch.testing.assert_close(moved, moments.roll(lattice // 4, 1))
    torch.testing.assert_close(expand(moved, (24, 24), "periodic"), expand(moments, (24, 24), "periodic").roll(6, 1))


def test_interpolation_goes_round_and_is_a_mean():
    fine, coarse = (axis(n, "periodic", torch.device("cpu")) for n in (12, 4))
    matrix = interpolation(fine, coarse, "periodic")
    torch.testing.assert_close(matrix.sum(1), torch.ones(12, dtype=torch.float64))
    torch.testing.assert_close(matrix[10], torch.tensor([1, 0, 0, 2], dtype=torch.float64) / 3)


@pytest.mark.parametrize(("window", "stride"), [(4, 2), (4, 4), (3, 1), (4, 1), (12, 4)])
def test_windows_that_go_round_are_those_of_the_definition(window, stride):
    """Every window of a circle, copied out of the repeated field and averaged point by point."""
    n, heads = 12, 2
    qkv = torch.randn(1, n, n, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = fold(window_attention(wrap(qkv, window, stride), heads, window, stride), (n, n), window, stride)
    total, count = torch.zeros(1, n, n, 4, dtype=torch.float64), torch.zeros(n, n, 1)
    for i in range(0, n, stride):
        for j in range(0, n, stride):
            rows, columns = (torch.arange(first, first + window) % n for first in (i, j))
            inside = qkv[:, rows][:, :, columns]
            attended = window_attention(inside, heads, window, window)
            for k, row in enumerate(rows):
                total[:, row, columns] += attended[:, k]
                count[row, columns] += 1
    torch.testing.assert_close(found, total / count)
