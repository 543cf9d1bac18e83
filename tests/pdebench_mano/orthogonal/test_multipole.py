"""The multipole layer: an isometry of the integral on every kind of grid, global, and one operator on all of them."""

from itertools import pairwise

import pytest
import torch

from data_gen.grid import KINDS
from pdebench_mano.fields.lattice import axis
from pdebench_mano.fields.normalized import NormalizedOperator, Normalizer
from pdebench_mano.fields.operator import live_on
from pdebench_mano.operators.contract import RESOLUTIONS, relative, smooth_coefficient
from pdebench_mano.orthogonal import OrthogonalMANO, OrthogonalMultipole
from pdebench_mano.orthogonal.multipole import hats
from pdebench_mano.orthogonal.weighted import trapezoid, weigh
from pdebench_mano.training.losses import relative_l2
from pdebench_mano.training.regimes import FotonLatent, TransportedFoton, alignment

GRIDS = [(17, 17), (20, 20), (33, 24)]
LATTICES = [2, 4, 8]


def multipole(lattice, kind, channels=5):
    """A layer in double precision, its parameters anywhere on their constraint."""
    torch.manual_seed(0)
    layer = OrthogonalMultipole(channels, lattice)
    with torch.no_grad():
        for p in layer.parameters():
            p.add_(torch.randn_like(p))
    layer.double().retract()
    layer.grid = kind
    return layer


def inner(u, v, kind):
    return torch.sum(weigh(u, kind) * v).item()


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("lattice", LATTICES)
@pytest.mark.parametrize("kind", KINDS)
def test_layer_is_an_isometry_of_the_integral_with_its_adjoint(kind, lattice, grid):
    layer = multipole(lattice, kind)
    z, v = torch.randn(2, 3, 5, *grid, dtype=torch.float64)
    size = inner(z, z, kind)
    assert inner(layer.lin(z), layer.lin(z), kind) == pytest.approx(size, rel=1e-12)
    assert inner(layer.lin(z), v, kind) == pytest.approx(inner(z, layer.adj(v), kind), abs=1e-12 * size)
    torch.testing.assert_close(layer.lin(layer.adj(v)), v, rtol=0, atol=1e-12)
    assert layer.orthogonality_residual() < 1e-13


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("lattice", LATTICES)
@pytest.mark.parametrize("kind", KINDS)
def test_walking_back_through_the_factors_gives_the_derivative(kind, lattice, grid):
    layer = multipole(lattice, kind)
    z, delta = torch.randn(2, 3, 5, *grid, dtype=torch.float64)
    exact = torch.autograd.grad(torch.sum(weigh(delta, kind) * layer(z)), list(layer.parameters()))
    got = layer.param_grad(delta, z)
    for (name, _), g in zip(layer.named_parameters(), exact, strict=True):
        torch.testing.assert_close(got[name], g, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("points", [17, 20, 65])
@pytest.mark.parametrize("cells", [2, 8])
def test_hats_are_orthonormal_and_hold_linear_fields(points, cells, kind):
    cpu = torch.device("cpu")
    b = hats(points, cells, kind, torch.float64, cpu)
    weights, x = trapezoid(points, kind, torch.float64, cpu), axis(points, kind, cpu)
    weighted = weights[:, None] * b
    torch.testing.assert_close(b.mT @ weighted, torch.eye(cells, dtype=torch.float64), rtol=0, atol=1e-13)
    for field in [torch.ones_like(x)] + [x] * (kind != "periodic"):  # on a circle, x jumps
        torch.testing.assert_close(b @ (weighted.mT @ field), field, rtol=0, atol=1e-13)


@pytest.mark.parametrize("lattice", LATTICES)
def test_a_new_layer_mixes_the_channels_of_each_point(lattice):
    layer, z = OrthogonalMultipole(5, lattice), torch.randn(2, 5, 17, 20)
    torch.testing.assert_close(layer.lin(z), torch.einsum("oi,bixy->boxy", layer.rest, z), rtol=0, atol=1e-5)


def test_every_point_sees_every_other():
    layer, z = multipole(8, "vertices"), torch.zeros(1, 5, 33, 33, dtype=torch.float64)
    z[0, :, 0, 0] = 1
    assert layer.lin(z).abs().sum(1).min() > 1e-6


def test_only_a_periodic_lattice_goes_round():
    """Shifted windows alone, on the finest level: the first point is beside the last, or far from it."""
    z, seen = torch.zeros(1, 5, 32, 32, dtype=torch.float64), {}
    z[..., 0, 0] = 1
    for kind in KINDS:
        layer, random = OrthogonalMultipole(5, 8).double(), multipole(8, kind)
        with torch.no_grad():
            layer.factors[0] = random.factors[0]
        layer.grid = kind
        seen[kind] = layer.lin(z)[..., -3:, -3:].abs().max().item()
    assert seen["periodic"] > 1e-2
    assert max(seen["vertices"], seen["left"]) < 1e-4


@pytest.mark.parametrize("kind", ["vertices", "periodic"])
def test_a_finer_grid_refines_the_same_layer_at_second_order(kind):
    layer, ends = multipole(8, kind, channels=1), kind == "vertices"
    fields = {n: layer.lin(smooth_coefficient(n + ends, kind).double()) for n in (32, 64, 128)}
    values = [u[..., :: n // 32, :: n // 32] for n, u in fields.items()]
    first, second = (relative(fine - coarse, values[-1]) for coarse, fine in pairwise(values))
    assert first / second == pytest.approx(4, rel=0.15)


@pytest.mark.parametrize(
    "regime", [FotonLatent(), *(TransportedFoton(slopes=s) for s in ("none", "channel", "point", "block", 2))]
)
@pytest.mark.parametrize("kind", KINDS)
def test_linear_chains_get_the_exact_gradient(kind, regime):
    torch.manual_seed(1)
    chain = OrthogonalMANO(2, 1, width=6, depth=6, activation="identity").double()
    for i, block in enumerate(chain.blocks):
        chain.blocks[i].load_state_dict(multipole(8, kind, block.in_features).state_dict())
    live_on(chain, kind)
    a, u = torch.randn(3, 2, 17, 20).double(), torch.randn(3, 1, 17, 20).double()
    for name, (cosine, ratio) in alignment(chain, regime, a, u, relative_l2).items():
        assert cosine >= 1 - 1e-12, name
        assert ratio == pytest.approx(1, abs=1e-10), name


def test_the_kind_of_grid_reaches_every_layer():
    operator = OrthogonalMANO(1, 1, width=4, depth=2)
    NormalizedOperator(operator, Normalizer.identity(1), Normalizer.identity(1), "periodic")
    assert {layer.grid for layer in operator.layers} == {"periodic"}


def test_the_lattice_fits_the_grid_or_is_refused():
    with pytest.raises(ValueError, match="lattice must be a power of two, 2 at least, got 12"):
        OrthogonalMANO(1, 1, lattice=12)
    operator = OrthogonalMANO(1, 1, width=4, depth=1, lattice=16)
    operator(torch.zeros(1, 1, 33, 33))
    with pytest.raises(ValueError, match="lattice=16 needs a grid of at least 33 points a side, got 33×32"):
        operator(torch.zeros(1, 1, 33, 32))
    live_on(operator, "left")
    operator(torch.zeros(1, 1, 33, 32))


@pytest.mark.parametrize("n", RESOLUTIONS)
def test_reversed_factors_keep_their_precision_in_float32(n):
    layer = multipole(8, "vertices")
    z, delta = torch.randn(2, 3, 5, n, n, dtype=torch.float64)
    exact = layer.param_grad(delta, z)
    single = layer.float().param_grad(delta.float(), z.float())
    assert all((single[name] - g).norm() < 1e-5 * g.norm() for name, g in exact.items())


def test_constraint_holds_after_a_thousand_steps():
    torch.manual_seed(0)
    operator, regime = OrthogonalMANO(1, 1, width=4, depth=1, lattice=2), TransportedFoton()
    a, u = torch.randn(2, 2, 1, 5, 6)
    optimizer = torch.optim.Adam(operator.parameters(), lr=1e-2)
    for _ in range(1000):
        optimizer.zero_grad()
        regime.gradients(operator, a, u, relative_l2)
        optimizer.step()
        regime.retract(operator)
    assert operator.orthogonality_residual() < 1e-5
