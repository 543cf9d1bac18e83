"""Suites whose models learn steps: rollouts and references begin at one state and end at the same times."""

from pathlib import Path

import pytest

from pdebench_mano.benchmark.cases import suite_cases
from pdebench_mano.benchmark.references import References
from pdebench_mano.benchmark.run import run_suite
from pdebench_mano.benchmark.suite import read_suite
from pdebench_mano.fields.names import FLUCTUATION, UNTIL

OWN = Path(__file__).parents[2] / "project" / "own_problems.py"

SUITE = f"""
title = "heat flow"
norm = "integral"
resolutions = [8, 16]
start = 0.1
rivals = [8]
mean_solution = true
[data.generate]
problem = "{OWN}:Heat"
samples = 16
resolution = 16
split = [0.5, 0.25, 0.25]
[training]
pairs = "step"
unroll = 2
resolution = 8
epochs = 1
[[models]]
operator = "fno"
operator_args = {{ width = 4, modes = 4, depth = 1 }}
tune.lr = [1e-3, 1e-2]
"""


def written(folder, text):
    (folder / "suite.toml").write_text(text)
    return read_suite(folder / "suite.toml")


def test_all_rows_of_a_suite_are_rollouts_from_its_start(tmp_path):
    suite = written(tmp_path, SUITE)
    references, fno = run_suite(suite, tmp_path / "out")
    rows = {(row.kind, row.resolution): row for record in (references, fno) for row in record.evaluations}
    kinds = {("operator", 8), ("operator", 16), ("upsampled", 16)}
    assert rows.keys() == kinds | {(kind, n) for kind in ("solver", "mean", "persistence") for n in (8, 16)}
    for row in rows.values():
        assert row.times == [0.2, 0.3]
        assert row.errors.keys() >= {UNTIL, FLUCTUATION}
    assert max(rows["solver", 8].errors["relative_l2"]) < 1e-5, "the scheme is exact"
    assert rows["mean", 16].errors[FLUCTUATION] == pytest.approx([1.0] * 4, abs=1e-4)
    assert {trial["configuration"]["resolution"] for trial in references.training["trials"]} == {8}
    assert [record.key for record in run_suite(suite, tmp_path / "out")] == [references.key, fno.key]


def test_another_start_is_another_case(tmp_path):
    keys = set()
    for start in ("0.1", "0.0", "0.2"):
        suite = written(tmp_path, SUITE.replace("start = 0.1", f"start = {start}"))
        (case,) = suite_cases(suite, "data.hdf5", "data")
        keys |= {case.key, References(suite, "data", 8).key}
    assert len(keys) == 6


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ('pairs = "step"\nunroll = 2\n', "", 'start is of rollouts: it needs pairs = "step" in training'),
        ("tune.lr", 'training.pairs = "final"\ntune.lr', "pairs are those of the whole suite"),
    ],
)
def test_what_a_suite_cannot_mean_is_refused(tmp_path, before, after, words):
    with pytest.raises(ValueError, match=words):
        written(tmp_path, SUITE.replace(before, after))


def test_a_start_that_is_not_stored_is_refused_before_anything_is_trained(tmp_path):
    suite = written(tmp_path, SUITE.replace("start = 0.1", "start = 0.15"))
    with pytest.raises(ValueError, match=r"start must be a time of .* 0, 0.1, 0.2, got 0.15"):
        run_suite(suite, tmp_path / "out")
    assert not (tmp_path / "out" / "runs").exists()
