"""Transolver: its slices as they are defined, its size as published, its cost linear in the points."""

import pytest
import torch

from baselines.transolver import COLDEST, WARMEST, SliceAttention, Transolver, distances
from pdebench_mano.benchmark.catalogue import parameter_count
from pdebench_mano.evaluation.flops import flops


def attention():
    torch.manual_seed(0)
    found = SliceAttention(heads=2, head_dim=6, slices=4).double()
    with torch.no_grad():
        found.temperature.copy_(torch.tensor([0.01, 0.7])[:, None, None])
    return found, *torch.randn(2, 3, 2, 20, 6, dtype=torch.float64)


def test_slices_are_weighted_means_that_attend_to_one_another():
    """Sample by sample, head by head, slice by slice, point by point."""
    slices, x, f = attention()
    found = slices(x, f)
    for i in range(3):
        for h in range(2):
            t = slices.temperature[h].clamp(COLDEST, WARMEST)
            w = torch.stack(
                [((slices.slice.weight @ x_n + slices.slice.bias) / t).flatten().softmax(0) for x_n in x[i, h]]
            )
            z = [sum(w[n, s] * f[i, h, n] for n in range(20)) / (w[:, s].sum() + 1e-5) for s in range(4)]
            q, k, v = ([m.weight @ each for each in z] for m in (slices.q, slices.k, slices.v))
            scores = torch.stack([torch.stack([q_s @ k_t for k_t in k]) for q_s in q]) / 6**0.5
            new = [sum(p * v_t for p, v_t in zip(row.softmax(0), v, strict=True)) for row in scores]
            y = torch.stack([sum(w[n, s] * new[s] for s in range(4)) for n in range(20)])
            torch.testing.assert_close(found[i, h], y, rtol=1e-10, atol=1e-12)


def test_slices_know_no_order_of_the_points():
    slices, x, f = attention()
    order = torch.randperm(20)
    torch.testing.assert_close(slices(x, f)[:, :, order], slices(x[:, :, order], f[:, :, order]), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "published"),
    [
        ({"in_channels": 1, "width": 128, "slices": 64}, 2_826_945),
        ({"in_channels": 0, "width": 128, "slices": 64, "reference": None}, 2_810_817),
        ({"in_channels": 10, "width": 256, "slices": 32}, 11_232_321),
    ],
    ids=["Darcy", "airfoil", "Navier-Stokes"],
)
def test_it_holds_what_the_authors_programs_hold(arguments, published):
    """But for the vector that stands for a field where none is given."""
    assert parameter_count(Transolver(depth=8, heads=8, **arguments)) == published - arguments["width"]


def test_its_cost_is_linear_in_the_points():
    operator = Transolver(width=16, depth=2, heads=2, slices=8, spacing=None)
    counts = [flops(operator, 1, (n, n)) for n in (8, 16, 24)]
    assert (counts[1] - counts[0]) * (24**2 - 16**2) == (counts[2] - counts[1]) * (16**2 - 8**2)


def test_on_a_grid_that_is_its_own_lattice_it_is_the_published_operator():
    torch.manual_seed(0)
    anchored = Transolver(width=16, depth=2, heads=2, spacing=1 / 16)
    published = Transolver(width=16, depth=2, heads=2, spacing=None)
    published.load_state_dict(anchored.state_dict())
    on_lattice, finer = torch.randn(1, 1, 17, 17), torch.randn(1, 1, 33, 33)
    torch.testing.assert_close(anchored(on_lattice), published(on_lattice), rtol=0, atol=1e-6)
    assert (anchored(finer) - published(finer)).abs().max() > 1e-5


def test_distances_are_the_shorter_way_on_a_periodic_grid():
    cpu = torch.device("cpu")
    found = {grid: distances(10, 10, 2, grid, cpu).unflatten(0, (2, 2)) for grid in ("vertices", "periodic")}
    assert found["periodic"][0, 0, 9, 0].item() == pytest.approx(0.1)
    assert found["periodic"][1, 1, 9, 2].item() == pytest.approx(0.5)  # from (0.9, 0.2) to (0.5, 0.5)
    assert found["vertices"][1, 1, 9, 0].item() == pytest.approx(1.0)
    assert found["vertices"][0, 0, 9, 9].item() == pytest.approx(2**0.5)
