"""Isometry, adjoint and parameter gradient of every orthogonal layer; the constraint under training."""

import math
from functools import partial

import pytest
import torch

from pdebench_mano.fields.normalized import NormalizedOperator, Normalizer
from pdebench_mano.orthogonal import (
    GridMLP,
    OrthogonalConv,
    OrthogonalConvolution,
    OrthogonalFNO,
    OrthogonalLinear,
    OrthogonalMANO,
    OrthogonalMLP,
    UnitarySpectral,
)
from pdebench_mano.orthogonal.polar import polar_factor, retraction
from pdebench_mano.training.losses import relative_l2
from pdebench_mano.training.regimes import Backprop, FotonLatent, TransportedFoton

GRIDS = [(13, 13), (16, 21), (27, 14)]


def randomised(layer):
    """The same layer in double precision, its parameters anywhere on their constraint."""
    with torch.no_grad():
        for p in layer.parameters():
            p.add_(torch.randn_like(p))
    layer.double().retract()
    return layer


LAYERS = {
    "linear": lambda: OrthogonalLinear(5, 5),
    "spectral": lambda: UnitarySpectral(5, modes=6),
    "convolution": lambda: OrthogonalConvolution(5, kernel=5),
}


@pytest.fixture(params=LAYERS)
def layer(request):
    torch.manual_seed(0)
    return randomised(LAYERS[request.param]())


def inner(u, v):
    return torch.sum(u * v).item()


@pytest.mark.parametrize("grid", GRIDS)
def test_layer_is_an_isometry_with_its_adjoint(layer, grid):
    z, v = torch.randn(2, 3, 5, *grid, dtype=torch.float64)
    assert layer.lin(z).norm().item() == pytest.approx(z.norm().item(), rel=1e-12)
    assert inner(layer.lin(z), v) == pytest.approx(
        inner(z, layer.adj(v)), abs=1e-12 * z.norm().item() * v.norm().item()
    )
    torch.testing.assert_close(layer.lin(layer.adj(v)), v, rtol=0, atol=1e-12)
    assert layer.orthogonality_residual() < 1e-13


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize(("inputs", "outputs"), [(7, 4), (4, 7)], ids=["contracting", "expanding"])
def test_layer_that_changes_the_width_is_an_isometry_one_way(inputs, outputs, grid):
    torch.manual_seed(0)
    layer = randomised(OrthogonalLinear(inputs, outputs))
    z = torch.randn(3, inputs, *grid, dtype=torch.float64)
    v = torch.randn(3, outputs, *grid, dtype=torch.float64)
    narrow, there, back = (v, layer.adj, layer.lin) if outputs < inputs else (z, layer.lin, layer.adj)
    assert there(narrow).norm().item() == pytest.approx(narrow.norm().item(), rel=1e-12)
    torch.testing.assert_close(back(there(narrow)), narrow, rtol=0, atol=1e-12)
    assert inner(layer.lin(z), v) == pytest.approx(
        inner(z, layer.adj(v)), abs=1e-12 * z.norm().item() * v.norm().item()
    )


@pytest.mark.parametrize("grid", GRIDS)
def test_param_grad_is_the_derivative(layer, grid):
    z, delta = torch.randn(2, 3, 5, *grid, dtype=torch.float64)
    exact = torch.autograd.grad(torch.sum(delta * layer(z)), list(layer.parameters()))
    got = layer.param_grad(delta, z)
    for (name, _), g in zip(layer.named_parameters(), exact, strict=True):
        torch.testing.assert_close(got[name], g, rtol=1e-11, atol=1e-11)


def test_spectral_layer_acts_on_each_mode_by_its_own_matrix():
    """cos(2π k·x) under R(k) is a cosine again, amplitude |R| and phase arg R, on any grid."""
    torch.manual_seed(0)
    layer = randomised(UnitarySpectral(2, modes=3))
    k = layer.wavenumbers.tolist().index([-2, 3])
    r = torch.view_as_complex(layer.paired.detach())[k]
    for n, m in [(7, 8), (16, 9)]:
        x, y = torch.meshgrid(torch.arange(n).double() / n, torch.arange(m).double() / m, indexing="ij")
        phase = 2 * math.pi * (-2 * x + 3 * y)
        z = torch.stack([torch.cos(phase), torch.zeros_like(phase)])[None]
        expected = torch.stack([r[c, 0].abs() * torch.cos(phase + r[c, 0].angle()) for c in range(2)])[None]
        torch.testing.assert_close(layer.lin(z), expected, rtol=0, atol=1e-12)
    high = torch.cos(8 * math.pi * x).expand(1, 2, -1, -1)
    torch.testing.assert_close(layer.lin(high), torch.einsum("oi,bixy->boxy", layer.rest, high), rtol=0, atol=1e-12)


def test_layers_refuse_grids_that_do_not_carry_them():
    with pytest.raises(ValueError, match="6 modes need a grid of more than 12 points a side, got 12×16"):
        OrthogonalFNO(1, 1, modes=6)(torch.randn(1, 1, 12, 16))
    with pytest.raises(ValueError, match=r"5 points .* got 16×4"):
        OrthogonalConv(1, 1, kernel=5)(torch.randn(1, 1, 16, 4))
    with pytest.raises(ValueError, match=r"16×16, got 16×17"):
        GridMLP(1, 1).embed(torch.randn(1, 1, 16, 17))


def test_a_perceptron_resamples_nothing_on_its_own_grid():
    operator, a = GridMLP(1, 1, resolution=5), torch.randn(2, 1, 5, 5)
    assert torch.equal(operator(a), operator.unembed(list(operator.states(a))[-1], a))


@pytest.mark.parametrize(
    "regime", [FotonLatent(), *(TransportedFoton(slopes=s) for s in ("none", "channel", "point", "block"))]
)
@pytest.mark.parametrize("operator", [OrthogonalFNO, OrthogonalConv])
def test_linear_operators_get_the_exact_gradient(operator, regime):
    torch.manual_seed(1)
    chain = operator(2, 1, width=6, depth=10, activation="identity").double()
    for block in chain.blocks:
        randomised(block)
    a, u = torch.randn(3, 2, 14, 15).double(), torch.randn(3, 1, 14, 15).double()
    regime.check(chain)
    regime.gradients(chain, a, u, relative_l2)
    got = {name: p.grad for name, p in chain.named_parameters()}
    chain.zero_grad()
    Backprop().gradients(chain, a, u, relative_l2)
    for name, p in chain.named_parameters():
        assert torch.sum(got[name] * p.grad) >= (1 - 1e-11) * got[name].norm() * p.grad.norm(), name
        assert got[name].norm() / p.grad.norm() == pytest.approx(1, abs=1e-10), name


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("shape", [(4, 9, 9), (1, 6, 9), (2, 9, 6)])
@pytest.mark.parametrize("distance", [1e-6, 0.02, 3.0], ids=["iteration", "further", "fall-back"])
def test_retraction_is_the_polar_factor(dtype, shape, distance):
    torch.manual_seed(0)
    w = polar_factor(torch.randn(shape, dtype=dtype))
    w = w + distance * torch.randn_like(w)
    torch.testing.assert_close(retraction(w), polar_factor(w), rtol=0, atol=1e-13)


@pytest.mark.parametrize("distance", [0.02, 0.1, 1.0, 10.0])
def test_fixed_number_of_steps_converges_from_anywhere(distance, monkeypatch):
    """What a GPU does, here on the CPU: far away, a few retractions in a row do what one does near by."""
    torch.manual_seed(0)
    monkeypatch.setattr(torch.Tensor, "is_cuda", True)
    w = polar_factor(torch.randn(5, 8, 8, dtype=torch.complex128))
    w = near = w + distance * torch.randn_like(w)
    for _ in range(5):
        w = retraction(w)
    monkeypatch.undo()
    torch.testing.assert_close(w, polar_factor(near), rtol=0, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64, torch.float64])
def test_polar_factor_survives_a_decomposition_that_does_not_converge(dtype, monkeypatch):
    """LAPACK did not converge on the weights of a training step, all within 2 % of orthogonal and finite."""
    torch.manual_seed(0)
    w = torch.randn(2, 6, 9, dtype=dtype)
    expected = polar_factor(w)
    svd, calls = torch.linalg.svd, []

    def stalls_once(*args, **kwargs):
        calls.append(args)
        if len(calls) == 1:
            raise torch.linalg.LinAlgError("failed to converge")
        return svd(*args, **kwargs)

    monkeypatch.setattr(torch.linalg, "svd", stalls_once)
    got = polar_factor(w)
    assert got.dtype == dtype
    torch.testing.assert_close(got, expected)


def test_retraction_leaves_what_is_not_finite():
    w = torch.eye(3)[None]
    w[0, 0, 1] = torch.nan
    assert torch.equal(retraction(w).isnan(), w.isnan())


def test_constraint_holds_after_a_thousand_steps():
    torch.manual_seed(0)
    a, u = torch.randn(2, 1, 7, 8), torch.randn(2, 1, 7, 8)
    rows, targets = torch.randn(4, 12), torch.randn(4, 5)
    regime = TransportedFoton()
    for operator, data in [
        (OrthogonalFNO(1, 1, width=6, depth=1, modes=2), (a, u)),
        (OrthogonalConv(1, 1, width=6, depth=1), (a, u)),
        (OrthogonalMLP([12, 10, 10, 5]), (rows, targets)),
    ]:
        optimizer = torch.optim.Adam(operator.parameters(), lr=1e-2)
        for _ in range(1000):
            optimizer.zero_grad()
            regime.gradients(operator, *data, relative_l2)
            optimizer.step()
            regime.retract(operator)
        assert operator.orthogonality_residual() < 1e-5


def test_unconstrained_layers_are_left_alone():
    layer = OrthogonalLinear(4, 4, constrained=False)
    with torch.no_grad():
        layer.weight.mul_(2)
    layer.retract()
    assert layer.orthogonality_residual() == pytest.approx(3, rel=1e-5)


@pytest.mark.parametrize("regime", [Backprop(), FotonLatent(), TransportedFoton()])
@pytest.mark.parametrize("operator", [OrthogonalFNO, OrthogonalConv, partial(OrthogonalMANO, lattice=4)])
def test_mixed_precision_gives_gradients_near_those_of_full_precision(operator, regime):
    """A Fourier transform knows no bfloat16; parameters and their gradients stay in float32."""
    torch.manual_seed(2)
    chain = operator(1, 1, width=8, depth=2)
    a, u = torch.randn(4, 1, 16, 16), torch.randn(4, 1, 16, 16)
    gradients = []
    for mixed in (False, True):
        chain.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            regime.gradients(chain, a, u, relative_l2)
        gradients.append(torch.cat([p.grad.flatten() for p in chain.parameters()]))
    assert torch.cosine_similarity(*gradients, dim=0) > 0.95


@pytest.mark.thirdparty
@pytest.mark.parametrize("regime", [FotonLatent(), TransportedFoton(slopes="point")])
def test_darcy_is_learned_without_a_backward_pass(third_party, regime):
    """Three passes over 500 real samples, at 16²; the mean solution errs by .49."""
    a, u, test_a, test_u = (
        field.float()[:500, None].contiguous()
        for name in ("darcy_train_16.pt", "darcy_test_16.pt")
        for field in torch.load(third_party / name, weights_only=True).values()
    )
    torch.manual_seed(0)
    chain = OrthogonalFNO(1, 1, width=16, depth=2, modes=4, activation="very_leaky_relu")
    operator = NormalizedOperator(chain, Normalizer.fit([a]), Normalizer.fit([u]), "left")
    optimizer = torch.optim.Adam(operator.parameters(), lr=1e-2)
    for _ in range(3):
        for batch in torch.randperm(500).split(10):
            optimizer.zero_grad()
            regime.gradients(operator, a[batch], u[batch], relative_l2)
            optimizer.step()
            regime.retract(operator)
    with torch.no_grad():
        error = relative_l2(operator(test_a), test_u).item()
    assert error < 0.3
