"""Coarser grids are exact strides of finer ones."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from data_gen.grid import exact_stride, left, vertices


@given(st.integers(2, 200), st.sampled_from(["vertices", "left"]))
def test_exact_strides_keep_both_ends_or_the_left_one(n, grid):
    points = vertices(n) if grid == "vertices" else left(n)
    for m in range(2, n + 1):
        try:
            stride = exact_stride(n, m, grid)
        except ValueError as error:
            possible = [int(word) for word in str(error).split("are ")[1].split(", ")]
            assert m not in possible
            assert n in possible
        else:
            coarse = vertices(m) if grid == "vertices" else left(m)
            np.testing.assert_allclose(points[::stride], coarse, atol=1e-15)
