"""Block Thomas elimination against sparse LU, on the CPU's torch or on a GPU where there is one."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from data_gen import Grid, build_problem
from data_gen.problems.helmholtz import gpu
from data_gen.problems.helmholtz.scheme import SCHEMES, relative_residual
from data_gen.problems.helmholtz.solver import solve
from data_gen.problems.helmholtz.speeds import SPEEDS

DEVICE = "cuda" if torch.cuda.is_available() else "cpu:0"
"""Another name than "cpu", which means sparse LU to the problem."""


def slownesses(law, shape, count=2):
    """Those of the first seeds."""
    return np.stack([SPEEDS[law](shape, np.random.default_rng(i)) ** -2 for i in range(count)])


def distance(u, truth):
    """‖u - t‖ / ‖t‖."""
    return np.linalg.norm(u - truth) / np.linalg.norm(truth)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("law", SPEEDS)
@pytest.mark.parametrize(("shape", "omega"), [((5, 6), 20.0), ((6, 5), 20.0), ((34, 21), 20.0), ((85, 85), 80.0)])
def test_elimination_agrees_with_sparse_lu(law, shape, omega, scheme, monkeypatch):
    m = slownesses(law, shape)
    refined = gpu.attempt(m, omega, scheme, 1e-11, DEVICE)
    monkeypatch.setattr(gpu, "SWEEPS", 1)
    single = gpu.attempt(m, omega, scheme, 1e-11, DEVICE)
    assert refined.accepted_by == ["rtol"] * 2
    for i, slowness in enumerate(m):
        truth = solve(slowness, omega, scheme, 1e-12).u
        assert distance(single.u[i].cpu().numpy(), truth) < 1e-5
        u = refined.u[i].cpu().numpy()
        assert distance(u, truth) < 1e-10
        assert relative_residual(slowness, u, omega, scheme) == pytest.approx(refined.residual[i], rel=0.05, abs=1e-14)
        assert refined.residual[i] <= 1e-11


@pytest.mark.parametrize("size", [7, 64, 65, 130])
def test_inverse_by_halves_is_the_inverse(size):
    rng = np.random.default_rng(size)
    S = (
        4 * np.sqrt(size) * np.eye(size)
        + rng.standard_normal((3, size, size))
        + 1j * rng.standard_normal((3, size, size))
    )
    found = gpu.inverse(torch.tensor(S, dtype=torch.complex64, device=DEVICE)).cpu().numpy()
    assert distance(found, np.linalg.inv(S)) < 1e-5


def test_banded_matrices_multiply_as_dense_ones_do():
    rng = np.random.default_rng(0)
    dense = np.zeros((7, 7))
    for d in (-1, 0, 1):
        dense += np.diag(rng.standard_normal(7 - abs(d)), d)
    dense[0, 2], dense[-1, -3] = 5, 6
    X = torch.tensor(rng.standard_normal((2, 7, 7)), dtype=torch.complex64)
    strips = gpu.bands(sp.csr_array(dense), X.device)
    columns = torch.tensor(rng.standard_normal((2, 7)), dtype=torch.complex64)
    scaled = torch.tensor(dense, dtype=torch.complex64) * columns[:, None]
    zero = torch.zeros_like(X)
    torch.testing.assert_close(gpu.left(gpu.scaled(strips, columns), X), scaled @ X)
    torch.testing.assert_close(gpu.subtracted(zero.clone(), X, gpu.scaled(strips, columns)), -X @ scaled)
    torch.testing.assert_close(gpu.added(gpu.scaled(strips, columns), zero.clone()), scaled)
    assert gpu.combined((0, strips), (2, strips)).keys() == strips.keys()


@pytest.fixture
def small_batches(monkeypatch):
    """Batches of four samples."""
    monkeypatch.setattr(gpu, "samples_per_batch", lambda grid: 4)


def test_batches_of_a_problem_are_what_it_solves_one_by_one(small_batches):
    problem, grid = build_problem("helmholtz", law="piecewise"), Grid((33, 33))
    m = slownesses("piecewise", grid.shape, 6)[:, None]
    for found, slowness in zip(problem.solve_batch(m, grid, device=DEVICE), m, strict=True):
        alone = problem.solve(slowness, grid)
        assert (found.method, found.accepted_by, alone.method) == ("block-thomas", "rtol", "lu")
        assert found.u.shape == alone.u.shape == (1, 2, 33, 33)
        assert distance(found.u, alone.u) < 1e-10
        assert found.evidence <= problem.rtol


def test_a_sample_does_not_depend_on_its_company(small_batches):
    problem, grid = build_problem("helmholtz"), Grid((33, 33))
    m = slownesses("smooth", grid.shape, 4)[:, None]
    together = problem.solve_batch(m, grid, device=DEVICE)
    hard = np.concatenate([m[2:3], 100 * m[:1]])
    (alone,), (beside, _) = (problem.solve_batch(each, grid, device=DEVICE) for each in (m[2:3], hard))
    np.testing.assert_array_equal(together[2].u, alone.u)
    np.testing.assert_array_equal(together[2].u, beside.u)


def test_what_misses_the_tolerance_is_left_to_others(small_batches, monkeypatch):
    problem, grid = build_problem("helmholtz"), Grid((33, 33))
    m = slownesses("smooth", grid.shape)[:, None]
    monkeypatch.setattr(gpu, "SWEEPS", 1)
    assert problem.solve_batch(m, grid, device=DEVICE) == [None, None]
    assert None not in problem.solve_batch(m, grid, device=DEVICE, rtol=1e-3)


def test_inputs_on_a_device_are_solved_for_there(small_batches, monkeypatch):
    problem, grid = build_problem("helmholtz", scheme="five-point"), Grid((33, 33))
    m = slownesses("rough", grid.shape, 6)[:, None]
    a = torch.tensor(m, dtype=torch.float32, device=DEVICE)
    found = problem.on_device(grid, device=DEVICE)(a).cpu().numpy()
    for u, slowness in zip(found, a.double().cpu().numpy(), strict=True):
        assert distance(u, problem.solve(slowness, grid).u[0]) < 1e-10
    monkeypatch.setattr(gpu, "SWEEPS", 1)
    assert problem.on_device(grid, device=DEVICE)(a).isnan().all(), "what has not converged is no solution"
    assert not problem.on_device(grid, rtol=1e-3, device=DEVICE)(a).isnan().any()


def test_a_batch_keeps_to_its_memory_and_is_a_part_of_a_shard():
    for n in (43, 85, 211, 421, 1681):
        size = gpu.samples_per_batch(Grid((n, n)))
        assert size == 1 or 8 * n**3 * size <= gpu.BYTES
    assert gpu.samples_per_batch(Grid((211, 211))) == 94


@pytest.mark.parametrize(
    ("m", "options", "message"),
    [
        (np.ones((1, 1, 9, 9)), {"device": "tape"}, "device must be cpu, or another that torch has here, got 'tape'"),
        (np.zeros((1, 1, 9, 9)), {"device": DEVICE}, "must be positive"),
        (np.ones((1, 1, 9, 8)), {"device": DEVICE}, "shape of its grid"),
        (np.ones((1, 1, 9, 9)), {"device": DEVICE, "rtol": 0.0}, "rtol must lie between 0 and 1"),
    ],
)
def test_bad_input_is_named(m, options, message):
    with pytest.raises(ValueError, match=message):
        build_problem("helmholtz").solve_batch(m, Grid((9, 9)), **options)
