"""`helmholtz-quick`, made smaller: a suite of two outputs and of refined labels, from nothing to its report."""

import pytest

from pdebench_mano.benchmark.run import run_suite
from pdebench_mano.benchmark.suite import packaged, read_suite
from pdebench_mano.evaluation.records import find_records
from pdebench_mano.report import write_report


@pytest.fixture(scope="module")
def small():
    """The suite with a few samples and steps."""
    suite = read_suite(packaged("helmholtz-quick"))
    fewer = {"samples": 5, "test_samples": 2, "split": (0.8, 0.2, 0.0), "workers": 1}
    training = {name: value for name, value in suite.training.items() if name != "seconds"}
    return suite.model_copy(
        update={
            "data": suite.data.model_copy(update={"generate": suite.data.generate.model_copy(update=fewer)}),
            "models": suite.models[:1],
            "training": training | {"epochs": 1},
        }
    )


def test_a_suite_of_waves_ends_with_an_operator_beside_both_schemes(small, tmp_path):
    references, trained = run_suite(small, tmp_path)
    rows = [(row.kind, row.resolution) for row in trained.evaluations]
    assert rows == [("operator", 33), ("operator", 65), ("upsampled", 65)]
    assert (trained.model, trained.norm) == ("fno", "integral")
    errors = {(row.model, row.computed_at, row.resolution): row.mean() for row in references.evaluations}
    for grid in (17, 33, 65):
        assert errors["solver, fourth-order", grid, 65] < errors["solver, five-point", grid, 65] / 5
    uncertainty = references.dataset["label_uncertainty"]
    assert uncertainty < errors["solver, fourth-order", 65, 65] / 5, "the labels are those of twice the intervals"
    page = write_report(find_records(tmp_path), tmp_path / "report", small.title).read_text()
    assert "fourth-order" in page
