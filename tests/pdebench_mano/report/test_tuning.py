"""What a report says of how settings were chosen."""

import math

import pytest

from pdebench_mano.benchmark.identity import PUBLISHED_DEFAULTS
from pdebench_mano.benchmark.leaderboard import published
from pdebench_mano.report.tuning import UNSAID, power, told, tuning


@pytest.fixture
def trained(made):
    """A function that makes the record of a training, from its trials: (lr or settings, validation error) each."""

    def make(model, *tried, epochs=24):
        trials = [
            {"configuration": each if isinstance(each, dict) else {"lr": each}, "validation": error}
            for each, error in tried
        ]
        best = min(trials, key=lambda trial: trial["validation"])["configuration"] if trials else {}
        return made(model, config={"lr": best.get("lr", 1e-3), "epochs": epochs}, training={"trials": trials})

    return make


@pytest.mark.parametrize(
    ("trials", "line"),
    [
        ([(1e-3, 0.3), (3e-3, 0.1), (1e-2, 0.2)], "lr 3e-3, interior of 1e-3 … 1e-2; 3 trials"),
        ([(1e-3, 0.3), (3e-3, 0.1), (1e-2, math.inf)], "lr 3e-3, interior of 1e-3 … 1e-2; 3 trials"),
        ([(1e-3, 0.3), (3e-3, 0.2), (1e-2, 0.1)], "lr 1e-2, at the edge of its grid 1e-3 … 1e-2; 3 trials"),
        ([({}, 0.1), (3e-3, 0.2)], "lr 1e-3, at the edge of its grid 1e-3 … 3e-3; 2 trials"),
        ([(1.5e-4, 0.1)], "lr 1.5e-4, the only one tried; one trial"),
        ([], "lr 1e-3, no trials"),
    ],
)
def test_a_learning_rate_is_interior_or_it_is_said(trained, trials, line):
    found = tuning(trained("fno", *trials))
    assert str(found) == line
    assert found.interior == ("interior" in line)


def test_learning_rates_are_compared_where_all_else_is_equal(trained):
    """1e-2 was tried with two modes only: with four, 3e-3 is the largest."""
    grid = [(1e-3, 2), (3e-3, 2), (1e-2, 2), (1e-3, 4), (3e-3, 4)]
    trials = [({"lr": lr, "operator_args": {"modes": modes}}, 1 / (modes + lr)) for lr, modes in grid]
    assert tuning(trained("fno", *trials)).tried == (1e-3, 3e-3)
    assert not tuning(trained("fno", *trials)).interior


def test_trials_are_counted_and_their_length_is_said(trained):
    short = [({"lr": lr, "epochs": 8}, error) for lr, error in ((1e-3, 0.2), (3e-3, 0.1), (1e-2, 0.3))]
    both = [trained("fno", *short), trained("vit", *short)]
    assert list(told(both)) == [
        "fno: lr 3e-3, interior of 1e-3 … 1e-2; 3 trials of 8 epochs",
        "vit: lr 3e-3, interior of 1e-3 … 1e-2; 3 trials of 8 epochs",
        "Every model had 3 trials.",
    ]
    assert list(told([*both, trained("swin")]))[-1] == "The numbers of trials differ: fno 3; vit 3; swin 0."


def test_what_a_trial_leaves_out_is_the_published_default():
    assert {name: PUBLISHED_DEFAULTS["training"][name] for name in UNSAID} == UNSAID


def test_published_trials_are_read():
    lines = dict(line.split(": ", 1) for line in told(published("darcy16")) if not line.startswith("The"))
    assert lines["fno"] == "lr 3e-3, at the edge of its grid 1e-3 … 3e-3; 4 trials"


@pytest.mark.parametrize(("value", "text"), [(0.003, "3e-3"), (2.5e-4, "2.5e-4"), (1.0, "1e0"), (12.0, "1.2e1")])
def test_a_learning_rate_is_written_as_a_power_of_ten(value, text):
    assert power(value) == text
