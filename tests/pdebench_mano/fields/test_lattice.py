"""Lattice transfer is exact where linear interpolation is, and converges where the grid is refined."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from baselines.vit import ViT
from pdebench_mano.fields.lattice import check_spacing, lattice_shape, resample, resampling
from pdebench_mano.fields.operator import coordinates

sizes = st.integers(2, 40)
grids = st.sampled_from(["vertices", "left"])


@given(sizes, sizes, sizes, sizes, grids)
def test_constants_survive(n, m, new_n, new_m, grid):
    field = torch.full((1, 2, n, m), 3.0, dtype=torch.float64)
    torch.testing.assert_close(resample(field, (new_n, new_m), grid), torch.full((1, 2, new_n, new_m), 3.0).double())


@given(sizes, st.integers(1, 6))
def test_linear_fields_survive_on_vertices(n, factor):
    """Exactly on the way up; inside the domain on the way down, where hats are symmetric."""
    fine_n = factor * (n - 1) + 1
    coarse, fine = (coordinates(k, k, dtype=torch.float64)[None] for k in (n, fine_n))
    torch.testing.assert_close(resample(coarse, (fine_n, fine_n), "vertices"), fine)
    down = resample(fine, (n, n), "vertices")
    torch.testing.assert_close(down[..., 1:-1, 1:-1], coarse[..., 1:-1, 1:-1])


def test_restriction_converges_at_second_order():
    def smooth(n):
        x, y = coordinates(n, n, dtype=torch.float64)
        return torch.sin(3 * x + y**2)[None, None]

    values = [resample(smooth(n), (9, 9), "vertices") for n in (33, 65, 129, 257)]
    steps = torch.stack([(b - a).norm() for a, b in pairwise(values)])
    assert torch.log2(steps[:-1] / steps[1:]).numpy() == pytest.approx(2, abs=0.05)


def test_lattice_is_never_finer_than_the_grid():
    assert lattice_shape((33, 9), 1 / 16, "vertices") == (17, 9)
    assert lattice_shape((33, 9), 1 / 16, "left") == (16, 9)
    assert lattice_shape((33, 9), None, "left") == (33, 9)


def test_a_spacing_is_no_number_of_points():
    with pytest.raises(ValueError, match=r"spacing must be .* got 16\.0"):
        check_spacing(16.0)


def test_patches_leave_no_seams():
    """A jump between patches would be as high on every grid; a continuous prediction halves its steps."""
    torch.manual_seed(0)
    operator = ViT(width=16, depth=1, heads=1, patch=4)

    def steepest(n):
        x, y = coordinates(n, n)
        with torch.no_grad():
            u = operator(torch.sin(4 * x + 3 * y)[None, None])
        return max(u.diff(dim=-1).abs().max(), u.diff(dim=-2).abs().max())

    assert steepest(65) / steepest(129) == pytest.approx(2, rel=0.05)


def test_a_compiled_program_reads_what_is_remembered():
    """Were it built again, a recording of the program would copy from the CPU, which none may."""
    grids = 9, 17, "vertices", torch.device("cpu"), torch.float32
    compiled = torch.compile(lambda: resampling(*grids), backend="eager")
    assert compiled() is resampling(*grids)


def test_what_is_remembered_is_of_no_transform():
    """What `torch.func.grad` wraps outlives it here, without memory of its own."""
    grids = 19, 6, "vertices", torch.device("cpu"), torch.float64
    torch.func.grad(lambda x: x * resampling(*grids).sum())(torch.ones(()))
    assert resampling(*grids).data_ptr()
