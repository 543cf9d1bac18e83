"""Sparse LU: the ordering is one, and only what its residual proves is returned."""

import numpy as np
import pytest
import scipy.sparse.linalg as spla
from hypothesis import given
from hypothesis import strategies as st

from data_gen.problem import NotConverged
from data_gen.problems.helmholtz import solver
from data_gen.problems.helmholtz.scheme import SCHEMES, load, matrix, relative_residual
from data_gen.problems.helmholtz.solver import dissection, solve


@given(st.integers(5, 40), st.integers(5, 40))
def test_dissection_numbers_every_vertex_once(n, m):
    np.testing.assert_array_equal(np.sort(dissection(n, m)), np.arange(n * m))


def test_dissection_fills_in_less_than_minimum_degree():
    A = matrix(np.ones((85, 85)), 40.0, "fourth-order")
    order = dissection(85, 85)
    dissected = spla.splu(A[order][:, order].tocsc(), permc_spec="NATURAL", options={"SymmetricMode": True})
    degree = spla.splu(A.tocsc(), permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
    assert dissected.nnz < 0.9 * degree.nnz


@given(st.integers(5, 24), st.integers(5, 24), st.integers(0, 2**32 - 1), st.floats(12, 80), st.sampled_from(SCHEMES))
def test_any_positive_slowness_is_solved(n, m, seed, omega, scheme):
    slowness = 10 ** np.random.default_rng(seed).uniform(-1, 1, (n, m))
    found = solve(slowness, omega, scheme, 1e-11)
    assert found.residual == relative_residual(slowness, found.u, omega, scheme)
    assert found.residual <= 1e-11 or found.accepted_by == "floor"
    plain = spla.spsolve(matrix(slowness, omega, scheme).tocsc(), load((n, m), omega, scheme).ravel())
    np.testing.assert_allclose(found.u.ravel(), plain, atol=1e-9 * np.abs(plain).max())


def test_a_missed_tolerance_raises_and_the_floor_is_told(monkeypatch):
    m = np.ones((33, 33))
    assert solve(m, 20.0, "fourth-order", 1e-16).accepted_by == "floor"
    monkeypatch.setattr(solver, "FLOOR", 0.0)
    with pytest.raises(NotConverged, match=r"the relative residual is .*, not 1e-16"):
        solve(m, 20.0, "fourth-order", 1e-16)
