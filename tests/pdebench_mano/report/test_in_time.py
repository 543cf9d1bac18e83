"""What a report says of rollouts: numbers that are those of the records, figures and fields over time."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data_gen import generate
from pdebench_mano import Dataset, RunConfig, train
from pdebench_mano.evaluation.assess import assess
from pdebench_mano.evaluation.records import read_record
from pdebench_mano.fields.names import FLUCTUATION, UNTIL
from pdebench_mano.report import naming, tables, write_report
from pdebench_mano.report.figures import Styles, error_over_time

OWN = Path(__file__).parents[2] / "project" / "own_problems.py"


@pytest.fixture(scope="module")
def assessed(tmp_path_factory):
    """The record of a short training on steps of heat flow."""
    folder = tmp_path_factory.mktemp("heat")
    generate(folder / "heat.hdf5", 12, 16, problem=f"{OWN}:Heat", split=(0.5, 0.0, 0.5))
    arguments = {"width": 4, "modes": 4, "depth": 1}
    config = RunConfig(
        operator="fno", operator_args=arguments, data=str(folder / "heat.hdf5"), epochs=1, pairs="step", resolution=8
    )
    train(config, folder / "run", device="cpu", trust=True)
    return assess(folder / "run", Dataset(folder / "heat.hdf5", trust=True), [8, 16])


def test_a_table_and_a_figure_hold_the_means_over_seeds_and_samples(assessed):
    record = read_record(assessed)
    doubled = [
        dataclasses.replace(row, per_time={k: (2 * np.array(v)).tolist() for k, v in row.per_time.items()})
        for row in record.evaluations
    ]
    again = dataclasses.replace(record, seed=1, evaluations=doubled)
    table = tables.rows([record, again])
    row = next(row for row in record.evaluations if row.kind == "operator" and row.resolution == 16)
    means = 1.5 * np.mean(row.per_time["relative_l2"], 0)
    times, found = tables.over_time(table, 16)["fno"]
    assert times == (0.1, 0.2, 0.3)
    assert found == pytest.approx(means)
    (line,) = [each for each in error_over_time(table, Styles(table), 16).axes[0].lines if each.get_label() == "fno"]
    assert line.get_ydata() == pytest.approx(means)
    cells = tables.at_times(table, 16).loc["fno"]
    assert float(cells["t = 0.3"]) == pytest.approx(means[-1], abs=1e-4)
    fluctuation = 1.5 * np.mean(row.per_time[FLUCTUATION], 0)[-1]
    assert float(cells["of fluctuation at 0.3"]) == pytest.approx(fluctuation, rel=0.01)
    assert float(cells["error below 0.2 for"]) == pytest.approx(np.mean(row.errors[UNTIL]), rel=0.01)


def test_the_page_shows_errors_and_fields_over_time_beside_persistence_and_the_solver(assessed, tmp_path):
    page = write_report([assessed], tmp_path / "report").read_text()
    assert "<h1>Neural operators on Heat</h1>" in page
    assert "<h4>Over time</h4>" in page
    for name in ("error-over-time-8", "error-over-time-16", "states-fno"):
        assert (tmp_path / "report" / "figures" / f"{name}.svg").exists()
    cells = pd.read_csv(tmp_path / "report" / "tables" / "over-time-16.csv", index_col="model")
    assert {"fno", "upsampled fno", "persistence"} < set(cells.index)
    assert any(name.startswith("coarse solver") or name.startswith("solver") for name in cells.index)


def test_rollouts_never_share_a_table_with_other_times(assessed):
    record = read_record(assessed)
    later = [dataclasses.replace(row, times=row.times[1:]) for row in record.evaluations]
    grounds = {naming.ground(each) for each in (record, dataclasses.replace(record, evaluations=later))}
    assert len(grounds) == 2
