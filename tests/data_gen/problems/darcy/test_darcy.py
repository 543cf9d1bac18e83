"""Darcy flow as a problem: which symmetries it has, and what an array source is on another grid."""

import numpy as np
import pytest

from data_gen import Grid, build_problem
from data_gen.samples import draw


def turned(n, m, function):
    x, y = Grid((n, m)).mesh()
    return np.array(function(x, y))


SOURCES = {
    "constant": (1.0, 8),
    "of a square's symmetry": (turned(17, 17, lambda x, y: x * (1 - x) * y * (1 - y)), 8),
    "even in x": (turned(17, 17, lambda x, y: x * (1 - x) + y), 2),
    "of no symmetry": (turned(17, 17, lambda x, y: x**2 + 3 * y), 1),
}


@pytest.mark.parametrize(("source", "count"), SOURCES.values(), ids=SOURCES)
def test_symmetries_are_those_that_leave_the_source_as_it_is(source, count):
    grid, darcy = Grid((17, 17)), build_problem("darcy", source=source)
    assert len(darcy.symmetries(grid)) == count
    a = draw(darcy, grid, 0, 0)
    u = darcy.solve(a, grid).u[0, 0]
    for symmetry in darcy.symmetries(grid):
        again = darcy.solve(symmetry.apply(a[0])[None], grid).u[0, 0]
        np.testing.assert_allclose(again, symmetry.apply(u), atol=1e-10 * u.max())


@pytest.mark.parametrize(
    ("grid", "count"), [(Grid((17, 33)), 4), (Grid((16, 16), "left"), 2), (Grid((16, 8), "left"), 1)]
)
def test_a_rectangle_and_a_left_grid_have_fewer(grid, count):
    assert len(build_problem("darcy").symmetries(grid)) == count


def test_an_array_source_is_strided_to_coarser_grids_and_splined_to_others():
    source = turned(33, 33, lambda x, y: 1 + x**2 * y)
    darcy = build_problem("darcy", source=source)
    np.testing.assert_array_equal(darcy.source_on(Grid((17, 17))), source[::2, ::2])
    np.testing.assert_allclose(darcy.source_on(Grid((65, 49))), turned(65, 49, lambda x, y: 1 + x**2 * y), atol=1e-12)
