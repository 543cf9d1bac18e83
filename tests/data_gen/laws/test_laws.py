"""Every law is positive and one function on every grid; a user's own is accepted."""

import numpy as np
import pytest

from data_gen.laws import LAWS, build_law, law_description, law_parameters
from data_gen.laws.lognormal import LogNormal


@pytest.mark.parametrize("name", LAWS)
def test_laws_are_positive_and_one_function_on_every_grid(name):
    law = LAWS[name]()
    for seed in range(3):
        coarse, fine = (law((n, m), np.random.default_rng(seed)) for n, m in ((17, 33), (49, 65)))
        assert coarse.min() > 0
        agreement = np.isclose(fine[::3, ::2], coarse, rtol=1e-9)
        assert agreement.mean() > 0.995  # an interface may pass within round-off of a vertex


def test_lognormal_has_the_stated_deviation():
    rng = np.random.default_rng(0)
    law = LogNormal(sigma=1.5, tau=10.0)
    logs = np.stack([np.log(law((33, 33), rng)) for _ in range(300)])
    assert np.sqrt(np.mean(logs[:, 1:-1, 1:-1] ** 2)) == pytest.approx(1.5, rel=0.1)


@pytest.fixture
def own_law(tmp_path):
    """A file with a law of one's own."""
    path = tmp_path / "mine.py"
    path.write_text('def law(shape, rng, k=3):\n    """k plus noise."""\n    return k + rng.random(shape)\n')
    return f"{path}:law"


def test_own_law(own_law):
    law = build_law(own_law, {"k": 5})
    assert law((3, 4), np.random.default_rng(0)).min() >= 5
    assert law_parameters(own_law, {}) == {"k": 3}
    assert law_description(own_law) == "k plus noise."


def test_bad_laws_say_what_is_allowed(own_law, tmp_path):
    with pytest.raises(ValueError, match="piecewise, lognormal"):
        build_law("nothing", {})
    with pytest.raises(ValueError, match="high, low, alpha, tau"):
        build_law("piecewise", {"height": 3})
    with pytest.raises(ValueError, match="parameters are k"):
        build_law(own_law, {"shape": 3})
    with pytest.raises(ValueError, match="has no other"):
        build_law(own_law.replace(":law", ":other"), {})
    with pytest.raises(ValueError, match="no_such_module"):
        build_law("no_such_module:law", {})
    with pytest.raises(ValueError, match="low must be positive"):
        build_law("piecewise", {"low": 0.0})
    pickled = tmp_path / "objects.npy"
    np.save(pickled, np.array([{}]), allow_pickle=True)
    with pytest.raises(ValueError, match="numbers"):
        build_law(str(pickled), {})
