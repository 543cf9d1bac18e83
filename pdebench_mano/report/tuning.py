"""Whether settings were chosen fairly: a learning rate from within the grid that was tried, as many trials for all."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pdebench_mano.evaluation.records import Record, allowed

UNSAID: dict[str, Any] = {"lr": 1e-3, "epochs": 24}
"""What a trial means that does not say it: the published defaults, which `benchmark.identity` leaves out."""


@dataclass(frozen=True)
class Tuning:
    """What the learning rate of a training was chosen among.

    Attributes
    ----------
    lr : float
        That of the training.
    tried : tuple of float
        Learning rates of the trials that share all other settings with the best one, rising.
    trials : int
        Number of all trials.
    epochs : int, optional
        Those of a trial, where the training has another number.
    """

    lr: float
    tried: tuple[float, ...]
    trials: int
    epochs: int | None = None

    @property
    def interior(self) -> bool:
        """Whether both a smaller and a larger learning rate were tried, and found worse."""
        return bool(self.tried) and self.tried[0] < self.lr < self.tried[-1]

    def __str__(self) -> str:
        if not self.trials:
            return f"lr {power(self.lr)}, no trials"
        grid = f"{power(self.tried[0])} … {power(self.tried[-1])}"
        if len(self.tried) == 1:
            place = "the only one tried"
        else:
            place = f"interior of {grid}" if self.interior else f"at the edge of its grid {grid}"
        return f"lr {power(self.lr)}, {place}; {counted(self.trials)}" + (
            f" of {allowed(self.epochs)}" if self.epochs is not None else ""
        )


def tuning(record: Record) -> Tuning:
    """What the record of a training says of its trials."""
    config = record.configuration["config"]
    trials = record.training.get("trials", [])
    if not trials:
        return Tuning(config["lr"], (), 0)
    best = min(trials, key=validation)["configuration"]
    like = [trial["configuration"] for trial in trials if others(trial["configuration"]) == others(best)]
    epochs = best.get("epochs", UNSAID["epochs"])
    return Tuning(
        config["lr"],
        tuple(sorted({each.get("lr", UNSAID["lr"]) for each in like})),
        len(trials),
        epochs if epochs != config["epochs"] else None,
    )


def validation(trial: dict[str, Any]) -> float:
    """The validation error of a trial; infinite where it has none that is a number."""
    error = trial["validation"]
    return math.inf if error is None or math.isnan(error) else error


def others(configuration: dict[str, Any]) -> dict[str, Any]:
    """The settings of a trial beside its learning rate."""
    return {name: value for name, value in configuration.items() if name != "lr"}


def told(records: Sequence[Record]) -> Iterator[str]:
    """One line a model, and one on whether all had as many trials."""
    found = {record.model: tuning(record) for record in records if record.configuration}
    for model, each in found.items():
        yield f"{model}: {each}"
    counts = {model: each.trials for model, each in found.items()}
    if len(set(counts.values())) > 1:
        yield f"The numbers of trials differ: {'; '.join(f'{model} {count}' for model, count in counts.items())}."
    elif any(counts.values()):
        yield f"Every model had {counted(max(counts.values()))}."
    elif counts:
        yield "No model has trials: settings are as they were given."


def counted(trials: int) -> str:
    """A number of trials, in words."""
    return "one trial" if trials == 1 else f"{trials} trials"


def power(value: float) -> str:
    """``0.003`` → ``3e-3``."""
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"
