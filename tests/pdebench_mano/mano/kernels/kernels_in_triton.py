"""The Triton kernels against the definition, in float32 where they are exact. Run by test_triton.py."""

from functools import partial

import numpy as np
import pytest
import torch
from torch.nn.functional import gelu
from triton.runtime import interpreter

from pdebench_mano import MultipoleAttention
from pdebench_mano.fields.convolution import Convolution
from pdebench_mano.fields.operator import live_on
from pdebench_mano.mano import fusion
from pdebench_mano.mano.anchored import AnchoredAttention, LocalAttention
from pdebench_mano.mano.expansions import expand, gather_beside
from pdebench_mano.mano.fusion import fused_linear, fused_mlp, fused_norms
from pdebench_mano.mano.kernels import using, window_attention
from pdebench_mano.mano.kernels.selection import Place

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.fixture(autouse=True)
def exact(monkeypatch):
    """cuDNN rounds float32 by default."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.fixture(autouse=True)
def inside(monkeypatch):
    """In the interpreter, no kernel reads or writes beside the memory of the tensors that it was given.

    A GPU says nothing of what lies near by, and stops the whole process at what lies far away.
    """
    if DEVICE == "cuda":
        return
    given, builder, executor = [], interpreter.InterpreterBuilder, interpreter.GridExecutor
    start, load, store = executor._init_args_hst, builder.create_masked_load, builder.create_masked_store

    def started(self, *arguments):
        found = start(self, *arguments)
        storages = [each.untyped_storage() for each in (*found[0], *found[1].values()) if torch.is_tensor(each)]
        given[:] = [(storage.data_ptr(), storage.data_ptr() + storage.nbytes()) for storage in storages]
        return found

    def check(places, mask):
        first = places.data[np.broadcast_to(mask.data, places.data.shape)]
        end = first + max(1, places.get_element_ty().primitive_bitwidth // 8)
        assert np.any([(first >= low) & (end <= high) for low, high in given], axis=0).all(), "beside what was given"

    def loaded(self, places, mask, *rest):
        check(places, mask)
        return load(self, places, mask, *rest)

    def stored(self, places, value, mask, *rest):
        check(places, mask)
        return store(self, places, value, mask, *rest)

    monkeypatch.setattr(executor, "_init_args_hst", started)
    monkeypatch.setattr(builder, "create_masked_load", loaded)
    monkeypatch.setattr(builder, "create_masked_store", stored)


def relative(value, reference):
    return float((value.double() - reference).norm() / reference.norm().clamp_min(1e-30))


@pytest.mark.parametrize(
    ("shape", "heads", "d", "window", "stride"),
    [
        ((2, 3, 17), 1, 16, 2, 1),  # bands; two tiles of columns
        ((1, 5, 2), 2, 8, 2, 1),
        ((1, 12, 16), 1, 16, 8, 4),  # blocks
        ((1, 9, 10), 1, 16, 8, 4),  # flush windows
        ((1, 5, 4), 1, 5, 3, 2),  # any windows
        ((1, 6, 6), 1, 16, 4, 4),
    ],
)
def test_attention_equals_the_definition(shape, heads, d, window, stride):
    qkv = torch.randn(*shape, 3 * heads * d, device=DEVICE, requires_grad=True)
    g = torch.randn(*shape, heads * d, device=DEVICE)
    y = window_attention(qkv, heads, window, stride, form="triton")
    exact = qkv.detach().double().requires_grad_()
    reference = window_attention(exact, heads, window, stride, form="windows")
    assert relative(y.detach(), reference.detach()) < 1e-5
    ours, theirs = torch.autograd.grad(y, qkv, g)[0], torch.autograd.grad(reference, exact, g.double())[0]
    for part, other in zip(ours.chunk(3, -1), theirs.chunk(3, -1), strict=True):
        assert relative(part, other) < 1e-5


def published(*geometry):
    return MultipoleAttention(16, 2, 8, *geometry)


def local(*without):
    return partial(LocalAttention, 16, 2, 8, without=without)


@pytest.mark.parametrize(
    ("shape", "layer", "window", "stride", "rate", "sampling", "residual", "grid"),
    [
        ((1, 5, 7), published, 2, 1, 2, "conv", True, "vertices"),  # odd: edges repeated and cropped
        ((2, 8, 8), published, 4, 2, 2, "avg_pool", False, "vertices"),
        ((1, 7, 6), published, 2, 2, 3, "conv", True, "vertices"),
        ((1, 4, 3), published, 2, 1, 4, "conv", False, "vertices"),  # one level
        ((1, 9, 8), local(), 4, 2, 2, "conv", False, "vertices"),
        ((2, 4, 5), local(), 2, 1, 2, "conv", True, "vertices"),
        ((2, 4, 5), local("convolution"), 2, 2, 2, "conv", False, "vertices"),
        ((2, 5, 4), local("rotary"), 2, 2, 2, "avg_pool", True, "vertices"),
        ((1, 4, 4), published, 2, 1, 2, "conv", True, "periodic"),
        ((1, 7, 6), local(), 4, 2, 2, "conv", False, "periodic"),  # one level, as it is no multiple of the stride
        ((1, 8, 8), local(), 4, 2, 2, "avg_pool", True, "periodic"),
    ],
)
def test_fused_layer_equals_its_modules(shape, layer, window, stride, rate, sampling, residual, grid):
    module = layer(window, stride, rate, None, sampling).to(DEVICE)
    live_on(module, grid)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    x, g = (torch.randn(*shape, 16, device=DEVICE) for _ in "xg")
    x.requires_grad_()
    with using("fused"):
        y = module(x, residual=residual)
    ours = torch.autograd.grad(y, [x, *module.parameters()], g, allow_unused=True, materialize_grads=True)
    module.double()
    exact = x.detach().double().requires_grad_()
    with using("windows"):
        reference = module(exact, residual=residual)
    assert relative(y.detach(), reference.detach()) < 1e-5
    theirs = torch.autograd.grad(
        reference, [exact, *module.parameters()], g.double(), allow_unused=True, materialize_grads=True
    )
    for a, b in zip(ours, theirs, strict=True):
        assert relative(a, b) < 1e-5


@pytest.mark.parametrize("widths", [(16, 48), (256, 16)])  # of (256, 16), weights' gradients are made by parts
@pytest.mark.parametrize(("products", "rounding"), [(torch.float32, 1e-5), (torch.float16, 1e-3)])
def test_fused_linear_equals_its_module(products, rounding, widths):
    layer = torch.nn.Linear(*widths).to(DEVICE)
    x, g = (torch.randn(3, 47, width, device=DEVICE) for width in widths)
    x.requires_grad_()
    with using("fused"), torch.autocast(DEVICE, products, enabled=products != torch.float32):
        y = fused_linear(layer, x)
    reference = layer(x)
    ours, theirs = (torch.autograd.grad(z, [x, *layer.parameters()], g.to(z.dtype)) for z in (y, reference))
    for a, b in zip((y, *ours), (reference, *theirs), strict=True):
        assert relative(a.detach(), b.detach().double()) < rounding


@torch.no_grad()
def test_tables_are_made_whatever_the_default_device():
    """Those of rotary positions, of a periodic grid and of its lattice."""
    layer, x = AnchoredAttention(16, 1 / 6, 2, 8, 2, 1, 3).to(DEVICE), torch.randn(1, 7, 5, 16, device=DEVICE)
    live_on(layer, "periodic")
    with using("fused"), torch.device("meta"):
        y = layer(x, "periodic")
    assert relative(y, layer(x, "periodic").double()) < 1e-5


@pytest.mark.parametrize(("grid", "without"), [("periodic", ()), ("vertices", ("moments",))])
def test_fused_anchored_layer_equals_its_modules(grid, without, monkeypatch):
    """Of five points of a periodic grid, attention is left to its modules: refused where everything is to be fused."""
    monkeypatch.setattr(fusion, "_refused", lambda why: None)
    layer = AnchoredAttention(16, 1 / 5, 2, 8, 2, 2, 2, without=without).to(DEVICE)
    live_on(layer, grid)
    x, g = (torch.randn(1, 6, 5, 16, device=DEVICE) for _ in "xg")
    x.requires_grad_()
    results = []
    for form in ("fused", "windows"):
        with using(form):
            y = layer(x, grid, residual=True)
        results.append((y, *torch.autograd.grad(y, [x, *layer.parameters()], g)))
    for a, b in zip(*results, strict=True):
        assert relative(a.detach(), b.detach().double()) < 1e-5


@pytest.mark.parametrize(
    ("name", "other", "why"),
    [
        ("local", partial(Convolution, 16, 16, 5, padding=2), "another convolution"),
        ("local", partial(torch.nn.Conv2d, 16, 16, 3, padding=1), "no plain Convolution"),
        ("qkv", partial(torch.nn.Linear, 16, 48), "a bias"),
        ("norm", torch.nn.Identity, "no plain LayerNorm"),
    ],
)
def test_a_layer_with_another_module_or_a_hook_is_not_fused(name, other, why):
    layer, hooked = (LocalAttention(16, 2, 8, 2, 1, 2) for _ in range(2))
    place = Place(torch.device(DEVICE), torch.float32)
    hooked.get_submodule(name).register_forward_hook(lambda *_: None)
    with using("fused"):
        assert fusion.attention_obstacle(layer, place, 8, 8) is None
        assert fusion.attention_obstacle(hooked, place, 8, 8).startswith(f"{name} is no plain")
        setattr(layer, name, other())
        assert why in fusion.attention_obstacle(layer, place, 8, 8)


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize(("products", "rounding"), [(torch.float32, 1e-5), (torch.float16, 1e-3)])
def test_fused_norms_equal_their_modules(products, rounding, number):
    norms = torch.nn.Sequential(*(torch.nn.LayerNorm(16) for _ in range(number))).to(DEVICE)
    with torch.no_grad():
        for parameter in norms.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    x, g = (torch.randn(3, 13, 16, device=DEVICE) for _ in "xg")
    x.requires_grad_()
    with using("fused"), torch.autocast(DEVICE, products, enabled=products != torch.float32):
        n = fused_norms(x, *norms)
    assert n.dtype == products, "what follows rounds to it"
    reference = norms(x)
    ours, theirs = (torch.autograd.grad(z, [x, *norms.parameters()], g.to(z.dtype)) for z in (n, reference))
    for a, b in zip((n, *ours), (reference, *theirs), strict=True):
        assert relative(a.detach(), b.detach().double()) < rounding


@pytest.mark.parametrize(("products", "rounding"), [(torch.float32, 1e-5), (torch.float16, 2e-3)])
@pytest.mark.parametrize(
    ("shape", "lattice", "grid"),
    [
        ((9, 70), (5, 6), "vertices"),  # two blocks of columns
        ((12, 7), (4, 9), "periodic"),
        ((4, 5), (7, 3), "vertices"),  # points of the lattice that no point of the grid has to do with
    ],
)
def test_fields_go_to_a_lattice_and_back_as_by_matrices(shape, lattice, grid, products, rounding):
    """What comes of the lattice is known to the digits of products, a field in float32 and its gradient to theirs."""
    x, g = (torch.randn(2, *shape, 16, device=DEVICE) for _ in "xg")
    x = (100 * x).requires_grad_()
    moments_g, c = (torch.randn(2, *lattice, 64, device=DEVICE) for _ in "mc")
    c.requires_grad_()

    def there_and_back():
        moments, beside = gather_beside(x, lattice, grid)
        y = expand(c.to(products), shape, grid, beside)
        return moments, y - x.detach(), *torch.autograd.grad([moments, y], [x, c], [moments_g.to(moments.dtype), g])

    with using("fused"), torch.autocast(DEVICE, products, enabled=products != torch.float32):
        ours = there_and_back()
    products = torch.float32
    with using("windows"):
        theirs = there_and_back()
    for number, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        rest = g if number == 2 else 0
        assert relative(a.detach() - rest, (b.detach() - rest).double()) < rounding


def layers_of_an_mlp(outputs, width=16, hidden=48):
    layers = torch.nn.LayerNorm(width), torch.nn.Linear(width, hidden), torch.nn.Linear(hidden, outputs)
    return [layer.to(DEVICE) for layer in layers]


@pytest.mark.parametrize(("activation", "outputs", "residual"), [("gelu", 16, True), ("tanh", 3, False)])
def test_fused_mlp_equals_its_modules(activation, outputs, residual):
    norm, fc1, fc2 = layers_of_an_mlp(outputs)
    parameters = [p for layer in (norm, fc1, fc2) for p in layer.parameters()]
    x, g = torch.randn(2, 37, 16, device=DEVICE, requires_grad=True), torch.randn(2, 37, outputs, device=DEVICE)
    with using("fused"):
        y = fused_mlp(norm, fc1, fc2, x, activation=activation, residual=residual)
    reference = fc2((gelu if activation == "gelu" else torch.tanh)(fc1(norm(x)))) + (x if residual else 0)
    assert relative(y.detach(), reference.detach().double()) < 1e-5
    ours, theirs = (torch.autograd.grad(z, [x, *parameters], g) for z in (y, reference))
    for a, b in zip(ours, theirs, strict=True):
        assert relative(a, b.double()) < 1e-5


@pytest.mark.parametrize(("residual", "width", "hidden"), [(True, 16, 48), (False, 16, 48), (True, 32, 64)])
def test_fused_mlp_rounds_products_but_not_the_field(residual, width, hidden):
    """Of a field in float32, and of its gradient, what the mlp adds is known to the digits of its products.

    They are in float16: of bfloat16, Triton's interpreter multiplies the bits as integers. On a GPU of Hopper's kind,
    products of 64 rows of the third one's size have read beside a program's memory.
    """
    norm, fc1, fc2 = layers_of_an_mlp(width, width, hidden)
    parameters = [p for layer in (norm, fc1, fc2) for p in layer.parameters()]
    x = 100 * torch.randn(2, 37, width, device=DEVICE)
    x.requires_grad_()
    with using("fused"), torch.autocast(DEVICE, torch.float16):
        y = fused_mlp(norm, fc1, fc2, x, residual=residual)
    assert y.dtype == (torch.float32 if residual else torch.float16), "as of the modules"
    g = torch.randn(2, 37, width, device=DEVICE)
    reference = fc2(gelu(fc1(norm(x))))
    ours, theirs = (torch.autograd.grad(z, [x, *parameters], g.to(z.dtype)) for z in (y, reference))
    added, gradient = (y - x, ours[0] - g) if residual else (y, ours[0])
    for a, b in zip((added, gradient, *ours[1:]), (reference, *theirs), strict=True):
        assert relative(a.detach(), b.detach().double()) < 2e-3


def test_layers_with_other_biases_are_left_to_their_modules():
    """The kernels read one bias of `out`, none of `qkv`, and one of each layer of an mlp: others would be left out."""
    layer, x = MultipoleAttention(16, 2, 8, 2, 1, 2).to(DEVICE), torch.randn(1, 8, 8, 16, device=DEVICE)
    layer.qkv = torch.nn.Linear(16, 48).to(DEVICE)
    with using("fused"), pytest.raises(ValueError, match="qkv has a bias"):
        layer(x)
    norm, fc1, _ = layers_of_an_mlp(16)
    without = torch.nn.Linear(48, 16, bias=False).to(DEVICE)
    with using("fused"), pytest.raises(ValueError, match="fc1 or fc2 has no bias"):
        fused_mlp(norm, fc1, without, x)
