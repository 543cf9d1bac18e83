"""Every sample of a mixture is of one of its laws."""

import numpy as np
import pytest

from data_gen import build_problem
from data_gen.laws import build_law, law_parameters
from data_gen.laws.shapes import Channels

BARRIERS = {"law": "channels", "law_args": {"contrast": 0.001}}


def test_a_sample_is_that_of_one_law_and_each_is_as_likely():
    laws = [{"law": "lognormal", "law_args": {"sigma": 2.0}}, {"law": "channels"}, BARRIERS]
    mixture, parts = (
        build_law("mixture", {"laws": laws}),
        [build_law(each["law"], each.get("law_args", {})) for each in laws],
    )
    counts = np.zeros(3)
    for i in range(300):
        a = mixture((9, 9), np.random.default_rng(i))
        rng = np.random.default_rng(i)
        which = rng.integers(3)
        np.testing.assert_array_equal(a, parts[which]((9, 9), rng))
        counts[which] += 1
    assert np.abs(counts - 100).max() < 4 * np.sqrt(300 * 2 / 9)


def test_all_parameters_of_its_laws_are_said():
    (barriers,) = law_parameters("mixture", {"laws": [BARRIERS]})["laws"]
    assert barriers == {"law": "channels", "law_args": vars(Channels(contrast=0.001))}


@pytest.mark.parametrize(
    ("laws", "mean"),
    [
        (["piecewise", "lognormal"], "geometric"),
        (["channels", "inclusions"], "harmonic"),
        (["piecewise", "channels"], "harmonic"),
    ],
)
def test_the_mean_on_faces_is_one_that_suits_all(laws, mean):
    problem = build_problem("darcy", law="mixture", law_args={"laws": [{"law": law} for law in laws]}, mean="auto")
    assert problem.scheme == mean


@pytest.mark.parametrize(
    ("laws", "message"),
    [
        ([], "must be a list of tables"),
        ("channels", "must be a list of tables"),
        ({"law": "channels"}, "must be a list of tables"),
        (["channels"], "must be a table of law"),
        ([{"law": "channels", "weight": 2}], "must be a table of law"),
        ([{"law": "mixture"}], "must be piecewise, lognormal, inclusions, channels"),
        ([{"law": "own.py:law"}], "must be piecewise, lognormal, inclusions, channels"),
        ([{"law": "channels", "law_args": 3}], "its law_args a table"),
        ([{"law": "channels", "law_args": {"height": 3}}], "its parameters are contrast, count"),
        ([{"law": "channels", "law_args": {"width": -1}}], "width must be positive"),
    ],
)
def test_what_is_no_mixture_is_refused(laws, message):
    """Code of one's own is none of them: a file names it only where it is to be trusted."""
    with pytest.raises(ValueError, match=message):
        build_law("mixture", {"laws": laws})
