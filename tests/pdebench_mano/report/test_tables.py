"""Tables are made by the kind of a row and by its record: no name makes a row vanish, merge, or stand as another."""

import dataclasses
import re

import numpy as np
import pandas as pd
import pytest

from pdebench_mano.benchmark import leaderboard
from pdebench_mano.benchmark.leaderboard import named, published
from pdebench_mano.evaluation.records import listed, read_record, write_record
from pdebench_mano.report import naming, tables, write_report
from pdebench_mano.report.bootstrap import Interval, difference, interval
from pdebench_mano.report.figures import Styles, accuracy_against_time, error_against_resolution, uncrowded
from pdebench_mano.report.matrix import signed
from pdebench_mano.report.terminal import concise, print_comparison

TAKEN = (
    "coarse solver",
    "coarse solver at 9²",
    "solver, harmonic",
    "solver, harmonic at 9²",
    "mean solution",
    "label uncertainty",
    "upsampled fno",
    "baselines",
)


@pytest.fixture
def confusing(made, references):
    """Records of references, of fno, and of operators called as others are."""
    older = dataclasses.replace(references().evaluations[0], model="coarse solver")
    beside = references({"harmonic": None})
    beside = dataclasses.replace(beside, evaluations=[*beside.evaluations, older])
    return [beside, made("fno"), *(made(name) for name in TAKEN)]


def test_an_operator_called_as_a_reference_stands_beside_it(confusing):
    table = tables.rows(naming.apart(confusing))
    assert len(table) == sum(len(record.evaluations) for record in confusing), "none replaces another"
    assert table.groupby("model")[["kind", "of"]].nunique().eq(1).all(axis=None), "none shares another's name"
    expected = {(row.mean(), row.kind) for record in confusing for row in record.evaluations}
    assert set(zip(table.relative_l2, table.kind, strict=True)) == expected
    operators = set(table[table.kind == "operator"].model)
    assert {"solver, harmonic", "solver, harmonic at 9² (operator)", "upsampled fno (operator)"} <= operators
    assert "solver, harmonic at 9²" in set(table[table.kind == "solver"].model)
    shown = tables.headline(table)
    assert sorted(shown.index) == sorted(table.model.unique())
    for name in operators:
        (of,) = table[table.model == name].of.unique()
        (upsampled,) = table[(table.of == of) & (table.group == "upsampled")].model.unique()
        assert tables.order(table).index(upsampled) == tables.order(table).index(name) + 1


def test_a_report_and_a_terminal_show_them_all(confusing, tmp_path, capsys, monkeypatch):
    paths = [tmp_path / "records" / f"{number}.jsonl" for number in range(len(confusing))]
    for path, record in zip(paths, confusing, strict=True):
        write_record(record, path)
    page = write_report(paths, tmp_path / "report").read_text()
    names = tables.headline(tables.rows(naming.apart(confusing))).index
    assert all(f"<td>{name}</td>" in page for name in names)
    monkeypatch.setenv("COLUMNS", "200")
    print_comparison([read_record(path) for path in paths])
    printed = capsys.readouterr().out
    assert all(f" {name} " in printed for name in names)


def test_rows_that_would_share_a_name_are_refused(made, references):
    with pytest.raises(ValueError, match=r"rows of 'solver' and of 'operator solver, harmonic at 9²' are both called"):
        tables.rows([references(), made("solver, harmonic at 9²")])


def test_styles_and_figures_go_by_kind(made, references):
    table = tables.rows(naming.apart([references(), made("fno"), made("upsampled fno"), made("mean solution")]))
    styles = Styles(table)
    upsampled = {"label": "upsampled fno", "linestyle": "--", "markerfacecolor": "white"}
    assert styles("upsampled fno") == styles("fno") | upsampled
    assert styles("upsampled fno (operator)")["linestyle"] == "-"
    colours = {styles(name)["color"] for name in ("fno", "upsampled fno (operator)", "mean solution (operator)")}
    assert len(colours) == 3
    (axis,) = accuracy_against_time(table, styles, 9).axes
    drawn = {line.get_label() for line in axis.lines}
    assert "mean solution (operator)" in drawn
    assert "mean solution" not in drawn, "which predicts nothing"


def test_a_run_of_an_operator_called_as_a_reference_stands_on_the_leaderboard(made, references, tmp_path):
    run = made("mean solution")
    rows = [*run.evaluations, *references({"harmonic": None}).evaluations]
    write_record(dataclasses.replace(run, evaluations=rows), tmp_path / "records" / "mine.jsonl")
    (own,) = leaderboard.beside([made("fno")], tmp_path)
    assert [(row.kind, row.resolution) for row in own.evaluations] == [
        ("operator", 9),
        ("operator", 17),
        ("upsampled", 17),
    ]
    shown = named(own, tmp_path)
    assert shown.model == f"mean solution ({tmp_path}, 2 epochs)"
    assert {row.model for row in shown.evaluations} == {shown.model, f"upsampled {shown.model}"}


def test_of_an_earlier_version_the_name_tells(made):
    """Published records keep no kind; "coarse solver" among them stays what it was."""
    table = tables.rows(published("darcy85"))
    assert set(table[table.kind == "solver"].model) == {f"coarse solver at {n}²" for n in (43, 85, 141, 211)}
    assert not table.quoted.any()


def by_seed(model, made, errors):
    rows = [
        [dataclasses.replace(row, errors={"relative_l2": list(each)}) for row in made(model).evaluations[:1]]
        for each in errors
    ]
    return [made(model, each, seed=seed) for seed, each in enumerate(rows)]


def test_the_headline_is_the_mean_and_interval_over_seeds_and_samples(made, references):
    errors = np.random.default_rng(0).uniform(0.001, 0.002, (3, 12))
    alone = by_seed("fno", made, errors)
    table = tables.rows([*alone, made("vit"), references()])
    shown = tables.headline(table)
    mean, low, high = interval(errors)
    assert shown.loc["fno", 9] == f"{mean:.5f} [{low:.5f}, {high:.5f}]".replace("0.", ".")
    assert shown.loc[["fno", "vit", "upsampled vit", "mean solution"], tables.NOTE].tolist() == [
        "3 seeds",
        "one seed",
        "one seed",
        "",
    ]
    single = tables.headline(tables.rows(alone))
    pd.testing.assert_series_equal(single.loc["fno"], shown.loc["fno", [9, tables.NOTE]]), "whatever stands beside it"
    assert tables.means(table).loc["fno", 9] == f"{errors.mean():.5f}"
    assert re.fullmatch(r"\.\d{4} \[\.\d{4}, \.\d{4}\]", shown.loc["mean solution", 9])


def test_differences_are_of_seeds_drawn_apart_and_samples_drawn_together(made):
    rng = np.random.default_rng(1)
    fno, vit = rng.uniform(0.1, 0.2, (3, 12)), rng.uniform(0.3, 0.4, (2, 12))
    table = tables.rows([*by_seed("fno", made, fno), *by_seed("vit", made, vit)])
    mean, low, high = difference(vit, fno)
    found = tables.paired(table, ["fno", "vit"], 9).loc["vit"]
    assert found.tolist() == [f"{mean:+.5f}", f"{low:+.5f} … {high:+.5f}", "2 seeds"]
    assert tables.differences(table).loc["vit", 9] == f"{mean:+.5f} ({low:+.5f} … {high:+.5f})"


def test_on_80_columns_no_number_is_torn_apart(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    print_comparison(published("darcy85"))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    print_comparison(published("barriers85"))
    assert "…" not in capsys.readouterr().out, "1.3137(1050) was cut off in columns that narrow"
    (first, *_) = (line.split() for line in lines if line.startswith(" mano "))
    assert first == ["mano", ".00318(15)", ".00278(18)", ".00285(25)", ".00299(30)", "3", "seeds"]
    assert not [line for line in lines if re.match(r" +\S*\d", line) and "²" not in line]


@pytest.mark.parametrize(
    ("cell", "short"),
    [
        (".0123 [.0119, .0128]", ".0123(5)"),
        ("-0.00017 (-0.00021 … -0.00012)", "-0.00017(5)"),
        ("+.0021 [+.0015, +.0030]", "+.0021(9)"),
        (".0123 [.0119, .0128], average at 85²", ".0123(5), average at 85²"),
        ("1.2500 [1.0000, 1.3000]", "1.25(25)"),
        ("1.3137 [1.2207, 1.4187]", "1.31(10)"),
        (".1770 [.1388, .2285]", ".177(52)"),
        ("+0.12341 (+0.08673 … +0.17458)", "+0.123(51)"),
        ("quoted", "quoted"),
    ],
)
def test_an_interval_is_an_uncertainty_of_the_last_digits(cell, short):
    assert concise(cell) == short


def test_no_difference_is_no_negative_number(made):
    errors = np.full((1, 12), 0.1)
    table = tables.rows([*by_seed("fno", made, errors), *by_seed("vit", made, errors - 1e-9)])
    assert tables.paired(table, ["fno", "vit"], 9).loc["vit"].tolist()[:2] == ["+0.00000", "+0.00000 … +0.00000"]
    assert signed(errors - 1e-9, errors) == "+.0000 [+.0000, +.0000]"
    assert signed(errors - 0.001, errors) == "-.0010 [-.0010, -.0010]"


def test_the_solver_to_quote_is_the_best_on_validation_where_operators_are_trained(made, references):
    """The arithmetic scheme is better on the test samples, and on validation on another grid."""
    schemes = {("arithmetic", 9): 0.3, ("harmonic", 9): 0.2, ("geometric", 9): float("nan"), ("arithmetic", 17): 0.1}
    beside = references({"arithmetic": [0.01] * 12, "harmonic": [0.05] * 12}, schemes)
    table = tables.rows([beside, made("fno"), made("vit")])
    notes = tables.headline(table)[tables.NOTE]
    assert notes[notes == "quoted"].index.tolist() == ["solver, harmonic at 9²"]
    first, second = tables.order(table[table.group == "operator"])
    assert list(tables.differences(table).index) == [second, "solver, harmonic at 9²"]
    to_solver = tables.differences(table, "solver, harmonic at 9²")
    assert list(to_solver.index) == [first, second]
    mean = np.mean(table[(table.model == first) & (table.resolution == 9)].relative_l2) - 0.05
    assert to_solver.loc[first, 9].startswith(f"{mean:+.5f}")
    assert not tables.rows([references(None, schemes), made("fno", trained_at=5)]).quoted.any(), "none was tried there"


def test_the_report_compares_with_the_quoted_solver(made, references, tmp_path, capsys):
    records = [references(None, {("harmonic", 9): 0.2}), made("fno"), made("vit")]
    paths = [tmp_path / "records" / f"{number}.jsonl" for number in range(3)]
    for path, record in zip(paths, records, strict=True):
        write_record(record, path)
    page = write_report(paths, tmp_path / "report").read_text()
    assert "minus that of solver, harmonic at 9² (quoted)" in page
    print_comparison(records)
    said = " ".join(capsys.readouterr().out.split())
    assert "minus that of solver, harmonic at 9² (quoted)" in said
    assert "arithmetic" not in said
    assert "solvers by other schemes (1) are in the report" in said
    kept = pd.read_csv(tmp_path / "report" / "tables" / "paired-9-solver-harmonic-at-9.csv", index_col="model")
    assert {"fno", "vit"} <= set(kept.index)


def test_what_was_not_recorded_is_left_empty(made, references):
    flops = {"prediction": 2_500_000, "resolution": 9}
    known = {"parameters": 1234, "seconds": 5.0, "memory": 1_230_000_000, "flops": flops}
    table = tables.rows([made("fno", training=known), made("vit", training={"parameters": 7}), references()])
    found = tables.resources(table)
    columns = ["parameters", "prediction [GFLOP]", "training [s]", "training [GB]"]
    assert found.loc["fno", columns].tolist() == ["1,234", "0.0025 at 9²", "5", "1.23"]
    assert found.loc["vit", columns].tolist() == ["7", "", "", ""]
    assert (found.loc["solver, harmonic at 9²", ["seeds", *columns]] == "").all()


def test_of_memory_the_least_is_shown_as_peaks_count_what_earlier_trainings_left(made):
    trained = [{"seconds": s, "memory": b} for s, b in ((4.0, 3e9), (6.0, 2e9), (8.0, 4e9))]
    table = tables.rows([made("fno", training=each, seed=seed) for seed, each in enumerate(trained)])
    assert tables.resources(table).loc["fno", ["training [s]", "training [GB]"]].tolist() == ["6", "2"]


def test_trainings_on_two_processors_have_no_mean_even_in_older_records_that_name_the_architecture(made):
    records = [
        dataclasses.replace(made("fno", training={"seconds": s}, seed=seed), environment={"device": "x86_64"}, cpu=cpu)
        for seed, (cpu, s) in enumerate((("One CPU", 4.0), ("Another CPU", 6.0)))
    ]
    assert tables.resources(tables.rows(records)).loc["fno", ["training [s]", "device"]].tolist() == ["4", "One CPU"]


def test_a_figure_leaves_out_what_squashes_the_rest_and_the_schemes_that_nobody_quotes():
    table = tables.rows(published("darcy85-refined"))
    drawn = set(uncrowded(table).model)
    assert "mean solution" not in drawn
    assert {name for name in drawn if name.startswith("solver")} == {
        f"solver, refined at {n}²" for n in (43, 61, 85, 141, 211, 421)
    }
    assert {"mano", "upsampled mano", "fno", "unet"} <= drawn
    assert set(uncrowded(table[table.kind == "mean"]).model) == {"mean solution"}, "alone it squashes nothing"


def test_a_picture_ends_before_an_operator_that_knows_one_grid():
    """From 141² on the published MANO errs by more than a hundred times as much as the others."""
    table = tables.rows(published("darcy85-refined"))
    others = table[(table.kind == "operator") & (table.model != "mano-published")].relative_l2
    (axis,) = error_against_resolution(table, Styles(table)).axes
    assert others.max() < axis.get_ylim()[1] < 0.1 < table[table.model == "mano-published"].relative_l2.max()
    assert 0.5 * others.min() > axis.get_ylim()[0]


def test_budgets_go_by_their_number():
    table = pd.DataFrame({"budget": ["120 epochs", "", "30 s", "60 epochs", "8 epochs", "2.5 s"]})
    assert tables.budgets(table) == ["8 epochs", "60 epochs", "120 epochs", "2.5 s", "30 s"]


def test_models_in_a_row_are_told_apart_whatever_they_are_called():
    assert listed(["fno", "mano"]) == "fno, mano"
    assert listed(["fno", "mano, 120 epochs", "mano"]) == "fno; mano, 120 epochs; mano"


def test_a_small_error_is_not_shown_as_none():
    assert tables.written(Interval(3.9e-6, 3.8e-6, 4.04e-6)) == ".0000039 [.0000038, .0000040]"
    assert tables.written(Interval(0.0, 0.0, 0.0)) == ".00000 [.00000, .00000]"
