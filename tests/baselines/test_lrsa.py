"""LRSA: attention through latents as it is written down, one function on every grid, of bounded rank."""

import math

import pytest
import torch
from torch import nn

from baselines.lrsa import LRSA, Block, log_weights
from data_gen.grid import Grid
from pdebench_mano.evaluation.flops import flops
from pdebench_mano.fields.operator import coordinates, live_on


def block(width=8, heads=2, latents=3):
    torch.manual_seed(0)
    return Block(width, heads, latents, mlp_ratio=2.0).double()


def plain_attention(layer, x, others, weights):
    """Query by query and head by head, a mean of values with weights w exp(score)."""
    k, v = layer.kv(others).chunk(2, -1)
    q, d = layer.q(x), x.shape[-1] // layer.heads
    rows = []
    for q_m in q:
        heads = []
        for h in range(layer.heads):
            one = slice(h * d, (h + 1) * d)
            shares = torch.stack([w * (q_m[one] @ k_n[one] / d**0.5).exp() for w, k_n in zip(weights, k, strict=True)])
            heads.append(sum(p * v_n[one] for p, v_n in zip(shares / shares.sum(), v, strict=True)))
        rows.append(torch.cat(heads))
    return layer.out(torch.stack(rows))


def test_a_block_is_its_formula_with_the_weights_of_the_integral():
    layers, shape = block(), (4, 5)
    w = torch.from_numpy(Grid(shape).weights()).flatten()
    same = torch.ones(3, dtype=torch.float64)
    x = torch.randn(2, 20, 8, dtype=torch.float64)
    with torch.no_grad():
        found = layers(x, log_weights(*shape, "vertices", x.device, x.dtype))
        for x_i, found_i in zip(x, found, strict=True):
            n = layers.norm_points(x_i)
            z = plain_attention(layers.compress, layers.queries[0], n, w)
            own = layers.norm_process(z)
            z = z + plain_attention(layers.process, own, own, same)
            z = z + layers.mlp_z(layers.norm_z(z))
            y = x_i + plain_attention(layers.reconstruct, n, layers.norm_context(z), same)
            torch.testing.assert_close(found_i, y + layers.mlp_x(layers.norm_x(y)), rtol=0, atol=1e-12)


def test_gradients_are_those_of_finite_differences():
    layers = block(width=4, latents=2)
    x = torch.randn(1, 6, 4, dtype=torch.float64, requires_grad=True)
    bias = log_weights(2, 3, "vertices", x.device, x.dtype)
    names, values = zip(*layers.named_parameters(), strict=True)
    held = [value.detach().requires_grad_() for value in values]
    call = lambda x, *p: torch.func.functional_call(layers, dict(zip(names, p, strict=True)), (x, bias))  # noqa: E731
    assert torch.autograd.gradcheck(call, (x, *held), fast_mode=True)


def test_a_head_passes_on_no_more_than_its_latents_hold():
    """Without processing, norms and MLPs, with scores that see some channels and values in others: N×N of rank M."""
    heads, d, latents, points = 2, 4, 3, 12
    layers = block(heads * d, heads, latents)
    value = [h * d + d - 1 for h in range(heads)]  # the last channel of a head carries it, the others are for scores
    with torch.no_grad():
        for name in ("norm_points", "norm_process", "norm_z", "norm_context", "norm_x"):
            setattr(layers, name, nn.Identity())
        for last in (layers.process.out, layers.mlp_z[-1], layers.mlp_x[-1]):
            last.weight.zero_()
            last.bias.zero_()
        for attention in (layers.compress, layers.reconstruct):
            attention.q.weight[:, value] = attention.kv.weight[: heads * d, value] = 0
            for identity in (attention.kv.weight[heads * d :], attention.out.weight):
                identity.copy_(torch.eye(heads * d))
            attention.out.bias.zero_()
        where = torch.randn(points, heads * d, dtype=torch.float64)
        where[:, value] = 0
        for channel in value:
            x = where.repeat(points, 1, 1)
            x[:, :, channel] = torch.eye(points)
            passed = (layers(x) - x)[:, :, channel].T
            torch.testing.assert_close(passed.sum(1), torch.ones(points, dtype=torch.float64))
            sizes = torch.linalg.svdvals(passed)
            assert sizes[latents - 1] > 1e-6 * sizes[0]
            assert sizes[latents] < 1e-14 * sizes[0]


def step(operator, grid, coarse, fine):
    """The most that the output changes from one grid to a finer one, at the points of the coarsest, 8 intervals."""
    live_on(operator, grid)
    values = []
    for n in (coarse, fine):
        x, y = 2 * math.pi * coordinates(*[n + (grid == "vertices")] * 2, grid, dtype=torch.float64)
        wave = torch.sin(x + 1) * torch.cos(y) + torch.sin(2 * y - x)
        values.append(operator(wave[None, None])[..., :: n // 8, :: n // 8])
    return (values[1] - values[0]).abs().max().item()


def test_on_every_point_it_converges_as_the_quadrature_does():
    """Second order by the trapezoidal rule, first where a grid lacks an end, to rounding on a circle."""
    torch.manual_seed(0)
    operator = LRSA(width=16, depth=2, heads=2, latents=8, spacing=None).double()
    with torch.no_grad():
        for grid, order in (("vertices", 2), ("left", 1)):
            steps = [step(operator, grid, n, 2 * n) for n in (32, 64)]
            assert math.log2(steps[0] / steps[1]) == pytest.approx(order, abs=0.1), grid
        assert step(operator, "periodic", 64, 128) < 1e-12


def test_on_a_grid_that_is_its_own_lattice_a_spacing_changes_nothing():
    torch.manual_seed(0)
    anchored = LRSA(width=16, depth=2, heads=2, spacing=1 / 16)
    free = LRSA(width=16, depth=2, heads=2, spacing=None)
    free.load_state_dict(anchored.state_dict())
    on_lattice, finer = torch.randn(1, 1, 17, 17), torch.randn(1, 1, 33, 33)
    torch.testing.assert_close(anchored(on_lattice), free(on_lattice), rtol=0, atol=1e-6)
    assert (anchored(finer) - free(finer)).abs().max() > 1e-5


def test_on_a_periodic_grid_every_point_has_a_position_of_its_own():
    """Sines alone are the same at x and 1/2 - x, where a field that is the same everywhere would be, too."""
    torch.manual_seed(0)
    operator = LRSA(width=16, depth=1, heads=2)
    live_on(operator, "periodic")
    where = operator.positioned(torch.zeros(1, 1, 16, 12))[0, 1:].flatten(1).T
    nearest = torch.cdist(where, where).fill_diagonal_(math.inf).min()
    assert nearest == pytest.approx(2 * math.sin(math.pi / 16), rel=1e-4)


def test_in_mixed_precision_a_block_adds_what_it_does_in_float32_to_rounding():
    """The weights of the points, whose logarithms are rounded too, included."""
    layers = block(width=32, heads=4, latents=8).float()
    x = torch.randn(2, 9 * 9, 32)
    bias = log_weights(9, 9, "vertices", x.device, torch.float32)
    with torch.no_grad():
        exact = layers(x, bias)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = layers(x, bias.bfloat16())
    assert (rounded - exact).norm() < torch.finfo(torch.bfloat16).eps * (exact - x).norm()


def test_its_cost_is_linear_in_the_points():
    operator = LRSA(width=16, depth=2, heads=2, latents=8, spacing=None)
    counts = [flops(operator, 1, (n, n)) for n in (8, 16, 24)]
    assert (counts[1] - counts[0]) * (24**2 - 16**2) == (counts[2] - counts[1]) * (16**2 - 8**2)
