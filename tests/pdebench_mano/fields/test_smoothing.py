"""What a coarser grid shows on average."""

import pytest
import torch

from pdebench_mano import MANO
from pdebench_mano.fields.lattice import axis, interpolation
from pdebench_mano.fields.smoothing import smoothed


@pytest.mark.parametrize(("points", "k"), [(24, 2), (24, 3), (30, 5)])
def test_it_is_the_mean_of_the_interpolants_over_all_places_of_the_coarser_grid(points, k):
    """Of a periodic field known at every k-th point, wherever these begin, interpolated to all points."""
    field = torch.randn(2, 3, points, points, dtype=torch.float64)
    x = axis(points, "periodic", field.device)
    weights = interpolation(x, x[::k], "periodic").to(field)
    mean = torch.zeros_like(field)
    for i in range(k):
        for j in range(k):
            coarse = field.roll((-i, -j), (-2, -1))[..., ::k, ::k]
            mean += (weights @ coarse @ weights.T).roll((i, j), (-2, -1)) / k**2
    torch.testing.assert_close(smoothed(field, k / points, "periodic"), mean, rtol=0, atol=1e-12)


@pytest.mark.parametrize("spacing", [1 / 40, 1 / 32, 1 / 27, 1 / 20, 0.09])
def test_parabolas_are_raised_by_the_second_moment_of_the_hat_less_that_of_the_grid_s_own(spacing):
    """At every ratio of the spacings, also between integers: (H² - h²)/6 each axis."""
    square = torch.linspace(0, 1, 41, dtype=torch.float64) ** 2
    raised = smoothed((square[:, None] + square).expand(1, 1, 41, 41), spacing, "vertices") - square[:, None] - square
    inside = raised[..., 4:-4, 4:-4]
    torch.testing.assert_close(inside, torch.full_like(inside, (spacing**2 - 1 / 40**2) / 3), rtol=0, atol=1e-12)


@pytest.mark.parametrize("grid", ["vertices", "left", "periodic"])
@pytest.mark.parametrize("shape", [(43, 43), (31, 20)])
def test_constants_stay_and_so_does_what_the_grid_itself_shows(grid, shape):
    field = torch.randn(1, 1, *shape, dtype=torch.float64)
    torch.testing.assert_close(smoothed(torch.full_like(field, 3.0), 0.1, grid), torch.full_like(field, 3.0))
    finest = min(1 / (n - (grid == "vertices")) for n in shape)
    torch.testing.assert_close(smoothed(field, finest, grid), field, rtol=0, atol=0)


@pytest.mark.parametrize("grid", ["vertices", "left"])
def test_lines_stay_away_from_the_sides_and_mirrors_commute_on_vertices(grid):
    line = torch.linspace(0, 1, 41, dtype=torch.float64).expand(1, 1, 41, 41)
    torch.testing.assert_close(smoothed(line, 0.09, grid)[..., 4:-4], line[..., 4:-4])
    field = torch.randn(1, 1, 41, 41, dtype=torch.float64)
    if grid == "vertices":
        torch.testing.assert_close(smoothed(field.flip(-1), 0.09, grid), smoothed(field, 0.09, grid).flip(-1))


def test_an_operator_reads_finer_grids_smoothed_and_its_own_as_it_is():
    torch.manual_seed(0)
    plain = MANO(width=8, depth=1, mlp_width=8, spacing=1 / 4).double().eval()
    smoothing = MANO(width=8, depth=1, mlp_width=8, spacing=1 / 4, input_spacing=1 / 8).double().eval()
    smoothing.load_state_dict(plain.state_dict())
    own, finer = (torch.randn(1, 1, n, n, dtype=torch.float64) for n in (9, 25))
    with torch.no_grad():
        torch.testing.assert_close(smoothing(own), plain(own), rtol=0, atol=0)
        torch.testing.assert_close(smoothing(finer), plain(smoothed(finer, 1 / 8, "vertices")), rtol=0, atol=0)
        assert (smoothing(finer) - plain(finer)).abs().max() > 1e-3


@pytest.mark.parametrize("spacing", [0.0, -0.1, 0.6, float("nan")])
def test_a_spacing_that_is_none_is_refused(spacing):
    with pytest.raises(ValueError, match="at most 1/2"):
        smoothed(torch.zeros(1, 1, 9, 9), spacing, "vertices")
    with pytest.raises(ValueError, match="input_spacing"):
        MANO(input_spacing=spacing)
