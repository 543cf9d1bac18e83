"""The table of all models within all budgets."""

import numpy as np
import pytest

from pdebench_mano.report import tables
from pdebench_mano.report.bootstrap import interval
from pdebench_mano.report.keeper import Keeper, best_of, number
from pdebench_mano.report.standings import standings


def test_a_row_is_a_model_within_a_budget_and_references_stand_once(made, references):
    records = [made("fno"), made("fno", seed=1), made("fno", config={"epochs": 9}), references()]
    table = tables.rows(records)
    found = standings(table)
    own = found.loc["fno"]
    assert list(zip(own.budget, own.seeds, strict=True)) == [("2 epochs", "2"), ("9 epochs", "1")]
    assert list(found.index).count("mean solution") == 1
    rows = table[(table.model == "fno") & (table.budget == "2 epochs") & (table.resolution == 9)]
    mean, low, high = interval(np.stack([each["relative_l2"] for each in rows.errors]))
    shown, half = map(float, own["error at 9²"].iloc[0].split(" ± "))
    assert (shown, half) == (pytest.approx(mean, abs=1e-4), pytest.approx((high - low) / 2, abs=1e-4))
    assert found.loc["upsampled fno", "error at 9²"].tolist() == ["", ""]


def test_the_best_of_each_column_is_bold_and_no_solver_is(made, references, tmp_path):
    table = tables.rows([made("fno"), made("vit"), references({"harmonic": [1e-6] * 12})])
    competing = ["fno", "vit", "upsampled fno", "upsampled vit"]
    shown = Keeper(tmp_path).table("t", standings(table), "", best=competing)
    names = [column["name"] for column in shown["columns"]]
    for n in (9, 17):
        bold = {row["label"] for row in shown["rows"] if row["cells"][names.index(f"error at {n}²")]["best"]}
        here = table[(table.resolution == n) & table.model.isin(competing)].set_index("model").relative_l2
        assert bold == {here.idxmin()}
    for words in ("seeds", "budget", "kind"):
        assert not any(row["cells"][names.index(words)]["best"] for row in shown["rows"])


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        (".0123 [.0119, .0127]", 0.0123),
        ("1,234", 1234),
        ("-.5 [-.6, -.4]", -0.5),
        ("7.89e-05 [6e-05, 9e-05]", 7.89e-05),
    ],
)
def test_a_cell_is_sorted_by_the_number_that_it_begins_with(cell, value):
    assert number(cell) == value


def test_a_cell_without_a_number_has_none():
    assert [number(cell) for cell in ("", "one seed", "x86_64")] == [None, None, None]


def test_a_small_error_is_best_and_a_long_time_that_it_stays_small():
    column, competing = [3.0, 1.0, 2.0, None, 9.0], [True, True, True, True, False]
    assert best_of("t = 4", column, competing) == {1}
    assert best_of("error below 0.2 for", column, competing) == {0}
