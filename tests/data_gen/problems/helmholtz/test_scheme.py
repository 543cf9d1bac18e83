"""The schemes: reference values, order, plane waves, balance of power, reciprocity."""

import numpy as np
import pytest
import scipy.sparse.linalg as spla
from hypothesis import given
from hypothesis import strategies as st

from data_gen import Grid
from data_gen.problems.helmholtz.scheme import (
    SCHEMES,
    apply,
    axis,
    check_slowness,
    load,
    magnitude,
    matrix,
    power,
    relative_residual,
    source,
)
from data_gen.problems.helmholtz.solver import solve

FIVE_POINT = {
    20.0: [6.74e-3, 1.68e-3, 4.20e-4],
    40.0: [4.47e-2, 1.10e-2, 2.74e-3],
    80.0: [3.49e-1, 8.03e-2, 1.97e-2],
}
"""Errors of the reference's own five-point solutions at 65², 129² and 257²."""

POWER = {20.0: 0.175083541, 40.0: 0.172596785, 80.0: 0.171523534}


def reference_slowness(n, m=None):
    """That of the reference values, on any grid."""
    x, y = Grid((n, m or n)).mesh()
    return (1.5 + np.cos(2 * np.pi * x + 0.5) * np.cos(np.pi * y) / 4 + np.sin(3 * x - 2 * y + 0.3) / 5) ** -2


def distance(u, truth):
    """‖u - t‖ / ‖t‖."""
    return np.linalg.norm(u - truth) / np.linalg.norm(truth)


def observed_order(errors):
    """Slope of log error against log spacing, halved each time."""
    return -np.polyfit(np.arange(len(errors)), np.log2(errors), 1)[0]


def errors_on(golden, omega, scheme, grids):
    """Against the reference on its 33² vertices."""
    with np.load(golden / "helmholtz.npz") as reference:
        truth = reference[f"u_w{omega:g}"]
    waves = (solve(reference_slowness(n), omega, scheme, 1e-11).u for n in grids)
    return [distance(u[:: len(u) // 32, :: len(u) // 32], truth) for u in waves]


@pytest.mark.parametrize("omega", FIVE_POINT)
def test_five_points_are_as_wrong_as_the_reference_says(golden, omega):
    assert errors_on(golden, omega, "five-point", (65, 129, 257)) == pytest.approx(FIVE_POINT[omega], rel=0.05)


@pytest.mark.parametrize(("omega", "at_257"), [(20.0, 1e-6), (40.0, 5e-5), (80.0, 1e-4)])
def test_nine_points_reach_the_reference_at_fourth_order(golden, omega, at_257):
    errors = errors_on(golden, omega, "fourth-order", (65, 129, 257))
    assert 3.8 < observed_order(errors) < 4.1
    assert errors[-1] < at_257


@pytest.mark.parametrize(("scheme", "order"), [("five-point", 2), ("fourth-order", 4)])
@pytest.mark.parametrize("angle", [0.0, 0.4, np.pi / 4, 2.0])
def test_plane_waves_come_and_go_at_the_order_of_the_scheme(scheme, order, angle):
    """u = exp(ik·x) in a homogeneous medium, let in by ∂ₙu - iωu = q on the sides; on a rectangular grid."""
    omega, direction = 9.0, np.array([np.cos(angle), np.sin(angle)])
    errors = []
    for k in (16, 32, 64):
        grid = Grid((k + 1, 3 * k // 2 + 1))
        truth = np.exp(1j * omega * np.tensordot(direction, grid.mesh(), 1))
        outwards = np.sign(grid.mesh() - 0.5)
        q_x, q_y = (1j * omega * (out * d - 1) * truth for out, d in zip(outwards, direction, strict=True))
        x, y = (axis(n, scheme) for n in grid.shape)
        rhs = (x.B @ q_x) @ y.M.T + x.M @ (q_y @ y.B.T)
        u = spla.spsolve(matrix(np.ones(grid.shape), omega, scheme).tocsc(), rhs.ravel()).reshape(grid.shape)
        errors.append(distance(u, truth))
    assert observed_order(errors) == pytest.approx(order, abs=0.15)


def random_slowness(shape, seed):
    """Any that is positive."""
    return 10 ** np.random.default_rng(seed).uniform(-1, 1, shape)


@given(st.integers(5, 9), st.integers(5, 9), st.integers(0, 2**32 - 1), st.floats(12, 80), st.sampled_from(SCHEMES))
def test_products_of_one_dimension_are_the_matrix(n, m, seed, omega, scheme):
    slowness = random_slowness((n, m), seed)
    rng = np.random.default_rng(seed)
    u = rng.standard_normal((n, m)) + 1j * rng.standard_normal((n, m))
    A = matrix(slowness, omega, scheme)
    bound = magnitude(slowness, u, omega, scheme)
    np.testing.assert_allclose(
        (A @ u.ravel()).reshape(n, m), apply(slowness, u, omega, scheme), atol=1e-14 * bound.max()
    )
    assert (abs(A) @ abs(u).ravel() <= bound.ravel() * (1 + 1e-12)).all()


def test_power_that_leaves_is_what_the_source_gives():
    """To round-off with half cells, and 16 times closer at half the spacing at fourth order."""
    for shape in ((33, 33), (40, 57)):
        m = random_slowness(shape, 1)
        leaving, given_ = power(m, solve(m, 20.0, "five-point", 1e-11).u, 20.0)
        assert leaving == pytest.approx(given_, rel=1e-11)
    imbalances = []
    for n in (65, 129, 257):
        m = reference_slowness(n)
        leaving, given_ = power(m, solve(m, 40.0, "fourth-order", 1e-11).u, 40.0)
        imbalances.append(abs(leaving / given_ - 1))
    assert observed_order(imbalances) == pytest.approx(4, abs=0.2)


@pytest.mark.parametrize("omega", POWER)
def test_power_is_that_of_the_reference(omega):
    m = reference_slowness(257)
    u = solve(m, omega, "fourth-order", 1e-11).u
    assert power(m, u, omega) == pytest.approx((POWER[omega],) * 2, rel=2e-4)


def test_source_and_receiver_may_change_places_with_half_cells():
    m = random_slowness((14, 11), 2)
    A = matrix(m, 20.0, "five-point")
    assert abs(A - A.T).max() == 0
    from_source = spla.splu(A.tocsc()).solve(np.eye(m.size, dtype=complex)[:, [30, 101]])
    np.testing.assert_allclose(from_source[101, 0], from_source[30, 1], rtol=1e-12)


def test_the_source_has_integral_one_and_ends_before_the_sides():
    for omega in (20.0, 80.0):
        grid = Grid((257, 129))
        assert (source(grid.shape, omega) * grid.weights()).sum() == pytest.approx(1, abs=1e-8)
        assert source(grid.shape, omega)[0].max() < 1e-7 * source(grid.shape, omega).max()
        for scheme in SCHEMES:
            assert load(grid.shape, omega, scheme).sum() == pytest.approx(1, abs=1e-8)


def test_residual_sees_a_single_wrong_value():
    m = reference_slowness(33)
    u = solve(m, 20.0, "fourth-order", 1e-11).u
    u[16, 9] *= 1 + 1e-6j
    assert relative_residual(m, u, 20.0, "fourth-order") > 1e-8


@pytest.mark.parametrize(
    ("m", "message"),
    [
        (np.full((9, 9), np.nan), "must be finite"),
        (np.full((9, 9), np.inf), "must be finite"),
        (np.zeros((9, 9)), r"must be positive, its minimum is 0"),
        (-np.ones((9, 9)), "must be positive, its minimum is -1"),
        (np.ones((9, 9)) * (1 + 1j), "must be real, got complex values"),
        (np.ones((9, 8)), r"shape of its grid, \(9, 9\), .*, got shape \(9, 8\)"),
    ],
)
def test_a_slowness_that_is_none_is_refused(m, message):
    with pytest.raises(ValueError, match=message):
        check_slowness(m, (9, 9))
