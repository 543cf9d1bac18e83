"""A grid knows its points, its integral, and the grids that lie in it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_gen import Grid
from data_gen.grid import KINDS

kinds = st.sampled_from(KINDS)
sides = st.floats(0.1, 10)


@given(st.integers(2, 200), kinds)
def test_exact_strides_keep_both_ends_or_the_left_one(n, kind):
    (points,) = Grid((n,), kind).axes()
    for m in range(2, n + 1):
        try:
            coarse, stride = Grid((n,), kind).coarsened(m)
        except ValueError as error:
            possible = [int(word) for word in str(error).split("are ")[1].split(", ")]
            assert m not in possible
            assert n in possible
        else:
            np.testing.assert_allclose(points[::stride], coarse.axes()[0], atol=1e-15)


@given(st.tuples(st.integers(2, 40), st.integers(2, 40)), kinds, st.integers(2, 5))
def test_refined_then_coarsened_is_the_same_grid(shape, kind, factor):
    grid = Grid(shape, kind, (2.0, 3.0))
    assert grid.refined(factor).coarsened(shape[0]) == (grid, factor)
    np.testing.assert_allclose(grid.refined(factor).mesh()[:, ::factor, ::factor], grid.mesh(), rtol=1e-14, atol=0)


@given(st.tuples(st.integers(2, 40), st.integers(2, 40)), st.tuples(sides, sides))
def test_weights_of_vertices_integrate_bilinear_functions_exactly(shape, lengths):
    grid = Grid(shape, "vertices", lengths)
    x, y = grid.mesh()
    assert (grid.weights() * x * y).sum() == pytest.approx(lengths[0] ** 2 * lengths[1] ** 2 / 4, rel=1e-12)


@given(st.lists(st.integers(2, 12), min_size=1, max_size=3), kinds, sides)
def test_weights_sum_to_the_volume(shape, kind, side):
    grid = Grid(tuple(shape), kind, (side,) * len(shape))
    assert grid.weights().shape == grid.shape
    assert grid.weights().sum() == pytest.approx(side ** len(shape), rel=1e-12)


def test_points_of_left_and_periodic_grids_leave_out_the_right_end():
    for kind in ("left", "periodic"):
        x, y = Grid((4, 5), kind, (2.0, 1.0)).axes()
        np.testing.assert_allclose(x, [0, 0.5, 1, 1.5])
        np.testing.assert_allclose(y, [0, 0.2, 0.4, 0.6, 0.8])
    assert Grid((5, 3)).spacing == (0.25, 0.5)
    assert Grid((5, 3)).mesh()[0, 2, 1] == 0.5


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (Grid((17, 17)), "resolution 7 is no exact stride of 17 vertices: possible are 2, 3, 5, 9, 17"),
        (Grid((33, 17)), "resolution 7 is no exact stride of 33×17 vertices: possible are 3, 5, 9, 17, 33"),
        (Grid((12, 8), "periodic"), "resolution 7 is no exact stride of 12×8 periodic: possible are 3, 6, 12"),
    ],
)
def test_the_possible_resolutions_are_said(grid, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        grid.coarsened(7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((4, 4), "cells"), "grid must be one of vertices, left, periodic"),
        (((1, 4),), "at least 2 points"),
        (((0, 4), "left"), "at least 1 points"),
        (((4, 4), "left", (1.0,)), "lengths must be 2 positive numbers"),
        (((4, 4), "left", (1.0, -1.0)), "lengths must be 2 positive numbers"),
    ],
)
def test_what_is_no_grid_is_refused(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message if arguments[1:2] != ("cells",) else "cells"):
        Grid(*arguments)
