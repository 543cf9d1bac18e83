"""What a comparison remembers: one JSON line a case, with every sample's errors.

A record is written once and whole, and holds all that tables and curves are made of: a report computes no prediction,
and needs no PyTorch. Means, medians and spreads are its business, so nothing is averaged away here.
"""

import hashlib
import json
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from os.path import lexists
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from data_gen.grid import Norm
from data_gen.laws import LAWS
from data_gen.problems import PROBLEMS
from data_gen.recipe import drawn
from data_gen.storage import UNKNOWN, atomic, problem_of, to_json, write_text
from pdebench_mano.evaluation.labels import in_todays_words
from pdebench_mano.fields.samples import Samples, refuse_overlap
from pdebench_mano.training.folder import read_config, read_summary, samples_of, weights_of


@dataclass(frozen=True)
class Spectra:
    """Energy at frequencies [k, k+1) cycles per unit length, k = 0, 1, …, mean over samples.

    Each relative to the energy of the true solution: `truth` sums to nearly one, `error` to the mean square of
    the relative L2 error.
    """

    truth: list[float]
    prediction: list[float]
    error: list[float]


@dataclass(frozen=True)
class Evaluation:
    """One row of a comparison: the errors of one model at one resolution.

    Attributes
    ----------
    model : str
        Name of an operator, ``upsampled NAME``, ``solver, LABEL`` (published: ``coarse solver``), ``mean solution``,
        ``persistence`` or ``label uncertainty``. It tells nothing: `kind_of` says what made a row.
    resolution : int
        Points along the first axis of the grid the errors are taken on.
    computed_at : int
        The same of the grid the prediction was computed on; a coarser one is interpolated to `resolution`.
    errors : dict
        Metric → one value per sample, in the order of `Record.samples`; a row on fewer samples has the first of them.
        Of a rollout, fields are stacked over times and outputs.
    spectra : Spectra
    seconds : float or None
        Time of one prediction, in records of earlier versions; since then times are measurements of their own, see
        `pdebench_mano.evaluation.timing`.
    kind : {"operator", "upsampled", "solver", "mean", "persistence", "labels", ""}
        What made the predictions; "" in records of earlier versions, where the name tells.
    times : list of float
        When the states of a rollout are; none where what is predicted is no rollout.
    per_time : dict
        Metric → sample → one value per time.
    precision : {"float32", "bfloat16", "float16", ""}
        That which the error of an operator bears, see `pdebench_mano.evaluation.timing`: errors are those of float32.
        "" of others, and in records of earlier versions.
    """

    model: str
    resolution: int
    computed_at: int
    errors: dict[str, list[float]]
    spectra: Spectra
    seconds: float | None = None
    kind: str = ""
    times: list[float] = field(default_factory=list)
    per_time: dict[str, list[list[float]]] = field(default_factory=dict)
    precision: str = ""

    def mean(self, metric: str = "relative_l2") -> float:
        """Mean over samples."""
        return sum(self.errors[metric]) / len(self.errors[metric])

    def summary(self) -> dict[str, Any]:
        """The row as a plain object: means over samples."""
        place = {"model": self.model, "resolution": self.resolution, "computed_at": self.computed_at}
        means = {metric: float(f"{self.mean(metric):.6g}") for metric in self.errors}
        row = place | means | {"samples": len(self.errors["relative_l2"]), "seconds": self.seconds}
        return row | ({"times": self.times, "per_time": self.means_in_time()} if self.times else {})

    def means_in_time(self) -> dict[str, list[float]]:
        """Mean over samples of each metric at each time."""
        return {
            metric: [float(f"{sum(values) / len(values):.6g}") for values in zip(*samples, strict=True)]
            for metric, samples in self.per_time.items()
        }


@dataclass(frozen=True)
class Record:
    """One case: what was trained, how, on what, and how it fared.

    Attributes
    ----------
    key : str
        Digest of everything that determines the outcome.
    model : str
        Name in tables; an operator's registered name where nothing else was asked for.
    seed : int
    budget : str
        What training was allowed, in words; only models of one budget are compared with one another.
    configuration : dict
        The run's full configuration; empty for a baseline that is not trained.
    training : dict
        What training took: ``parameters``, ``seconds``, ``best_epoch``, ``best_validation``, …; the ``flops`` of one
        ``prediction`` at the training ``resolution``; and what the settings were chosen by, ``trials``, a list of
        ``configuration`` and ``validation`` error each. Trials of references are those of solvers, with ``solver``
        and ``resolution`` in their configuration.
    history : list of dict
        One for each epoch: ``epoch``, ``loss``, ``validation``, …
    dataset : dict
        What the file of the evaluated samples says about itself, its ``digest`` first.
    samples : list of int
        Positions of the evaluated samples in that file.
    evaluations : list of Evaluation
    commands : list of str
        What to type to get this record again.
    environment : dict
        Device, versions, and the digest of the suite's own ``source``.
    weights : str
        SHA-256 of the weights that were evaluated; empty where nothing was trained, or an earlier version recorded it.
    problem : str
        What the samples are of.
    commit, cpu : str
        Commit of the suite, with a + where files differ from it, and the processor.
    split : str
        What the samples are: the test split of the file, or "all" of it where that was asked for.
    norm : {"points", "integral"}
        Of the errors, see `pdebench_mano.fields.metrics`; an earlier version knew means over points alone.
    trained_on, tested_on : str
        What a suite of several datasets calls them; "" of one, and a baseline is trained on none.
    """

    key: str
    model: str
    seed: int
    budget: str
    configuration: dict[str, Any]
    training: dict[str, Any]
    history: list[dict[str, float]]
    dataset: dict[str, Any]
    samples: list[int]
    evaluations: list[Evaluation]
    commands: list[str]
    environment: dict[str, str]
    weights: str = ""
    problem: str = "darcy"
    commit: str = ""
    cpu: str = ""
    split: str = "test"
    norm: Norm = "points"
    trained_on: str = ""
    tested_on: str = ""


_RECORD = TypeAdapter(Record)


def evaluated_on(record: Record) -> dict[str, Any]:
    """What the samples of a record are: their positions, and the recipe that draws and solves them.

    Files of one recipe differ in digest where other devices solved them, and where they hold more samples or split
    them otherwise; a sample does not. Without a recipe, or where it names a law or a problem of one's own without the
    digest of its file, the digest of the dataset stands in its place. Of rollouts, it is also when the states are.
    """
    times = next((row.times for row in record.evaluations if row.times), [])
    return told_apart(record.dataset, record.samples) | ({"times": times} if times else {})


def told_apart(dataset: dict[str, Any], positions: list[int]) -> dict[str, Any]:
    """What `evaluated_on` says of the samples at some positions of a file, by what the file says of itself."""
    recipe = json.loads(dataset.get("recipe", "{}"))
    built_in = recipe.get("law") in LAWS or recipe.get("problem") in PROBLEMS
    if not (built_in or recipe.get("sources")):
        return {"digest": dataset["digest"], "positions": positions}
    same_everywhere = {name: value for name, value in recipe.items() if name not in ("device", "samples", "split")}
    return same_everywhere | {"positions": positions}


NAMED = {
    "coarse solver": "solver",
    "mean solution": "mean",
    "persistence": "persistence",
    "label uncertainty": "labels",
}
"""What rows are called that no operator made, and their kind."""


def kind_of(row: Evaluation, record: Record) -> str:
    """What made the predictions of a row: its kind, or what its name tells, where an earlier version recorded it."""
    return row.kind or NAMED.get(row.model, "operator" if row.model == record.model else "upsampled")


def solver_name(scheme: str) -> str:
    """What rows of a solver are called, by the scheme of its problem."""
    return f"solver, {scheme}" if scheme else "solver"


ARCHITECTURES = ("x86_64", "i386", "AMD64", "aarch64", "arm64", "arm")
"""What `Record.environment` called a device without a GPU, before it named the processor."""


def device_of(record: Record) -> str:
    """What a record was made on: the GPU, or, of a machine without one, the processor."""
    device = record.environment.get("device", "")
    return record.cpu or device if device in ARCHITECTURES else device


def allowed(epochs: int, seconds: float | None = None) -> str:
    """How long a training may take, in words."""
    return f"{seconds:g} s" if seconds is not None else f"{epochs} epoch{'s' * (epochs != 1)}"


def described(record: Record) -> str:
    """What the samples of a record are, in words: the problem and its parameters, as far as they are known."""
    problem, parameters = problem_of(record.dataset)
    of_parts = [part.items() for part in parameters.values() if isinstance(part, dict)]  # law_args, which say what law
    told = [
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in chain(parameters.items(), *of_parts)
        if isinstance(value, str | int | float) and value != UNKNOWN and name != "method"
    ]
    if "label_uncertainty" in record.dataset:
        told.append(f"label uncertainty {record.dataset['label_uncertainty']:.2g}")
    whole = [] if record.split == "test" else ["all samples of a file without a test split"]
    return ", ".join([problem, *told, *whole])


def digest(content: Any) -> str:
    """SHA-256 of plain data."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_record(record: Record, path: Path) -> None:
    """Write a record as one JSON line; the file is there whole or not at all.

    Errors that are not finite, for which JSON has no word, are strings in it, which `read_record` takes for numbers.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    content = asdict(record)
    for name in ("trained_on", "tested_on"):
        if not content[name]:
            del content[name]
    for row in content["evaluations"]:
        if not row["times"]:
            del row["times"], row["per_time"]
        if not row["precision"]:
            del row["precision"]
    write_text(path, to_json(content, str) + "\n")


def listed(models: Iterable[str]) -> str:
    """Names of models in a row; between semicolons where a name has a comma of its own."""
    models = list(models)
    return ("; " if any("," in each for each in models) else ", ").join(models)


def slug(name: str) -> str:
    """A name as part of a file name."""
    return "-".join("".join(c if c.isalnum() else " " for c in name.lower()).split())


EXAMPLES, FIRST_SAMPLES = ".npz", ".first.npz"
"""Suffixes of the archives beside a record: of samples that its own errors chose, and of those that all have."""


def ranked(errors: Sequence[float]) -> dict[str, int]:
    """Positions of the samples with the smallest, the median and the largest error."""
    order = np.argsort(errors, kind="stable")
    return {"best": int(order[0]), "median": int(order[len(order) // 2]), "worst": int(order[-1])}


def write_examples(fields: dict[str, np.ndarray], record: Path, suffix: str = EXAMPLES) -> None:
    """Keep some fields beside a record, in a NumPy archive of its name."""
    record.parent.mkdir(parents=True, exist_ok=True)
    with atomic(record.with_suffix(suffix)) as temporary:
        np.savez_compressed(temporary, **fields)  # type: ignore[arg-type]


def read_examples(record: Path, suffix: str = EXAMPLES) -> dict[str, np.ndarray]:
    """Fields kept beside a record; empty if there are none.

    Raises
    ------
    ValueError
        If the archive is damaged, or another program's.
    """
    path = record.with_suffix(suffix)
    if not lexists(path):
        return {}
    try:
        with path.open("rb") as stream, np.load(stream) as archive:
            fields = dict(archive)
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is damaged: {error or type(error).__name__}") from error
    if missing := {"a", "truth", "prediction"} - fields.keys():
        raise ValueError(f"{path} is damaged, or another program's: it lacks {', '.join(sorted(missing))}")
    return fields


def read_record(path: Path) -> Record:
    """A record in today's words, whichever version wrote it.

    Raises
    ------
    ValueError
        As `stored_record`.
    """
    return in_todays_words(stored_record(path))


def stored_record(path: Path) -> Record:
    """Read back what `write_record` wrote, to the letter.

    Raises
    ------
    ValueError
        If the file holds something else.
    """
    try:
        record = _RECORD.validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{path} is no record: {'.'.join(map(str, first['loc']))} {first['msg']}") from None
    for lacking in _lacking(record):
        raise ValueError(f"{path} is no record: {lacking}")
    return record


def _lacking(record: Record) -> Iterator[str]:
    """What a record lacks that tables are made of, in words."""
    if not isinstance(record.dataset.get("digest"), str):
        yield "its dataset has no digest"
    if not record.evaluations:
        yield "it has no evaluations"
    for row in record.evaluations:
        counts = {len(values) for values in (row.errors.get("relative_l2", []), *row.errors.values())}
        if min(counts) < 1 or max(counts) > len(record.samples):
            yield f"{row.model} at {row.resolution}² has not one error for each of {len(record.samples)} samples"
    if any({"epoch", "loss", "validation"} - row.keys() for row in record.history):
        yield "its history has an epoch without loss or validation error"
    if (about := record.configuration) and not (
        isinstance(about.get("config"), dict)
        and isinstance(data := about.get("data"), dict)
        and isinstance(data.get("digest"), str)
        and isinstance(data.get("resolution"), int)
    ):
        yield "its configuration is none of a run"


def find_records(folder: Path) -> list[Path]:
    """Records of a run or a benchmark: the files ``records/*.jsonl``, in the order of their names."""
    return sorted(path for path in (folder / "records").glob("*.jsonl") if not path.name.startswith("."))


def records_of(folder: str | Path) -> list[Path]:
    """The records of a run or a benchmark.

    Raises
    ------
    ValueError
        If the run is not finished; if a record is of other weights than it has now, or of samples that it was trained
        on.
    """
    folder = Path(folder)
    paths = find_records(folder)
    if lexists(folder / "config.json"):
        read_config(folder), read_summary(folder)
        now = weights_of(folder)
        for path in paths:
            if read_record(path).weights not in ("", now):
                raise ValueError(f"{path} is of other weights than {folder} has now: evaluate it again, or remove it")
        refuse_recorded(folder, paths)
    return paths


def refuse_recorded(run: Path, paths: Sequence[Path]) -> None:
    """Refuse records of samples that the run was trained on, by the draw that both say they are of.

    Raises
    ------
    ValueError
        If there is such a record.
    """
    trained = samples_of(run)
    if trained is None:
        return
    for record in map(read_record, paths):
        refuse_overlap(Samples(drawn(record.dataset), record.samples, {}), trained, str(run))
