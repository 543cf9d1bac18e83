"""The Fourier operator: neuraloperator's own where that is well defined, and one map on every grid elsewhere."""

import io
from itertools import pairwise

import pytest
import torch
from neuralop.layers.spectral_convolution import SpectralConv

from baselines.fno import FNO, FourierConv, resolved
from pdebench_mano.fields.operator import coordinates


def put_on(grid, operator):
    for module in operator.modules():
        if hasattr(module, "grid"):
            module.grid = grid
    return operator


def smooth(n, m, grid):
    x, y = coordinates(n, m, grid)
    return torch.exp(torch.sin(3 * x + 1) * torch.cos(2 * y))[None, None]


@pytest.mark.parametrize("rank", [1.0, 0.3])
def test_left_closed_periodic_layer_is_neuraloperators(rank):
    torch.manual_seed(0)
    operator = put_on("left", FNO(modes=6, width=8, depth=2, rank=rank))
    a = torch.randn(2, 1, 16, 20)
    ours = operator(a)
    for conv in operator.model.fno_blocks.convs:
        conv.__class__ = SpectralConv
    torch.testing.assert_close(ours, operator(a), rtol=0, atol=1e-6)


@pytest.mark.parametrize("period", [1.0, 1.25])
def test_layer_converges_at_the_order_of_the_trapezoidal_rule(period):
    torch.manual_seed(0)
    conv = FourierConv(1, 1, (4, 4), bias=False)
    conv.period = period
    with torch.no_grad():
        values = [conv(smooth(n, n, "vertices"))[..., :: (n - 1) // 8, :: (n - 1) // 8] for n in (9, 17, 33, 65)]
    steps = torch.stack([(b - a).norm() for a, b in pairwise(values)])
    assert torch.log2(steps[:-1] / steps[1:]).numpy() == pytest.approx(2, abs=0.1)


def test_odd_and_even_vertex_grids_give_the_same_function():
    """The FFT of neuraloperator 2.0.0 answers differently where the height is odd."""
    torch.manual_seed(0)
    operator = FNO(modes=4, width=8, depth=2)
    with torch.no_grad():
        odd, even = (operator(smooth(n, n, "vertices"))[0, 0] for n in (121, 118))
    torch.testing.assert_close(odd[::40, ::40], even[::39, ::39], rtol=0, atol=2e-3 * odd.abs().max().item())


def test_only_resolved_frequencies_are_used():
    assert resolved(17, 12, 1.0, "vertices") == range(-6, 6)
    assert resolved(9, 12, 1.0, "vertices") == range(-3, 4)
    assert resolved(8, 12, 1.0, "left") == range(-3, 4)
    assert resolved(8, 12, 1.5, "left") == range(-5, 6)


def test_state_holds_tensors_only():
    operator = FNO(width=8, depth=1)
    file = io.BytesIO()
    torch.save(operator.state_dict(), file)
    file.seek(0)
    operator.load_state_dict(torch.load(file, weights_only=True))


@pytest.mark.parametrize(("argument", "value"), [("modes", 1), ("period", 0.5), ("rank", 0.0)])
def test_bad_arguments_are_named(argument, value):
    with pytest.raises(ValueError, match=f"{argument} must be .* got {value}"):
        FNO(**{argument: value})


def test_autocast_rounds_no_wave():
    """Its products of float32 are of bfloat16 numbers, three digits of each coefficient."""
    torch.manual_seed(0)
    conv = FourierConv(2, 3, (6, 6))
    x = torch.randn(2, 2, 17, 20)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        rounded = conv(x)
    torch.testing.assert_close(rounded, conv(x), rtol=0, atol=0)
