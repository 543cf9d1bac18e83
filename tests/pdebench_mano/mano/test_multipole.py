"""Multipole attention and MANO against reference values and against the published formulation."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pdebench_mano import MANO, MultipoleAttention
from pdebench_mano.mano.unfolded import UnfoldedAttention


def cases(path):
    with np.load(path) as data:
        for name in sorted({key.split("/")[0] for key in data}):
            arrays = {key.removeprefix(f"{name}/"): data[key] for key in data if key.startswith(f"{name}/")}
            config = json.loads(str(arrays.pop("config")))
            tensors = {key: torch.from_numpy(value) for key, value in arrays.items()}
            state = {k.removeprefix("state/"): v for k, v in tensors.items() if k.startswith("state/")}
            yield config, state, tensors["input"], tensors["output"]


def published(module, arguments):
    """The same layer in the published formulation, sharing its parameters."""
    other = UnfoldedAttention(*arguments).double()
    for name in ("window_norm", "norm", "qkv", "out", "down", "up"):
        setattr(other, name, getattr(module, name))
    return other


def relative(value, reference):
    return float((value - reference).detach().norm() / reference.detach().norm())


def test_attention_reproduces_the_reference(golden):
    for config, state, x, y in cases(golden / "mano_multipole_attention.npz"):
        del config["height"], config["width"]
        module = MultipoleAttention(**config).double()
        module.load_state_dict(state)
        assert (module(x) - y).abs().max() < 1e-12, config


def test_model_reproduces_the_reference(golden):
    for config, state, x, y in cases(golden / "mano_model.npz"):
        del config["size"]
        model = MANO(**config, coordinates=False, spacing=None).double()
        model.load_state_dict(state)
        assert (model(x) - y).abs().max() < 1e-12, config


@settings(max_examples=20, deadline=None)
@given(
    window=st.integers(1, 4),
    data=st.data(),
    rate=st.sampled_from([2, 3]),
    sampling=st.sampled_from(["conv", "avg_pool"]),
)
def test_equals_the_published_formulation(window, data, rate, sampling):
    stride = data.draw(st.integers(1, window))
    height, width = (window + stride * data.draw(st.integers(0, 4)) for _ in "hw")
    arguments = (6, 2, 3, window, stride, rate, 1, sampling)
    module = MultipoleAttention(*arguments).double()
    x = torch.randn(2, height, width, 6, dtype=torch.float64)
    assert relative(module(x), published(module, arguments)(x)) < 1e-12


@pytest.mark.parametrize(("window", "stride", "sampling"), [(2, 1, "conv"), (4, 2, "avg_pool"), (4, 4, "conv")])
def test_gradients_equal_the_published_formulation(window, stride, sampling):
    arguments = (8, 2, 4, window, stride, 2, None, sampling)
    module = MultipoleAttention(*arguments).double()
    x = torch.randn(2, 16, 32, 8, dtype=torch.float64, requires_grad=True)
    variables = [x, *module.parameters()]
    g = torch.randn_like(x)
    ours = torch.autograd.grad(module(x), variables, g)
    theirs = torch.autograd.grad(published(module, arguments)(x), variables, g)
    for a, b in zip(ours, theirs, strict=True):
        assert relative(a, b) < 1e-12


def test_flush_windows_attend_every_point_inside_its_windows():
    """On 5 points with window 4, stride 2 the windows are [0, 4) and [1, 5): the ends see one, the rest both."""
    module = MultipoleAttention(4, 1, 4, window=4, stride=2, rate=2, levels=1).double()
    x = torch.randn(1, 5, 4, 4, dtype=torch.float64)
    first, second = module.attend(x[:, :4]), module.attend(x[:, 1:])
    y = module(x)
    torch.testing.assert_close(y[:, :1], first[:, :1])
    torch.testing.assert_close(y[:, 4:], second[:, 3:])
    torch.testing.assert_close(y[:, 1:4], (first[:, 1:] + second[:, :3]) / 2)


def test_grid_smaller_than_the_window_is_one_window():
    small = MultipoleAttention(4, 2, 2, window=3, stride=3, rate=2)
    large = MultipoleAttention(4, 2, 2, window=8, stride=4, rate=2)
    large.load_state_dict(small.state_dict())
    x = torch.randn(1, 3, 3, 4)
    torch.testing.assert_close(large(x), small(x))


def test_restriction_of_an_odd_grid_repeats_its_edge():
    module = MultipoleAttention(3, 1, 3, window=2, stride=2, rate=2)
    x = torch.randn(1, 5, 7, 3)
    repeated = x[:, [0, 1, 2, 3, 4, 4]][:, :, [0, 1, 2, 3, 4, 5, 6, 6]]
    torch.testing.assert_close(module.restrict(x), module.restrict(repeated))
    assert module(x).shape == x.shape


@pytest.mark.parametrize(
    ("shape", "window", "rate", "asked", "levels"),
    [
        ((512, 512), 2, 2, None, 9),
        ((512, 512), 8, 2, None, 7),
        ((85, 421), 4, 2, None, 5),
        ((243, 243), 3, 3, None, 5),
        ((242, 243), 3, 3, None, 4),
        ((5, 5), 8, 2, None, 1),
        ((16, 16), 2, 2, 9, 4),
        ((16, 16), 2, 2, 2, 2),
    ],
)
def test_number_of_levels(shape, window, rate, asked, levels):
    """1 + ⌊log_r(min/k)⌋, in integers: the floating logarithm of 243/3 to base 3 is below 4."""
    assert MultipoleAttention(1, 1, 1, window, 1, rate, levels=asked).depth(*shape) == levels


def test_projections_are_applied_once_per_point():
    module = MultipoleAttention(8, 2, 4, window=4, stride=1, rate=2)
    rows = {"qkv": 0, "out": 0, "window_norm": 0, "norm": 0}

    def count(name):
        def hook(_, inputs):
            rows[name] += inputs[0].shape[:-1].numel()

        return hook

    for name in rows:
        getattr(module, name).register_forward_pre_hook(count(name))
    module(torch.randn(1, 16, 16, 8))
    assert set(rows.values()) == {16**2 + 8**2 + 4**2}


@pytest.mark.parametrize(
    "argument", [{"stride": 5}, {"window": 0}, {"rate": 1}, {"levels": 0}, {"sampling": "max"}, {"heads": -1}]
)
def test_impossible_geometry_is_refused_by_name(argument):
    (name, value), arguments = *argument.items(), {"window": 4, "stride": 2, "rate": 2, "heads": 1}
    with pytest.raises((ValueError, TypeError), match=f"{name}.*{value}|Literal"):
        MultipoleAttention(channels=8, head_dim=4, **(arguments | argument))


COMPILED = """
import torch
from pdebench_mano import MANO
model = MANO(1, 1, width=8, depth=1, heads=2, head_dim=4, mlp_width=8, window=4, stride=2, spacing=None)
a, parameters = torch.randn(2, 1, 9, 11), list(model.parameters())
expected = torch.autograd.grad(model(a).square().mean(), parameters)
compiled = torch.compile(model, backend="aot_eager")
torch.testing.assert_close(torch.autograd.grad(compiled(a).square().mean(), parameters), expected)
"""


def test_compiled_training_is_the_same_on_odd_grids():
    """In a process of its own: shapes are not executed while compiling."""
    run = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
