"""What a solver makes of the points that operators see, as `benchmarks/coarse_inputs.py` refines them."""

import runpy
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

SCRIPT = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "coarse_inputs.py"))
refined, errors = SCRIPT["refined"], SCRIPT["errors"]


@given(arrays(bool, st.tuples(st.shared(st.integers(2, 9), key="n"), st.shared(st.integers(2, 9), key="n"))), st.data())
def test_a_guess_keeps_what_is_seen_and_favours_neither_phase(phases, data):
    """At an even multiple it would: indicators of one half go to the smaller phase."""
    a = np.where(phases, 12.0, 3.0)
    times = data.draw(st.sampled_from([3, 5, 9]))
    points = times * (len(a) - 1) + 1
    swapped = refined(15.0 - a, points)
    for name, guess in refined(a, points).items():
        np.testing.assert_array_equal(guess[::times, ::times], a)
        if a.min() < a.max():
            np.testing.assert_array_equal(swapped[name], 15.0 - guess)


def test_a_solver_that_refines_two_phases_is_ahead_of_one_that_does_not():
    """By a fourth over the 200 samples of the record, by a sixth over these."""
    found = [errors("piecewise", {}, 757, i) for i in range(4)]
    plain, finer = (np.mean([each[name] for each in found]) for name in ("85²", "253²"))
    assert finer < 0.9 * plain
