"""MANO with attention on a lattice of fixed spacing: the same operator on every grid."""

from itertools import pairwise

import pytest
import torch

from pdebench_mano import MANO
from pdebench_mano.contract import smooth_coefficient


def operator(**arguments):
    torch.manual_seed(0)
    return MANO(1, 1, width=16, depth=2, heads=2, head_dim=8, mlp_width=16, window=4, stride=2, **arguments).double()


def test_on_the_lattice_itself_it_is_the_published_operator():
    published, anchored = operator(), operator(spacing=1 / 16)
    a = torch.rand(2, 1, 17, 17, dtype=torch.float64)
    assert torch.equal(anchored(a), published(a))
    coarser = a[..., ::2, ::2]
    assert torch.equal(anchored(coarser), published(coarser)), "a grid coarser than the lattice is its own"


@torch.no_grad()
def differences(model):
    """Between predictions on successive grids, at the points they share."""
    values = [
        model(smooth_coefficient(n, "vertices").double())[..., :: n // 32, :: n // 32] for n in (33, 65, 129, 257)
    ]
    return [(fine - coarse).norm().item() for coarse, fine in pairwise(values)]


def test_a_finer_grid_refines_the_same_operator():
    anchored, published = differences(operator(spacing=1 / 16)), differences(operator())
    assert all(coarse / fine == pytest.approx(4, rel=0.1) for coarse, fine in pairwise(anchored)), "second order"
    assert published[-1] > 10 * anchored[-1], "windows that count points are others on every grid"


def test_what_is_no_spacing_is_refused():
    with pytest.raises(ValueError, match=r"spacing must be in \(0, 0.5\]"):
        operator(spacing=33.0)
