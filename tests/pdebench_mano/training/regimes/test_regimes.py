"""Forward-only regimes against the published rule, against backpropagation, and against themselves."""

import copy
import importlib.util
import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pdebench_mano.fields.normalized import NormalizedOperator, Normalizer
from pdebench_mano.orthogonal import (
    Chain,
    GridMLP,
    OrthogonalConv,
    OrthogonalFNO,
    OrthogonalLinear,
    OrthogonalMANO,
    OrthogonalMLP,
)
from pdebench_mano.training.losses import LOSSES, cross_entropy, half_squared_error
from pdebench_mano.training.regimes import Backprop, Foton, FotonLatent, Pepita, TransportedFoton, alignment

MEMORY = Path(__file__).parents[4] / "benchmarks" / "activation_memory.py"
LOSS = {"MSE": half_squared_error, "CE": cross_entropy}


def gradients(regime, operator, a, u, loss=half_squared_error):
    operator.zero_grad()
    regime.check(operator)
    value = regime.gradients(operator, a, u, loss)
    return value, {name: p.grad.clone() for name, p in operator.named_parameters()}


def linear_chain(widths, **args):
    torch.manual_seed(0)
    mlp = OrthogonalMLP(widths, "identity", **args).double()
    return mlp, torch.randn(7, widths[0]).double(), torch.randn(7, widths[-1]).double()


def assert_equals_backprop(regime, operator, a, u, loss=half_squared_error, tolerance=1e-12):
    value, got = gradients(regime, operator, a, u, loss)
    exact_value, exact = gradients(Backprop(), operator, a, u, loss)
    torch.testing.assert_close(value, exact_value)
    for name, g in exact.items():
        cosine = torch.sum(got[name] * g) / got[name].norm() / g.norm()
        assert cosine >= 1 - tolerance, name
        assert got[name].norm() / g.norm() == pytest.approx(1, abs=100 * tolerance), name


@pytest.mark.parametrize("lockstep", [True, False])
@pytest.mark.parametrize("case", range(5))
def test_foton_gives_the_published_updates(golden, case, lockstep):
    with np.load(golden / "foton_updates.npz") as file:
        reference = {key.split("/")[1]: file[key] for key in file.files if key.startswith(f"case{case}/")}
    config = json.loads(str(reference.pop("config")))
    tensors = {key: torch.from_numpy(value) for key, value in reference.items()}
    mlp = OrthogonalMLP(config["widths"], config["activation"]).double()
    with torch.no_grad():
        for layer, weight in enumerate(mlp.weights):
            weight.copy_(tensors[f"weight{layer}"])
    torch.testing.assert_close(mlp(tensors["input"]), tensors["output"], rtol=0, atol=1e-12)
    regime = Foton(lockstep=lockstep)
    regime.gradients(mlp, tensors["input"], tensors["target"], LOSS[config["error"]])
    for layer, weight in enumerate(mlp.weights):
        torch.testing.assert_close(weight.grad, tensors[f"update{layer}"], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "regime",
    [
        Foton(),
        FotonLatent(),
        FotonLatent(eta=0.1),
        TransportedFoton(),
        TransportedFoton(slopes="point"),
    ],
)
@pytest.mark.parametrize("depth", [2, 10, 50])
@pytest.mark.parametrize("widths", [(12, 12, 5), (20, 9, 4), (12, 12, 30)], ids=["square", "contracting", "wide-head"])
def test_linear_chains_get_the_exact_gradient(regime, depth, widths):
    first, hidden, last = widths
    mlp, a, u = linear_chain([first, *[hidden] * (depth - 1), last], bias=True)
    assert_equals_backprop(regime, mlp, a, u)


@pytest.mark.parametrize("regime", [Foton(), FotonLatent(), TransportedFoton()])
@pytest.mark.parametrize("depth", [2, 10, 50])
def test_error_keeps_its_length_where_every_layer_contracts(regime, depth):
    """Each L_k* embeds the error in a larger space, which L_k undoes; the other order would lose part of it."""
    mlp, a, u = linear_chain([depth + 5 - layer for layer in range(depth + 1)])
    assert_equals_backprop(regime, mlp, a, u)


@pytest.mark.parametrize("regime", [FotonLatent(), TransportedFoton()])
@pytest.mark.parametrize("depth", [2, 10, 50])
@pytest.mark.parametrize("loss", LOSSES.values(), ids=list(LOSSES))
def test_expanding_lift_is_exact_with_latent_injection(regime, depth, loss):
    mlp, a, u = linear_chain([3, *[16] * (depth - 1), 5])
    assert_equals_backprop(regime, mlp, a, u.softmax(1), loss)


def test_error_injected_before_an_expanding_lift_does_not_survive_it():
    mlp, a, u = linear_chain([3, *[16] * 9, 5])
    mlp.zero_grad()
    Foton().gradients(mlp, a, u, half_squared_error)
    got = mlp.weights[1].grad.clone()
    _, exact = gradients(Backprop(), mlp, a, u)
    assert torch.cosine_similarity(got.flatten(), exact["blocks.0.weight"].flatten(), dim=0) < 0.9


@pytest.mark.parametrize("regime", [FotonLatent(), TransportedFoton()])
@pytest.mark.parametrize("loss", ["half_squared_error", "relative_l2"])
def test_normalised_operator_gets_the_gradient_of_the_physical_loss(regime, loss):
    torch.manual_seed(1)
    chain = GridMLP(2, 1, resolution=4, width=10, depth=5, activation="identity").double()
    normalizers = [Normalizer(torch.rand(n).double(), 3 + torch.rand(n).double()) for n in (2, 1)]
    operator = NormalizedOperator(chain, *normalizers)
    a, u = torch.randn(6, 2, 4, 4).double(), torch.randn(6, 1, 4, 4).double()
    assert_equals_backprop(regime, operator, a, u, LOSSES[loss])


@pytest.mark.parametrize("activation", ["relu", "gelu", "tanh"])
def test_transported_foton_tends_to_the_derivative_of_its_own_activation(activation):
    """As η → 0, δ_l = φ'(a_l) (L_D ⋯ L_{l+1})* e, here formed from the network's stored states."""
    torch.manual_seed(2)
    mlp = OrthogonalMLP([8, 8, 8, 8, 3], activation).double()
    a, u = torch.randn(5, 8).double(), torch.randn(5, 3).double()
    _, got = gradients(TransportedFoton(eta=1e-4), mlp, a, u)
    states = [s.detach() for s in mlp.states(a)]
    weights = [w.detach() for w in mlp.weights]
    r = states[-1] - u
    for layer in (3, 2, 1, 0):
        activity = (states[layer] @ weights[layer].mT).requires_grad_()
        slope = torch.autograd.grad(mlp.phi(activity).sum(), activity)[0] if layer < 3 else 1.0
        expected = (slope * r).mT @ states[layer] / len(a)
        name = [name for name, _ in mlp.named_parameters()][layer]
        torch.testing.assert_close(got[name], expected, rtol=1e-3, atol=1e-4)
        r = r @ weights[layer]


def test_pepita_follows_its_formula():
    torch.manual_seed(3)
    mlp = OrthogonalMLP([6, 7, 5, 4], "tanh").double()
    a, u = torch.randn(3, 6).double(), torch.randn(3, 4).double()
    regime = Pepita(scale=0.3)
    _, got = gradients(regime, mlp, a, u)
    clean = [s.detach() for s in mlp.states(a)]
    e = clean[-1] - u
    modulated = [s.detach() for s in mlp.states(a + e @ regime.projection(mlp).mT)]
    expected = [(clean[i + 1] - modulated[i + 1]).mT @ modulated[i] / 3 for i in range(2)] + [e.mT @ modulated[2] / 3]
    for g, reference in zip(got.values(), expected, strict=True):
        torch.testing.assert_close(g, reference)
    assert torch.equal(Pepita(scale=0.3).projection(mlp), regime.projection(mlp))


def rows_chain():
    return OrthogonalMLP([16, *[12] * 20, 4], "gelu", bias=True), torch.randn(9, 16), torch.randn(9, 4)


def field_chain(operator):
    return operator(1, 1, width=6, depth=8), torch.randn(4, 1, 16, 17), torch.randn(4, 1, 16, 17)


@pytest.mark.parametrize(
    ("case", "inject"),
    [
        (rows_chain, "input"),
        (rows_chain, "latent"),
        (partial(field_chain, OrthogonalFNO), "latent"),
        (partial(field_chain, OrthogonalConv), "latent"),
    ],
    ids=["rows-input", "rows-latent", "spectral", "convolution"],
)
def test_lockstep_equals_stored_to_the_last_bit(case, inject):
    torch.manual_seed(4)
    chain, a, u = case()
    _, lockstep = gradients((Foton if inject == "input" else FotonLatent)(), chain, a, u)
    _, stored = gradients((Foton if inject == "input" else FotonLatent)(lockstep=False), chain, a, u)
    assert all(torch.equal(lockstep[name], stored[name]) for name in stored)


@pytest.mark.parametrize("regime", [FotonLatent(), FotonLatent(lockstep=False), TransportedFoton(), Pepita()])
def test_forward_only_regimes_build_no_graph_and_accumulate(regime, monkeypatch):
    mlp = OrthogonalMLP([6, 6, 6, 3])
    a, u = torch.randn(4, 6), torch.randn(4, 3)
    modes = []
    states = mlp.states
    monkeypatch.setattr(mlp, "states", lambda a: modes.append(torch.is_grad_enabled()) or states(a))
    value, once = gradients(regime, mlp, a, u)
    assert not value.requires_grad
    assert modes
    assert not any(modes)
    regime.gradients(mlp, a, u, half_squared_error)
    for name, p in mlp.named_parameters():
        torch.testing.assert_close(p.grad, 2 * once[name])


def test_regimes_refuse_what_they_cannot_train():
    transformer = torch.nn.TransformerEncoderLayer(8, 2, batch_first=True)
    for regime in (FotonLatent(), TransportedFoton(), Pepita()):
        with pytest.raises(TypeError, match=f"{regime.name} cannot train TransformerEncoderLayer: .*attention"):
            regime.check(transformer)
    expanding_lift = OrthogonalMLP([4, 8, 8, 2])
    FotonLatent().check(expanding_lift)
    TransportedFoton().check(expanding_lift)
    with pytest.raises(TypeError, match="lift expands, 4 → 8"):
        Foton().check(expanding_lift)
    for regime in (FotonLatent(), TransportedFoton()):
        with pytest.raises(TypeError, match=r"blocks\.0 expands, 8 → 16"):
            regime.check(OrthogonalMLP([8, 8, 16, 2]))
        with pytest.raises(TypeError, match=r"blocks\.0 is not constrained"):
            regime.check(OrthogonalMLP([8, 8, 8, 2], constrained=False))
    chain = OrthogonalMLP([8, 8, 8, 2])
    chain.blocks.append(torch.nn.LayerNorm(8))
    with pytest.raises(TypeError, match=r"blocks\.1 is a LayerNorm"):
        FotonLatent().check(chain)
    Backprop().check(transformer)


@pytest.mark.parametrize(
    ("regime", "arguments"),
    [
        (Foton, {"eta": 0.0}),
        (Foton, {"inject": "middle"}),
        (TransportedFoton, {"slopes": "mean"}),
        (TransportedFoton, {"slopes": 1}),
        (Pepita, {"scale": 0.0}),
    ],
)
def test_regimes_name_a_bad_argument(regime, arguments):
    with pytest.raises(Exception, match=next(iter(arguments))):
        regime(**arguments)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=list(LOSSES))
def test_losses_state_their_own_derivative(loss):
    y = torch.randn(5, 3, 4, dtype=torch.float64, requires_grad=True)
    t = torch.rand(5, 3, 4, dtype=torch.float64).softmax(1)
    (exact,) = torch.autograd.grad(loss(y, t), y)
    torch.testing.assert_close(loss.errors(y, t) / 5, exact)


def test_alignment_is_one_where_the_regime_is_exact_and_changes_nothing():
    mlp, a, u = linear_chain([8] * 6, bias=True)
    mlp.weights[0].grad = kept = torch.randn_like(mlp.weights[0])
    measured = alignment(mlp, Foton(), a, u, half_squared_error)
    assert list(measured) == ["lift", "blocks.0", "blocks.1", "blocks.2", "head"]
    for cosine, ratio in measured.values():
        assert cosine == pytest.approx(1, abs=1e-12)
        assert ratio == pytest.approx(1, abs=1e-10)
    assert mlp.weights[0].grad is kept
    assert mlp.weights[1].grad is None


def test_transport_aligns_deep_chains_better_than_a_second_pass():
    regimes = {
        "foton-latent": FotonLatent(),
        "transported": TransportedFoton(),
        "transported, slopes": TransportedFoton(slopes="point"),
    }
    torch.manual_seed(5)
    for activation in ("relu", "gelu", "tanh"):
        mlp = OrthogonalMLP([32] * 11, activation).double()
        a, u = torch.randn(64, 32).double(), torch.randn(64, 32).double()
        mean = {}
        for name, regime in regimes.items():
            cosines = [cosine for cosine, _ in alignment(mlp, regime, a, u, half_squared_error).values()]
            mean[name] = sum(cosines) / len(cosines)
        assert mean["transported, slopes"] >= mean["transported"] > mean["foton-latent"], mean


@pytest.mark.parametrize("slopes", ["block", 2])
def test_slopes_by_block_are_exact_where_every_block_is_uniform(slopes):
    """Layers that act at each point alone keep blocks uniform; the last ones, of three points, are smaller."""
    torch.manual_seed(6)
    blocks = [OrthogonalLinear(12, 12) for _ in range(5)]
    lift, head = OrthogonalLinear(2, 12, constrained=False), OrthogonalLinear(12, 1, constrained=False)
    chain = Chain(lift, blocks, head, "tanh").double()
    a = torch.randn(3, 2, 3, 2).double().repeat_interleave(4, 2).repeat_interleave(4, 3)[..., :11, :7]
    u = torch.randn(3, 1, 11, 7).double()
    measured = alignment(chain, TransportedFoton(eta=1e-4, slopes=slopes), a, u, half_squared_error)
    by_point = alignment(chain, TransportedFoton(eta=1e-4, slopes="point"), a, u, half_squared_error)
    for name, (cosine, _) in measured.items():
        assert cosine == pytest.approx(1, abs=1e-6), name
    assert by_point["lift"][0] < 0.999


@pytest.mark.parametrize("slopes", ["channel", "point", "block"])
def test_a_layer_without_slopes_passes_no_nan_on(slopes):
    operator = OrthogonalFNO(1, 1, width=4, modes=2, activation="relu")
    with torch.no_grad():
        operator.blocks[1].bias.fill_(-100)
    _, got = gradients(TransportedFoton(slopes=slopes), operator, torch.randn(2, 1, 9, 9), torch.randn(2, 1, 9, 9))
    assert all(gradient.isfinite().all() for gradient in got.values())


@pytest.mark.parametrize("rows", [2, 4, 16])
def test_slopes_are_undone_in_single_precision_where_many_units_are_off(rows):
    """Dividing by the hundredth of a slope in layer after layer, float32 would be 10⁶ times as far from float64."""
    torch.manual_seed(0)
    mlp = OrthogonalMLP([32] * 11, "relu")
    a, u = torch.randn(2, rows, 32)
    regime = TransportedFoton(eta=0.01, slopes="point")
    single = gradients(regime, mlp, a, u)[1]
    double = gradients(regime, mlp.double(), a.double(), u.double())[1]
    for name, exact in double.items():
        assert (single[name] - exact).norm() < 0.01 * exact.norm(), name


@pytest.mark.parametrize("operator", [OrthogonalMLP([8, 8, 3]), GridMLP(1, 1, resolution=4, width=8, depth=3)])
def test_rows_have_no_blocks(operator):
    with pytest.raises(TypeError, match=r"slopes='block' cannot train \w+: rows have no grid"):
        TransportedFoton(slopes="block").check(operator)


class OnDevice(TorchDispatchMode):
    """Refuses what involves the host's memory."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        tensors = (each for each in tree_leaves((args, kwargs, result)) if isinstance(each, torch.Tensor))
        assert all(each.is_meta for each in tensors), f"{operation} reads or writes memory of the host"
        return result


@pytest.mark.parametrize(
    "regime",
    [Backprop(), FotonLatent(), Pepita(), *(TransportedFoton(slopes=each) for each in ("none", "point", "block", 2))],
    ids=lambda regime: f"{regime.name}-{getattr(regime, 'slopes', '')}",
)
@pytest.mark.parametrize("operator", [OrthogonalFNO(width=4, modes=8), OrthogonalMANO(width=4, lattice=8)])
def test_a_step_can_be_recorded(operator, regime):
    """Once grids are remembered, no value is copied from the host or asked for: a tensor without values has none."""
    step = getattr(type(regime).gradients, "__wrapped__", type(regime).gradients)  # no autocast without a real device
    chain = copy.deepcopy(operator).to("meta")
    a, u = torch.empty(2, 3, 1, 21, 17, device="meta")
    with torch.set_grad_enabled(isinstance(regime, Backprop)):
        step(regime, chain, a, u, LOSSES["relative_l2"])
        with OnDevice():
            step(regime, chain, a, u, LOSSES["relative_l2"])


def test_activation_memory_of_lockstep_does_not_grow_with_depth():
    forward_only = ["foton-latent", "transported-foton", "pepita"]
    command = [sys.executable, MEMORY, "--regimes", *forward_only, "backprop", "--depths", "10", "200"]
    command += ["--device", "cpu", "--repeats", "0", "--json"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    memory = {(row["regime"], row["depth"]): row["bytes"] for row in map(json.loads, lines)}
    for regime in forward_only:
        assert memory[regime, 200] == pytest.approx(memory[regime, 10], rel=0.1)
        assert memory["backprop", 200] > 25 * memory[regime, 200]


@pytest.fixture(scope="module")
def activation_memory():
    """The script of that name."""
    spec = importlib.util.spec_from_file_location("activation_memory", MEMORY)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


@pytest.mark.parametrize("operator", [partial(OrthogonalFNO, modes=4), partial(OrthogonalMANO, lattice=4)])
@pytest.mark.parametrize("regime", [FotonLatent(), TransportedFoton(), Pepita()], ids=lambda regime: regime.name)
def test_activation_memory_of_lockstep_does_not_grow_with_depth_on_fields(regime, operator, activation_memory):
    a, u = torch.randn(2, 2, 1, 17, 17)

    def peak(rule, depth):
        chain = operator(width=6, depth=depth)
        for p in chain.parameters():
            p.grad = torch.zeros_like(p)
        rule.gradients(chain, a, u, half_squared_error)
        there = [a, u, *chain.parameters(), *(p.grad for p in chain.parameters())]
        return activation_memory.peak(lambda: rule.gradients(chain, a, u, half_squared_error), there, "cpu")

    memory = peak(regime, 16)
    assert memory == pytest.approx(peak(regime, 4), rel=0.02)
    assert peak(Backprop(), 16) > 4 * memory
