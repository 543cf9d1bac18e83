"""What the browser draws is what Matplotlib drew."""

import dataclasses
import json

import numpy as np
import pytest

from pdebench_mano.report import figures, tables
from pdebench_mano.report.figures import DEPTH, REACH, reach
from pdebench_mano.report.interactive import plot


@pytest.fixture
def table(made, references):
    return tables.rows([made("_own $x$"), made("_own $x$", seed=1), made("vit"), references()])


def lines_of(axes):
    return {line["name"]: line for line in axes["lines"]}


def test_every_series_keeps_its_name_values_and_bars(table):
    (axes,) = plot(figures.error_against_resolution(table, figures.Styles(table)))["axes"]
    lines = lines_of(axes)
    own = table[table.model == "_own $x$"].groupby("resolution").relative_l2
    assert lines["_own $x$"]["x"] == [9, 17]
    assert lines["_own $x$"]["y"] == pytest.approx(list(own.mean()), rel=1e-4)
    assert lines["_own $x$"]["low"] == pytest.approx(list(own.min()), rel=1e-4)
    assert lines["_own $x$"]["high"] == pytest.approx(list(own.max()), rel=1e-4)
    assert lines["upsampled vit"]["symbol"].endswith("-open"), "as in the picture"
    assert (axes["x"]["log"], axes["x"]["ticks"]["names"]) == (True, ["9", "17"])
    assert set(lines) == set(table.model)


def test_what_the_picture_leaves_out_is_there_to_be_asked_for(table):
    table = table.assign(relative_l2=table.relative_l2.where(table.kind != "mean", 100.0))
    styles = figures.Styles(table)
    picture = figures.error_against_resolution(table, styles)
    whole = figures.error_against_resolution(table, styles, everything=True)
    (axes,) = plot(picture, whole)["axes"]
    assert {line["name"] for line in axes["lines"] if line["hidden"]} == {"mean solution"}


def test_curves_of_all_seeds_and_of_the_loss_belong_to_their_model_and_stand_in_the_legend_once(made):
    records = [made("fno"), made("fno", seed=1)]
    (axes,) = plot(figures.curves(records, figures.Styles(tables.rows(records))))["axes"]
    assert [line["group"] for line in axes["lines"]] == 4 * ["fno"]
    assert [line["listed"] for line in axes["lines"]] == [True, False, False, False]
    assert {line["name"] for line in axes["lines"]} == {"fno", "fno, training loss"}


def test_grids_stand_at_the_points_of_solvers_and_the_front_has_steps(table):
    solvers = [figures.Point("solver", n, error, ms) for n, error, ms in ((9, 0.2, 1.0), (17, 0.1, 2.0))]
    figure = figures.plane([figures.Point("vit", 9, 0.3, 3.0)], solvers, figures.Styles(table), 9, "Some GPU")
    (axes,) = plot(figure)["axes"]
    lines = lines_of(axes)
    assert lines["solver"]["texts"] == ["9²", "17²"]
    assert lines["Pareto front"]["steps"]
    assert lines["Pareto front"]["y"] == [0.2, 0.1]


def test_an_axis_ends_before_the_curve_that_would_squash_the_others():
    """Nine curves around one, and one that reaches 10⁶, or falls to 10⁻⁹."""
    curves = [[0.01, 1.0 + 0.01 * k] for k in range(9)]
    assert reach(curves) is None, "all fit"
    low, high = reach([*curves, [0.5, 1e6], [None, None]])
    assert high == pytest.approx(REACH * np.median([*(each[1] for each in curves), 1e6]))
    assert 0.001 < low < 0.01
    low, high = reach([*curves, [1e-9, 1e-8]])
    assert low == pytest.approx(0.01 / DEPTH)
    assert 1.08 < high < 2


def test_what_is_not_finite_is_no_number_of_json(made):
    record = made("fno")
    record = dataclasses.replace(record, history=[{"epoch": 1.0, "loss": float("nan"), "validation": float("inf")}])
    drawn = plot(figures.curves([record], figures.Styles(tables.rows([record]))))
    json.dumps(drawn, allow_nan=False)
    assert [line["y"] for line in drawn["axes"][0]["lines"]] == [[None], [None]]
