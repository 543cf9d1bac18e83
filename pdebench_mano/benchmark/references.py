"""References of a suite: what stands beside its models without being trained, and leaves one record of its own."""

from dataclasses import dataclass
from pathlib import Path

from pdebench_mano.benchmark.suite import Suite
from pdebench_mano.evaluation.assess import describe, samples
from pdebench_mano.evaluation.evaluate import Predictor, evaluate_labels, evaluate_solver, evaluate_upsampled
from pdebench_mano.evaluation.records import Record, digest, write_record
from pdebench_mano.fields.data import Dataset
from pdebench_mano.machine.progress import Progress, silent
from pdebench_mano.machine.provenance import commit, cpu, provenance


@dataclass(frozen=True)
class References:
    """What stands beside the models of a suite: solvers, the mean solution, and the labels themselves.

    Attributes
    ----------
    suite : Suite
    data : str
        What the data are, wherever they lie.
    trained_at : int
        Where the mean solution is taken, and the coarse solver's grid unless the suite names others.
    """

    suite: Suite
    data: str
    trained_at: int

    @property
    def grids(self) -> list[int]:
        """Grids of the coarse solver."""
        return [self.trained_at] if self.suite.coarse_solver is None else self.suite.coarse_solver

    @property
    def key(self) -> str:
        """Digest of all that determines the outcome."""
        suite = self.suite
        content = ["baselines", self.data, suite.resolutions, self.grids, suite.mean_solution and self.trained_at]
        beyond = [{"norm": suite.norm}] if suite.norm != "points" else []
        return digest(content + ([suite.label_uncertainty] if suite.label_uncertainty else []) + beyond)

    @property
    def name(self) -> str:
        """Name of the record's file."""
        return f"baselines-{self.key[:8]}"


def record_references(
    references: References,
    mean: Predictor | None,
    test: Dataset,
    target: Path,
    command: str,
    progress: Progress = silent,
) -> None:
    """Leave the record of the references at `target`, with the mean solution where there is one."""
    suite = references.suite
    at, norm = suite.resolutions, suite.norm
    rows = evaluate_solver(test, references.grids, at, progress, norm=norm)
    if mean is not None:
        rows += evaluate_upsampled(
            mean, "mean solution", test, references.trained_at, at, progress, norm=norm, kind="mean"
        )
    if suite.label_uncertainty:
        rows += evaluate_labels(test, suite.label_uncertainty, at, progress, norm=norm)
    record = Record(
        key=references.key,
        model="baselines",
        seed=0,
        budget="",
        configuration={},
        training={},
        history=[],
        dataset=describe(test.info),
        samples=samples(test),
        evaluations=rows,
        commands=[command],
        environment=provenance(),
        problem=test.info.problem,
        commit=commit(),
        cpu=cpu(),
        norm=norm,
    )
    write_record(record, target)
