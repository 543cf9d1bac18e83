"""References of a suite: what stands beside its models without being trained, and leaves one record of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data_gen.storage import read_json, to_json, write_text
from pdebench_mano.benchmark.data import Located, first_resolution
from pdebench_mano.benchmark.suite import Suite
from pdebench_mano.evaluation.assess import describe, samples
from pdebench_mano.evaluation.beside import (
    evaluate_labels,
    evaluate_persistence,
    evaluate_rivals,
    evaluate_solver,
    validate_rivals,
)
from pdebench_mano.evaluation.evaluate import Predictor, evaluate_upsampled
from pdebench_mano.evaluation.in_time import TrainingMean
from pdebench_mano.evaluation.records import Evaluation, Record, digest, slug, write_record
from pdebench_mano.fields.data import Dataset
from pdebench_mano.fields.metrics import own_sources
from pdebench_mano.machine.progress import Progress, silent
from pdebench_mano.machine.provenance import commit, cpu, provenance
from pdebench_mano.machine.typed import typed
from pdebench_mano.training.options import RunConfig


@dataclass(frozen=True)
class References:
    """What stands beside the models of a suite: solvers, persistence, the mean solution, and the labels themselves.

    Attributes
    ----------
    suite : Suite
    data : str
        What the data are, wherever they lie.
    trained_at : int
        Where the mean solution is taken, and the coarse solver's grid unless the suite names others.
    tested_on : str
        Name of the dataset, in a suite of several.
    """

    suite: Suite
    data: str
    trained_at: int
    tested_on: str = ""

    @property
    def grids(self) -> list[int]:
        """Grids of the coarse solver: none where the suite has `rivals`, unless it names some."""
        if self.suite.coarse_solver is None:
            return [] if self.suite.rivals else [self.trained_at]
        return self.suite.coarse_solver

    @property
    def key(self) -> str:
        """Digest of all that determines the outcome."""
        suite = self.suite
        content = ["baselines", self.data, suite.resolutions, self.grids, suite.mean_solution and self.trained_at]
        beyond: list[dict[str, Any]] = [{"norm": suite.norm}] if suite.norm != "points" else []
        beyond += [{"rivals": suite.rivals}] if suite.rivals else []
        beyond += [] if suite.rolled_out_from is None else [{"start": suite.rolled_out_from}]
        beyond += [{"metrics": own_sources(suite.metrics)}] if suite.metrics else []
        return digest(content + ([suite.label_uncertainty] if suite.label_uncertainty else []) + beyond)

    @property
    def name(self) -> str:
        """Name of the record's file."""
        return f"{slug(f'baselines {self.tested_on}')}-{self.key[:8]}"

    @property
    def title(self) -> str:
        """What people are told that it is."""
        return f"references on {self.tested_on}" if self.tested_on else "references"


def all_references(suite: Suite, places: Mapping[str, Located], config: RunConfig) -> list[References]:
    """What stands beside the models on each dataset; `config` is that of the first of them."""
    return [
        References(suite, place.said, place.trained_at or first_resolution(place.data, config, place.train), name)
        for name, place in places.items()
    ]


@dataclass(frozen=True)
class Share:
    """What a solver leaves of one grid: its rows, and its errors on the validation samples, as trials are kept.

    `source` is the digest of the code that it is of.
    """

    rows: list[Evaluation]
    trials: list[dict[str, Any]]
    source: str


def share_of(
    references: References,
    scheme: str,
    grid: int,
    train: Dataset,
    test: Dataset,
    progress: Progress = silent,
    fluctuating: TrainingMean | None = None,
) -> Share:
    """The share of one of the problem's rivals on one grid of the suite.

    Of rollouts, errors are relative to the fluctuation about the mean of the training samples, too.
    """
    suite = references.suite
    norm, start, schemes = suite.norm, suite.rolled_out_from, [scheme]
    options: dict[str, Any] = {"norm": norm, "start": start, "schemes": schemes}
    rows = evaluate_rivals(
        test, [grid], suite.resolutions, progress, mean=fluctuating, metrics=suite.metrics, **options
    )
    return Share(rows, validate_rivals(train, [grid], progress, **options), provenance()["source"])


def write_share(share: Share, path: Path) -> None:
    """Keep a share as one JSON line; the file is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, to_json(asdict(share), str) + "\n")


def read_share(path: Path) -> Share:
    """Read back what `write_share` wrote.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or it holds something else.
    """
    return typed(Share, read_json(path), path)


def record_references(
    references: References,
    shares: Sequence[Share],
    mean: Predictor | None,
    test: Dataset,
    target: Path,
    command: str,
    progress: Progress = silent,
    fluctuating: TrainingMean | None = None,
) -> None:
    """Leave the record of the references at `target`: shares of rivals, the mean solution if given, and all else.

    The rivals' errors on validation samples, by which the one to quote is chosen, stand there as an operator's trials.
    Of rollouts, errors are relative to the fluctuation about the mean of the training samples, too.
    """
    suite = references.suite
    at, norm, start = suite.resolutions, suite.norm, suite.rolled_out_from
    options: dict[str, Any] = {"norm": norm, "start": start, "mean": fluctuating, "metrics": suite.metrics}
    rows = evaluate_solver(test, references.grids, at, progress, **options)
    rows += [row for share in shares for row in share.rows]
    trials = [trial for share in shares for trial in share.trials]
    if start is not None:
        rows += evaluate_persistence(test, at, progress, **options)
    if mean is not None:
        place = references.trained_at
        rows += evaluate_upsampled(mean, "mean solution", test, place, at, progress, kind="mean", **options)
    if suite.label_uncertainty:
        rows += evaluate_labels(test, suite.label_uncertainty, at, progress, **options)
    record = Record(
        key=references.key,
        model="baselines",
        seed=0,
        budget="",
        configuration={},
        training={"trials": trials} if trials else {},
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
        tested_on=references.tested_on,
    )
    write_record(record, target)
