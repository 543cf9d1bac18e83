"""Names in legends, cards and file names: what a library would read as something else is shown as it is typed."""

import dataclasses

import pandas as pd
import pytest

from pdebench_mano.report import figures, plane, tables
from pdebench_mano.report.card import markdown
from pdebench_mano.report.keeper import Keeper

NAMES = ["_own", "__main__.py:Net", "a $x$ b", "[red]", "100 %"]


@pytest.fixture
def records(made):
    return [made(name) for name in NAMES]


def shown(figure):
    """The names in the legend; escapes are none of them."""
    (legend,) = figure.legends
    return [text.get_text().removeprefix("\u200b").replace("\\$", "$") for text in legend.get_texts()]


def test_every_model_stands_in_every_legend_by_its_name(records):
    """A name that began with _ was left out of legends."""
    table = tables.rows(records)
    styles = figures.Styles(table)
    points = [plane.Point(name, 9, 0.1, 1.0) for name in NAMES]
    solvers = [plane.Point("_solver", 9, 0.1, 1.0)]
    all_rows = [row for record in records for row in record.evaluations]
    upsampled = [f"upsampled {name}" for name in NAMES]
    assert set(shown(figures.error_against_resolution(table, styles))) == {*NAMES, *upsampled}
    assert set(shown(figures.accuracy_against_time(table, styles, 17))) == {*NAMES, *upsampled, "Pareto front"}
    assert shown(figures.plane(points, solvers, styles, 9, "a $ b")) == [*NAMES, "_solver", "Pareto front"]
    assert set(shown(figures.parts_of_the_error(table, styles, 9))) == {*NAMES}
    assert set(shown(figures.spectra(all_rows, styles))) == {"truth", *NAMES, *upsampled}
    assert shown(figures.curves(records, styles)) == NAMES


def test_every_layer_stands_in_the_legend_of_alignment(made):
    history = [{"epoch": 1.0, "loss": 0.5, "validation": 0.5, "cosine _lift": 0.5, "ratio _lift": 1.0}]
    assert shown(figures.alignment(dataclasses.replace(made(), history=history))) == ["_lift"]


def test_names_in_a_card_are_no_markdown(made):
    cells = tables.headline(tables.rows([made("_a_ | <b> $x$ [red]")]))
    assert r"| \_a\_ \| \<b\> \$x\$ \[red\] |" in markdown(cells)


def test_models_that_leave_one_file_name_have_a_file_each(tmp_path):
    """x and _x do."""
    keep = Keeper(tmp_path)
    for value in (1, 2, 3):
        keep.csv("samples-x", pd.DataFrame({"value": [value]}))
    names = ("samples-x.csv", "samples-x-2.csv", "samples-x-3.csv")
    assert [pd.read_csv(tmp_path / "tables" / name).value[0] for name in names] == [1, 2, 3]
