"""The site of published records is written where nothing else lies."""

import sys

import numpy as np
import pytest

from pdebench_mano.benchmark import site
from pdebench_mano.benchmark.leaderboard import published
from pdebench_mano.cli import main
from pdebench_mano.evaluation.records import kind_of


def test_a_folder_of_something_else_is_refused_and_one_that_was_begun_is_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(site, "suites", lambda: 1 / 0)
    (tmp_path / site.INDEX).write_text("<!doctype html><title>My own</title>")
    with pytest.raises(ValueError, match="holds something that is no site of published records"):
        site.write_site(tmp_path)
    with pytest.raises(ValueError, match="is a file"):
        site.write_site(tmp_path / site.INDEX)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            site.write_site(tmp_path / "new")
    assert (tmp_path / site.INDEX).read_text().endswith("<title>My own</title>")


def test_what_the_index_says_of_a_suite_is_what_its_records_say():
    records = published("darcy85-refined")
    said = site.summary(records)
    rows = [
        (record, row) for record in records for row in record.evaluations if row.resolution == row.computed_at == 85
    ]
    errors = {}
    for record, row in rows:
        errors.setdefault((kind_of(row, record), row.model), []).append(row.mean())
    operators, solvers = (
        {name: np.mean(each) for (what, name), each in errors.items() if what == kind}
        for kind in ("operator", "solver")
    )
    best = min(operators, key=operators.get)
    assert said["best operator"] == best == "mano, 120 epochs", "a budget that the name says is not said again"
    assert site.summary(published("channels85"))["best operator"] == "mano, 60 epochs"
    assert float(said["its error"].split()[0]) == pytest.approx(operators[best], rel=0.01)
    assert float(said["solver"]) == pytest.approx(min(solvers.values()), rel=0.01)
    assert said["trainings"] == str(sum(bool(record.configuration) for record in records))


def test_html_goes_with_nothing_else(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["pdebench-mano", "leaderboard", "--html", str(tmp_path / "site"), "--json"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert "takes neither --suite, --add nor --json" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "site").exists()
