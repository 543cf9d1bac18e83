"""The estimate of a label's error is one."""

import numpy as np
import pytest

from data_gen import Grid, build_problem, generate, solve
from data_gen.convergence import richardson
from data_gen.samples import draw


def test_richardson_estimates_the_true_error(tmp_path):
    """Against labels from a grid four times as fine."""
    for law in ("lognormal", "piecewise"):
        generate(tmp_path / law, 3, 65, law=law)
        for estimate in richardson(tmp_path / law):
            problem = build_problem("darcy", law=law)
            u, fine = (solve(draw(problem, Grid((n, n)), 0, estimate.sample)[0]) for n in (65, 257))
            error = np.linalg.norm(u - fine[::4, ::4]) / np.linalg.norm(fine[::4, ::4])
            assert 0.4 * error < estimate.relative_l2 < 4 * error


def test_richardson_sees_second_order_where_all_is_smooth(tmp_path):
    law = tmp_path / "law.py"
    law.write_text(
        "import numpy as np\n"
        "def smooth(shape, rng):\n"
        "    x, y = (np.linspace(0, 1, n) for n in shape)\n"
        "    return 2 + np.outer(np.cos(3 * x), y)\n"
    )
    generate(tmp_path / "d.hdf5", 1, 65, law=f"{law}:smooth", source=lambda x, y: np.exp(x * y))
    with pytest.raises(ValueError, match=r"law .*--trust"):
        list(richardson(tmp_path / "d.hdf5"))
    (estimate,) = richardson(tmp_path / "d.hdf5", trust=True)
    assert estimate.order == pytest.approx(2, abs=0.05)
    assert estimate.relative_l2 < 1e-3


def test_richardson_says_where_it_cannot(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((2, 9, 9)))
    generate(tmp_path / "d.hdf5", 2, 9, law=str(tmp_path / "a.npy"))
    with pytest.raises(ValueError, match="finer grid"):
        list(richardson(tmp_path / "d.hdf5"))
