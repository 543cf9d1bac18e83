"""MANO on a lattice of fixed spacing: the same operator on every grid, and what it is made of."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd.forward_ad import dual_level, make_dual, unpack_dual
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from pdebench_mano import MANO
from pdebench_mano.fields.operator import coordinates, live_on
from pdebench_mano.mano import in_place
from pdebench_mano.mano.anchored import LocalAttention, rotate, turns
from pdebench_mano.mano.expansions import expand, expanding, gather, gathering
from pdebench_mano.mano.fusion import explain
from pdebench_mano.mano.kernels.selection import Place, form_of
from pdebench_mano.operators.contract import smooth_coefficient

SIZES = st.integers(2, 40)


def operator(**arguments):
    torch.manual_seed(0)
    sizes = {"width": 16, "depth": 2, "heads": 2, "head_dim": 8, "mlp_width": 16, "window": 4, "stride": 2}
    return MANO(1, 1, **sizes | arguments).double()


@torch.no_grad()
def differences(model):
    """Between predictions on successive grids, at the points they share."""
    values = [
        model(smooth_coefficient(n, "vertices").double())[..., :: n // 32, :: n // 32] for n in (33, 65, 129, 257)
    ]
    return [(fine - coarse).norm().item() for coarse, fine in pairwise(values)]


def test_a_finer_grid_refines_the_same_operator():
    anchored, published = differences(operator(spacing=1 / 16)), differences(operator(spacing=None))
    assert all(coarse / fine == pytest.approx(4, rel=0.1) for coarse, fine in pairwise(anchored)), "second order"
    assert published[-1] > 10 * anchored[-1], "windows that count points are others on every grid"


@given(SIZES, SIZES, SIZES, SIZES)
def test_linear_fields_are_gathered_and_expanded_exactly(height, width, rows, columns):
    """Their slopes are those in units of the lattice spacing, on grids finer and coarser than the lattice."""
    x, y = coordinates(height, width, dtype=torch.float64)
    moments = gather((2 + 3 * x - 5 * y)[None, ..., None], (rows, columns), "vertices")
    assert torch.allclose(moments[..., 1], torch.tensor(-5.0 / (columns - 1), dtype=torch.float64))
    assert torch.allclose(moments[..., 2], torch.tensor(3.0 / (rows - 1), dtype=torch.float64))
    inside = moments[:, 1:-1, 1:-1, 0]
    i, j = coordinates(rows, columns, dtype=torch.float64)
    assert torch.allclose(inside, (2 + 3 * i - 5 * j)[None, 1:-1, 1:-1]), "hats are symmetric inside"
    values = torch.stack([2 + 3 * i - 5 * j, moments[0, ..., 1], moments[0, ..., 2], 0 * i], -1)[None]
    assert torch.allclose(expand(values, (height, width), "vertices")[0, ..., 0], 2 + 3 * x - 5 * y)


@given(SIZES, SIZES, st.integers(2, 20), st.sampled_from(["vertices", "left"]))
def test_constants_have_no_other_moments(height, width, points, grid):
    moments = gather(torch.full((1, height, width, 1), 3.0, dtype=torch.float64), (points, points), grid)
    torch.testing.assert_close(moments[..., 0], torch.full_like(moments[..., 0], 3.0))
    assert moments[..., 1:].abs().max() < 1e-12


def test_moments_of_a_jump_find_it_between_the_lattice_points():
    """The mean under a hat of a jump at 0.5 + δ is known: (1 - δ/h)²/2, on any grid that has a point there."""
    for n in (129, 257):
        x = coordinates(n, n, dtype=torch.float64)[0]
        step = torch.where(x > 0.5 + 1 / 64, 1.0, 0.0) + torch.where(x == 0.5 + 1 / 64, 0.5, 0.0)
        mean = gather(step[None, ..., None].double(), (9, 9), "vertices")[0, 4, 4, 0]
        assert mean.item() == pytest.approx((1 - 8 / 64) ** 2 / 2, abs=(8 / (n - 1)) ** 2)


def test_scores_of_turned_queries_and_keys_depend_on_their_distance_alone():
    torch.manual_seed(0)
    q, k = (torch.randn(1, 1, 1, 16, dtype=torch.float64).expand(1, 36, 1, 16) for _ in "qk")
    turn = turns(((6, 6),), 4, q.device, q.dtype)
    scores = (rotate(q, turn)[0, :, 0] @ rotate(k, turn)[0, :, 0].T).reshape(6, 6, 6, 6)
    torch.testing.assert_close(scores[1:, 1:, 1:, 1:], scores[:-1, :-1, :-1, :-1])
    assert (scores[0, 0].flatten()[1:] - scores[0, 0, 0, 0]).abs().min() > 1e-6, "other distances have other scores"


def test_levels_attend_apart():
    """Levels stacked for the sake of fewer kernels give what each gives alone."""
    torch.manual_seed(0)
    layer = LocalAttention(8, 2, 8, 4, 2, 2).double()
    levels = [torch.randn(2, n, n + 1, 8, dtype=torch.float64) for n in (11, 6)]
    for together, level in zip(layer.attend_all(levels), levels, strict=True):
        torch.testing.assert_close(together, layer.attend_all([level])[0])


def test_it_is_explained_on_its_lattice():
    lines = explain(operator(spacing=1 / 16), torch.zeros(1, 1, 65, 65)).splitlines()
    assert len(lines) == 2
    assert all("17×17" in line and "9×9" in line and "needs a CUDA device" in line for line in lines)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"spacing": 33.0}, r"spacing must be in \(0, 0.5\]"), ({"head_dim": 6}, "head_dim must be a multiple of 4")],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        operator(**{"spacing": 1 / 16} | arguments)


SMALL = {"width": 8, "depth": 2, "heads": 2, "head_dim": 4, "mlp_width": 8, "window": 2, "stride": 1, "spacing": 1 / 8}


def cut_down(part, zero):
    """MANO without a part, and the whole with its weights, those of the part zero; an input for both."""
    whole, less = MANO(**SMALL), MANO(**SMALL, without=[part])
    for block in whole.blocks:
        zero(block.attention)
    state, kept = whole.state_dict(), less.state_dict()
    less.load_state_dict({name: state[name][tuple(map(slice, value.shape))] for name, value in kept.items()})
    return less, whole, torch.rand(1, 1, 17, 17, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_without_the_convolution_is_with_one_that_is_zero():
    less, whole, a = cut_down("convolution", lambda attention: zero(attention.attention.local))
    torch.testing.assert_close(less(a), whole(a))


@torch.no_grad()
def test_without_moments_are_means_gathered_and_constants_expanded():
    def means_alone(attention):
        attention.down.weight[:, SMALL["width"] :] = 0
        attention.up.weight[SMALL["width"] :] = 0
        attention.up.bias[SMALL["width"] :] = 0

    less, whole, a = cut_down("moments", means_alone)
    torch.testing.assert_close(less(a), whole(a))


def zero(module):
    for weights in module.parameters():
        weights.zero_()


def test_without_rotary_positions_a_window_does_not_know_where_its_points_lie():
    torch.manual_seed(0)
    levels, order = torch.rand(1, 8, 8, 8), torch.randperm(8)
    for without, equal in ((("rotary", "convolution"), True), (("convolution",), False)):
        attention = LocalAttention(8, 2, 4, 8, 8, 2, 1, "conv", without=without)
        (once,), (again,) = attention.attend_all([levels]), attention.attend_all([levels[:, order]])
        assert torch.allclose(once[:, order], again, atol=1e-6) == equal


def test_without_the_lattice_the_grid_is_the_lattice():
    torch.manual_seed(0)
    model = MANO(**SMALL, without=["lattice"])
    assert model.lattice(17, 9) == (17, 9)
    assert {type(block.attention) for block in model.blocks} == {LocalAttention}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"without": ["colour"]}, "without must be of lattice"), ({"without": ["rotary"], "spacing": None}, "published")],
)
def test_parts_that_there_are_not_cannot_be_left_out(arguments, message):
    with pytest.raises(ValueError, match=message):
        MANO(**SMALL | arguments)


@pytest.mark.parametrize(
    ("grid", "arguments"),
    [
        ("vertices", {"spacing": 1 / 24}),
        ("periodic", {"spacing": 1 / 24}),
        ("left", {"spacing": 1 / 8, "without": ["moments"]}),
        ("vertices", {"spacing": None}),
    ],
)
def test_what_is_predicted_in_place_is_what_gradients_are_taken_of(grid, arguments, monkeypatch):
    """By bands of the lattice and parts of the grid that do not divide it, and where somebody looks on in one go."""
    monkeypatch.setattr(in_place, "POINTS", 50)
    torch.manual_seed(0)
    operator = MANO(width=16, depth=2, mlp_width=32, window=4, stride=2, **arguments).double().eval()
    live_on(operator, grid)
    a = torch.randn(2, 1, 13, 11, dtype=torch.float64)
    whole, sizes = operator(a).detach(), []
    with torch.no_grad():
        torch.testing.assert_close(operator(a), whole, rtol=0, atol=1e-12)
        operator.blocks[0].mlp.fc1.register_forward_hook(lambda _, given, __: sizes.append(given[0].shape))
        torch.testing.assert_close(operator(a), whole, rtol=0, atol=1e-12)
    assert sizes == [(2, 13, 11, 16)]


@pytest.mark.parametrize("name", ["mlp.fc1", "mlp.fc2", "attention.attention.qkv", "attention.attention.local"])
def test_predictions_are_by_the_modules_that_are_in_place(name):
    """Of a plain module the parameters are read, another one is called."""
    operator = MANO(width=16, depth=1, mlp_width=32, spacing=1 / 24).double().eval()
    a = torch.randn(1, 1, 33, 31, dtype=torch.float64)
    plain, module = operator(a).detach(), operator.blocks[0].get_submodule(name)
    kind = type(module)
    module.__class__ = type("Doubled", (kind,), {"forward": lambda self, x: 2 * kind.forward(self, x)})
    doubled = operator(a).detach()
    with torch.no_grad():
        torch.testing.assert_close(operator(a), doubled, rtol=0, atol=1e-12)
    assert not torch.allclose(doubled, plain, rtol=1e-3)


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@torch.no_grad()
def test_predictions_can_be_mapped_over():
    """Products that write to a given place have no rule for it."""
    model, a = operator(spacing=1 / 8), torch.randn(3, 2, 1, 13, 11, dtype=torch.float64)
    torch.testing.assert_close(torch.vmap(model)(a), torch.stack([model(each) for each in a]), rtol=0, atol=1e-12)


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@torch.no_grad()
def test_predictions_can_be_mapped_over_the_weights_of_a_block():
    model, a, name = operator(spacing=1 / 8), torch.randn(2, 1, 13, 11, dtype=torch.float64), "blocks.0.mlp.fc1.weight"
    weights = torch.randn(3, *model.get_parameter(name).shape, dtype=torch.float64)

    def predict(weight):
        return functional_call(model, {name: weight}, a)

    mapped = torch.vmap(predict)(weights)
    torch.testing.assert_close(mapped, torch.stack([predict(each) for each in weights]), rtol=0, atol=1e-12)


@torch.no_grad()
def test_what_is_predicted_in_place_can_be_learned_from():
    """Inference mode goes no further than the blocks."""
    u = MANO(width=16, depth=1, mlp_width=32, spacing=1 / 24)(torch.randn(1, 1, 33, 31))
    weight = torch.ones((), requires_grad=True)
    with torch.enable_grad():
        (weight * u).sum().backward()
    torch.testing.assert_close(weight.grad, u.sum())


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is")
@torch.no_grad()
def test_tangents_are_not_lost_in_a_prediction():
    """Which inference mode drops without a word."""
    torch.manual_seed(0)
    operator = MANO(width=16, depth=1, mlp_width=32, spacing=1 / 24).double().eval()
    a, da = torch.randn(2, 1, 1, 33, 31, dtype=torch.float64)
    with dual_level(), sdpa_kernel(SDPBackend.MATH):  # the others have no rule for tangents
        du = unpack_dual(operator(make_dual(a, da))).tangent
    difference = (operator(a + 1e-5 * da) - operator(a - 1e-5 * da)) / 2e-5
    torch.testing.assert_close(du, difference, rtol=1e-6, atol=1e-8)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is")
@torch.no_grad()
def test_tangents_of_a_block_are_not_lost_in_a_prediction():
    """Those of its input have none where only the weights of a later layer do."""
    torch.manual_seed(0)
    operator = MANO(width=16, depth=1, mlp_width=32, spacing=1 / 24).double().eval()
    a, name = torch.randn(1, 1, 33, 31, dtype=torch.float64), "blocks.0.mlp.fc1.weight"
    weight = operator.get_parameter(name).clone()
    step = torch.randn_like(weight)

    def predict(weight):
        return functional_call(operator, {name: weight}, a)

    with dual_level(), sdpa_kernel(SDPBackend.MATH):
        du = unpack_dual(predict(make_dual(weight, step))).tangent
    difference = (predict(weight + 1e-5 * step) - predict(weight - 1e-5 * step)) / 2e-5
    torch.testing.assert_close(du, difference, rtol=1e-6, atol=1e-8)


def test_an_operator_computes_where_its_weights_are_whatever_the_default_device():
    model, a = operator(spacing=1 / 8), torch.randn(1, 1, 21, 14, dtype=torch.float64)
    with torch.device("meta"):
        u = model(a)
    torch.testing.assert_close(u, model(a))


@pytest.mark.parametrize("points", [13, 85])
@pytest.mark.parametrize("grid", ["vertices", "periodic"])
def test_bands_of_the_lattice_leave_out_zeros_alone(points, grid):
    down, up = (
        make(points, 29, grid, torch.device("cpu"), torch.float64).view(shape)
        for make, shape in ((gathering, (2, 29, points)), (expanding, (points, 2, 29)))
    )
    whole_down, whole_up = torch.zeros_like(down), torch.zeros_like(up)
    for band in in_place.bands(points, 29, grid, torch.float64):
        rows = len(range(29)[band.lattice])
        whole_down[:, band.lattice, band.points] = band.gathering.view(2, rows, -1)
        whole_up[band.points, :, band.lattice] = band.expanding.view(-1, 2, rows)
    assert torch.equal(whole_down, down)
    assert torch.equal(whole_up, up)


@torch.no_grad()
def test_a_prediction_in_bfloat16_is_rounded():
    """Its distance from float32's is a few roundings, 2⁻⁹ each, and no more in place than module by module."""
    torch.manual_seed(0)
    operator = MANO(width=16, depth=2, mlp_width=32, spacing=1 / 24).eval()
    a = torch.randn(2, 1, 33, 31)
    exact, distances = operator(a), []
    for _ in range(2):
        with torch.autocast("cpu", torch.bfloat16):
            distances.append(((operator(a) - exact).norm() / exact.norm()).item())
        operator.register_forward_hook(lambda *_: None)
    in_place_, by_module = distances
    assert 0 < in_place_ < 1.2 * by_module < 0.02


def test_attention_of_a_prediction_is_that_of_training():
    """On a CPU the two take different forms of it."""
    forms = {torch.is_grad_enabled(): form_of(Place.of(torch.zeros(1)), 29, 29, 8, 4)}
    torch.manual_seed(0)
    operator = MANO(width=16, depth=2, mlp_width=32, spacing=1 / 28).double().eval()
    a = torch.randn(1, 1, 33, 31, dtype=torch.float64)
    trained = operator(a).detach()
    with torch.no_grad():
        forms[torch.is_grad_enabled()] = form_of(Place.of(torch.zeros(1)), 29, 29, 8, 4)
        torch.testing.assert_close(operator(a), trained, rtol=0, atol=1e-12)
    assert forms == {True: "blocks", False: "windows"}
