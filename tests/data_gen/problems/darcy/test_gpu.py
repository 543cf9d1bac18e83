"""The GPU's kernels, run by Triton's interpreter, or on a GPU where there is one, against the CPU's solvers."""

import subprocess
import sys

import numpy as np
import pytest
import torch

PROGRAM = """
import sys
import numpy as np
import torch
from data_gen import Grid, build_problem
from data_gen.laws import LAWS
from data_gen.problems.darcy import gpu
from data_gen.problems.darcy.solvers import solve

device = sys.argv[1]
for law, shape, f, mean in (
    ("piecewise", (17, 12), 1.0, "arithmetic"),
    ("lognormal", (9, 16), np.random.default_rng(9).standard_normal((9, 16)), "harmonic"),
    ("channels", (9, 5), 1.0, "geometric"),
    ("piecewise", (5, 6), 1.0, "average"),
):
    a = np.stack([LAWS[law]()(shape, np.random.default_rng(i)) for i in range(2)])
    batch = gpu.solve_batch(a, f, mean=mean, device=device)
    assert batch.accepted_by == ["rtol", "rtol"] and batch.residual.max() <= 1e-10
    for u, x in zip(batch.u.cpu().numpy(), a):
        reference = solve(x, f, mean=mean, rtol=1e-12)
        distance = np.linalg.norm(u - reference) / np.linalg.norm(reference)
        assert distance < 1e-9, (law, distance)
assert (batch.u == gpu.solve_batch(a, f, mean=mean, device=device).u).all(), "the same input gives the same bits"
assert not gpu.attempt(np.ones((1, 5, 7)), 0.0, device=device).u.any()

block = np.ones((1, 9, 12))
block[:, 3:6, 4:7] = 1e6
(way,) = gpu.attempt(block, 1.0, device=device).accepted_by
assert way == "floor", "what float32 leaves of the residual after the first sweep is no reason to stop"

block[:, 3:6, 4:7] = 1e15
(way,) = gpu.attempt(block, 1.0, device=device).accepted_by
assert way == "", "a floor as high as that proves nothing"

there = f"{device}:0"  # the CPU by another name, where Triton interprets: as it is it means the solvers of NumPy
problem = build_problem("darcy", mean=mean, source=f)
inputs = torch.from_numpy(a)[:, None].float().to(there)
on_device = problem.on_device(Grid(a.shape[1:]), rtol=1e-10, device=there)
assert (on_device(inputs)[:, 0] == gpu.solve_batch(inputs[:, 0], f, mean=mean, device=there).u).all()
assert build_problem("darcy", method="direct").on_device(Grid((9, 9)), device=there) is None

work = gpu.Workspace(1, 9, 12, "harmonic", torch.device(device))
(r, _), (rows, pitch) = (work.rr, work.half.shape[1:])
work.r.copy_(torch.linspace(-1, 1, 70).view(1, 7, 10)), work.q.copy_(1e6 * work.r.flip(2))
for sums, value in ((work.rz, 1), (work.pq, 1), (work.qq, work.q.square().sum()), (r, work.r.square().sum())):
    sums.totals.fill_(value)
gpu.kernels.advance[work.grid](
    work.x, work.r, work.p[0], work.q, work.scale, work.half, work.rz.totals, work.pq.totals, work.qq.totals, r.totals,
    work.rr[1].blocks, work.rz_last, work.target, 7, 10, rows, pitch, work.gain, gpu.HALF_NORM,
    BLOCKS=1, WIDTH=work.width, SCALED=False, BLOCK=gpu.BLOCK,
)
half = work.half[:, :7, :10].double()
factor = half.norm() / work.r.double().norm()
assert gpu.HALF_NORM / 4 < half.norm() <= gpu.HALF_NORM, "a residual that has grown a millionfold fits into float16"
assert (half - factor * work.r).norm() < 1e-3 * half.norm()

usual, gpu.HALF_RMS = gpu.HALF_RMS, 1e6
smoothest = np.outer(*[np.sin(np.pi * np.linspace(0, 1, 17))] * 2)
gpu.release()
(way,) = gpu.attempt(np.ones((1, 17, 17)), smoothest, device=device).accepted_by
assert way == "rtol", "on a grid so fine that the gain is at its most, the smoothest mode fits into float16"
gpu.HALF_RMS = usual

gpu.BLOCK = 64
many = np.stack([LAWS["lognormal"]()((17, 12), np.random.default_rng(i)) for i in range(2)])
gpu.release()
once = gpu.attempt(many, rtol=1e-2, device=device)
gpu.COLLECTED = 2
gpu.release()
again = gpu.attempt(many, rtol=1e-2, device=device)
assert (once.u == again.u).all() and once.iterations == again.iterations > 1, "sums are the same, whoever adds them up"
gpu.release()

gpu.INNER_ITERATIONS = gpu.SWEEPS = 2
assert on_device(inputs).isnan().all(), "what has not converged is no solution"
missed = gpu.attempt(a, f, mean=mean, device=device)
assert missed.accepted_by == ["", ""] and missed.residual.min() > 1e-10
for bad, message in (
    (a, "reached a relative residual"),
    (np.full((1, 9, 9), np.nan), "positive"),
    (-np.ones((1, 9, 9)), "positive"),
    (np.ones((9, 9)), "batch"),
):
    try:
        gpu.solve_batch(bad, f if bad is a else 1.0, mean=mean, device=device)
        raise SystemExit(f"{message} was not raised")
    except ValueError as error:
        assert message in str(error)
"""


def test_kernels_agree_with_the_cpu():
    pytest.importorskip("triton")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    environment = {"TRITON_INTERPRET": "1"} if device == "cpu" else {}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, device],
        env={"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr


def test_float16_sine_matrix_is_its_own_inverse_to_three_digits():
    pytest.importorskip("triton")
    from data_gen.problems.darcy.gpu import _sine_matrix

    for n in (33, 130):
        sine = _sine_matrix(n, torch.device("cpu")).double().numpy()
        assert sine.shape[0] % 8 == 0
        product = (sine @ sine)[: n - 2, : n - 2]
        np.testing.assert_allclose(product, np.eye(n - 2), atol=2e-3)
