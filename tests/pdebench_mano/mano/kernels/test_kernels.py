"""Every form of window attention computes what the definition says, in value and in gradient."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pdebench_mano.mano.kernels import window_attention


def gradient(form, qkv, g, *geometry):
    x = qkv.clone().requires_grad_()
    y = window_attention(x, *geometry, form=form)
    return y.detach(), torch.autograd.grad(y, x, g)[0]


@settings(max_examples=40, deadline=None)
@given(data=st.data(), m=st.integers(1, 3), heads=st.integers(1, 2), batch=st.integers(1, 2))
def test_fast_forms_equal_the_definition(data, m, heads, batch):
    stride = data.draw(st.sampled_from([1, 1, 2, 3, 4]))
    window = m * stride
    height, width = (data.draw(st.integers(window, 3 * window + 1)) for _ in "hw")
    qkv = torch.randn(batch, height, width, 3 * heads * 4, dtype=torch.float64)
    g = torch.randn(batch, height, width, heads * 4, dtype=torch.float64)
    reference = gradient("windows", qkv, g, heads, window, stride)
    for form in ["blocks"] + ["shifts"] * (stride == 1):
        torch.testing.assert_close(gradient(form, qkv, g, heads, window, stride), reference, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("form", "window", "stride"), [("windows", 3, 2), ("windows", 8, 8), ("shifts", 2, 1), ("blocks", 4, 2)]
)
def test_gradients_are_those_of_finite_differences(form, window, stride):
    qkv = torch.randn(1, 5, 6, 12, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: window_attention(x, 2, window, stride, form=form), qkv)


@pytest.mark.parametrize("form", ["windows", "shifts", "blocks"])
def test_large_scores_stay_finite(form):
    """Scores of ±10⁴ apart: each softmax is an exact choice, in every window of its own."""
    qkv = torch.randn(1, 6, 6, 6) * torch.tensor([100.0, 100.0, 1.0]).repeat_interleave(2)
    exact = window_attention(qkv.double(), 1, 2, 1, form="windows")
    torch.testing.assert_close(window_attention(qkv, 1, 2, 1, form=form).double(), exact, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("form", "window", "stride"), [("shifts", 4, 2), ("blocks", 4, 3), ("blocks", 8, 4)])
def test_a_form_refuses_what_it_cannot_serve(form, window, stride):
    with pytest.raises(ValueError, match=f"{stride}"):
        window_attention(torch.randn(1, 6, 6, 6), 1, window, stride, form=form)


@pytest.mark.parametrize(("form", "window", "stride"), [("windows", 3, 2), ("shifts", 2, 1), ("blocks", 4, 2)])
def test_every_form_serves_under_autocast(form, window, stride):
    """Queries come in bfloat16 there; forward and backward passes agree on the types in between."""
    qkv, g = torch.randn(1, 8, 8, 12).bfloat16(), torch.randn(1, 8, 8, 4).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        value, slope = gradient(form, qkv, g, 2, window, stride)
    exact = gradient("windows", qkv.double(), g.double(), 2, window, stride)
    torch.testing.assert_close((value.double(), slope.double()), exact, rtol=0.05, atol=0.05)
