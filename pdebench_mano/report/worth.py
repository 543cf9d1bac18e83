"""Is an operator worth it? Its time beside that of a solver of the same error, and what labels and training cost first.

A solver has its error and its time on every grid. At the error of an operator its time lies on the line between the
grids next to it, error and time logarithmic; where no two grids enclose the error, none is said. The solver is the one
that is the first to have the operator's error on validation samples, which need not be the most accurate on a grid;
where none was both validated and timed there, it is the most accurate on the training grid. An operator that is faster
has paid for its labels and its training after

    ⌈1000 (labels_s + training_s) / (rival_ms − operator_ms)⌉

predictions. All times are throughputs on one device, see `pdebench_mano.evaluation.timing`.
"""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from data_gen.recipe import splits
from data_gen.storage import write_text
from pdebench_mano.evaluation.records import Evaluation, Record, device_of, kind_of, solver_name
from pdebench_mano.evaluation.timing import ONE_CORE, Timing, read_times
from pdebench_mano.report.naming import ground
from pdebench_mano.report.plane import (
    COARSE,
    Point,
    beats,
    least_time,
    operator_ms,
    operator_points,
    operator_rows,
    solver_ms,
    solver_points,
    time_at,
    timed_as,
)

WORTH = "worth.json"


@dataclass(frozen=True)
class Worth:
    """What an operator saves, and after how many predictions; None is never, or not known, and `reason` says why.

    Attributes
    ----------
    suite : str or None
    model, budget : str
    resolution : int
    device : str
    operator_error : float
        Mean relative L2 error, over samples and seeds.
    operator_ms : float
        Of its fastest mode.
    rival : str or None
        The solver, as its rows are called.
    rival_ms : float or None
        At the operator's error.
    ratio : float or None
        rival_ms / operator_ms.
    labels_s, training_s, tuning_s : float or None
        To make the labels of the training samples; to train, mean over seeds; to train all trials of its settings. On a
        CPU labels are made on one core, and a training has as many as it took.
    break_even, break_even_with_tuning : int or None
        Predictions after which labels and training, and tuning too, are paid for.
    reason : str
    """

    suite: str | None
    model: str
    budget: str
    resolution: int
    device: str
    operator_error: float
    operator_ms: float
    rival: str | None
    rival_ms: float | None
    ratio: float | None
    labels_s: float | None
    training_s: float | None
    tuning_s: float | None
    break_even: int | None
    break_even_with_tuning: int | None
    reason: str


def worth(records: Sequence[Record], times: Sequence[Timing], suite: str | None = None) -> list[Worth]:
    """What every operator is worth, on every device and grid that it was timed on.

    Parameters
    ----------
    records : sequence of Record
        Of models and of what stands beside them; only what was tested on the same samples by the same norm is compared.
    times : sequence of Timing
    suite : str, optional
        Name of the suite that they are of.
    """
    trained = [record for record in records if record.configuration]
    found = []
    for place, budget, model in dict.fromkeys((ground(each), each.budget, each.model) for each in trained):
        here = [each for each in records if ground(each) == place]
        own = [each for each in here if each.configuration and (each.budget, each.model) == (budget, model)]
        for device in devices(times, place[0]):
            there = [each for each in times if (each.dataset, each.device) == (place[0], device)]
            for resolution in sorted({row.resolution for each in own for row in operator_rows(each)}):
                for operator in operator_points(own, there, resolution):
                    found.append(_worth(operator, own, here, there, suite))
    return found


def _worth(
    operator: Point, own: Sequence[Record], here: Sequence[Record], times: Sequence[Timing], suite: str | None
) -> Worth:
    """The same of one operator, whose records are `own`, on one grid, by times of one device."""
    device, trained_at = times[0].device, int(own[0].configuration["data"]["resolution"])
    rival, why_no_rival = fastest_rival(here, times, operator.error), ""
    if rival is None:
        rival, why_no_rival = chosen_rival(here, trained_at)
    rival_ms, why_no_time, never = None, "", ""
    if rival is not None:
        points = [each for each in solver_points(here, times, operator.grid) if each.name == rival]
        rival_ms, why_no_time = time_at(operator.error, points)
        if rival_ms is None and (ahead := [each for each in points if beats(each, operator)]):
            first = min(ahead, key=lambda each: each.ms)
            never = f"never: the solver at {first.grid}² has {first.error:.3g} in {first.ms:.3g} ms"
    labels_s, why_no_labels = labels_seconds(own[0], times)
    training_s, why_no_training = training_seconds(own, device)
    tuning_s = tuning_seconds(own[0])
    cost = None if labels_s is None or training_s is None else labels_s + training_s
    reasons = [why_no_rival, why_no_time, why_no_labels, why_no_training]
    paid = break_even(cost, operator.ms, rival_ms)
    with_tuning = break_even(None if cost is None or tuning_s is None else cost + tuning_s, operator.ms, rival_ms)
    if rival_ms is not None and rival_ms <= operator.ms:
        never = "never: the solver is as fast"
    if paid is not None and with_tuning is None:
        reasons.append("the seconds of its trials are not recorded")
    return Worth(
        suite=suite,
        model=own[0].model,
        budget=own[0].budget,
        resolution=operator.grid,
        device=device,
        operator_error=_digits(operator.error),
        operator_ms=operator.ms,
        rival=rival,
        rival_ms=None if rival_ms is None else _digits(rival_ms),
        ratio=None if rival_ms is None else _digits(rival_ms / operator.ms),
        labels_s=None if labels_s is None else _digits(labels_s),
        training_s=None if training_s is None else _digits(training_s),
        tuning_s=None if tuning_s is None else _digits(tuning_s),
        break_even=paid,
        break_even_with_tuning=with_tuning,
        reason=never or "; ".join(reason for reason in reasons if reason),
    )


def break_even(cost_s: float | None, operator_ms: float, rival_ms: float | None) -> int | None:
    """Predictions after which a cost is paid for; None where that is never, or not known."""
    if cost_s is None or rival_ms is None or rival_ms <= operator_ms:
        return None
    return math.ceil(1e3 * cost_s / (rival_ms - operator_ms))


def fastest_rival(records: Iterable[Record], times: Iterable[Timing], error: float) -> str | None:
    """The name of the solver that takes the least time to an error on validation samples; None where none is known."""
    took = solver_ms(times)
    curves: dict[str, list[Point]] = {}
    for trial in solver_trials(records):
        name, grid = solver_name(trial["configuration"]["solver"]), trial["configuration"].get("resolution")
        if ms := took.get((name, grid)):
            curves.setdefault(name, []).append(Point(name, grid, trial["validation"], ms))
    reached = {name: least_time(error, points) for name, points in curves.items()}
    known = {name: ms for name, ms in reached.items() if ms is not None}
    return min(known, key=known.__getitem__, default=None)


def solver_trials(records: Iterable[Record]) -> list[dict[str, Any]]:
    """Errors of solvers on validation samples, as records of references keep them."""
    return [trial for each in records if not each.configuration for trial in each.training.get("trials", [])]


def chosen_rival(records: Sequence[Record], trained_at: int) -> tuple[str | None, str]:
    """The name of the solver with the least validation error on the training grid; or None, and why.

    Where references have validated none, it is the coarse solver, or the only one that there is.
    """
    if trials := solver_trials(records):
        at = [each for each in trials if each["configuration"].get("resolution") == trained_at]
        if not at:
            return None, f"no solver was validated at {trained_at}²"
        return solver_name(min(at, key=lambda trial: trial["validation"])["configuration"]["solver"]), ""
    names = {row.model for each in records for row in each.evaluations if kind_of(row, each) == "solver"}
    if COARSE in names or len(names) == 1:
        return COARSE if COARSE in names else names.pop(), ""
    return None, "no solver was chosen by validation" if names else "no solver stands beside it"


def labels_seconds(record: Record, times: Iterable[Timing]) -> tuple[float | None, str]:
    """Time to make the labels of a model's training samples; or None, and why."""
    ms = next((each.throughput_ms for each in times if each.kind == "labels"), None)
    if ms is None:
        return None, "the making of labels was not timed"
    count = training_samples(record)
    if count is None:
        return None, "the number of training samples is not recorded"
    return count * ms / 1e3, ""


def training_samples(record: Record) -> int | None:
    """How many samples a model was trained on; None where no record tells."""
    if "samples" in record.training:
        return int(record.training["samples"])
    trained, tested = record.configuration["data"]["digest"], record.dataset
    if trained != tested["digest"] or "recipe" not in tested:
        return None
    recipe = json.loads(tested["recipe"])
    train = splits(recipe["samples"], tuple(recipe["split"])).get("train")
    return None if train is None else len(train)


def training_seconds(records: Sequence[Record], device: str) -> tuple[float | None, str]:
    """Time of a training on a device, mean over seeds; or None, and why."""
    seconds = [each.training.get("seconds") for each in records]
    known = [each for each in seconds if each is not None]
    elsewhere = sorted({device_of(each) for each in records} - {device.removesuffix(ONE_CORE)})
    if elsewhere:
        return None, f"it was trained on {', '.join(elsewhere)}"
    if len(known) < len(seconds):
        return None, "the seconds of its training are not recorded"
    return sum(known) / len(known), ""


def tuning_seconds(record: Record) -> float | None:
    """Time of all trainings by which the settings were chosen; None where they are not recorded."""
    seconds = [trial.get("seconds") for trial in record.training.get("trials", [])]
    return sum(seconds) if seconds and None not in seconds else None


def devices(times: Iterable[Timing], dataset: str) -> list[str]:
    """The devices that times on some samples were taken on."""
    return list(dict.fromkeys(each.device for each in times if each.dataset == dataset))


def beside(records: Iterable[Path], out: Path | None = None) -> list[Timing]:
    """The times that lie in the folders of some records, or in the folder of a report.

    Raises
    ------
    ValueError
        If such a file holds something else.
    """
    folders = [*(path.parents[1] for path in records), *([] if out is None else [out])]
    return [each for folder in dict.fromkeys(map(Path.resolve, folders)) for each in read_times(folder)]


def with_times(record: Record, times: Sequence[Timing]) -> Record:
    """The record with the times of its device where it has none of its own; what interpolates takes none."""
    dataset, _ = ground(record)
    here = [
        each for each in times if each.dataset == dataset and each.device.removesuffix(ONE_CORE) == device_of(record)
    ]
    if not here:
        return record
    solved = solver_ms(here)

    def seconds(row: Evaluation) -> float | None:
        kind = kind_of(row, record)
        ms = None
        if kind in ("operator", "upsampled"):
            ms = operator_ms(record, here, row.computed_at)
        elif kind == "solver":
            ms = solved.get((timed_as(row, record), row.computed_at))
        return row.seconds if row.seconds is not None or ms is None else ms / 1e3

    return replace(record, evaluations=[replace(row, seconds=seconds(row)) for row in record.evaluations])


def shown(rows: Sequence[Worth], records: Iterable[Record]) -> list[Worth]:
    """What a report shows: the grid that an operator was trained on, and the finest."""
    trained_at = {each.model: int(each.configuration["data"]["resolution"]) for each in records if each.configuration}
    finest = max((row.resolution for row in rows), default=0)
    return [row for row in rows if row.resolution in (trained_at[row.model], finest)]


def cells(rows: Sequence[Worth]) -> pd.DataFrame:
    """The table that people read, one line a model, grid and device."""
    several = len({row.device for row in rows}) > 1

    def number(value: int | float | None) -> str:
        return "" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.3g}"

    return pd.DataFrame(
        {
            f"{row.model} at {row.resolution}²" + f" on {row.device}" * several: {
                "error": number(row.operator_error),
                "ms": number(row.operator_ms),
                "rival": row.rival or "",
                "its ms": number(row.rival_ms),
                "ratio": number(row.ratio),
                "break-even": number(row.break_even),
                "with tuning": number(row.break_even_with_tuning),
                "remark": row.reason,
            }
            for row in rows
        }
    ).T


def write_worth(rows: Iterable[Worth], path: Path) -> None:
    """Write a JSON list, one object a line.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, "[\n" + ",\n".join(json.dumps(asdict(each)) for each in rows) + "\n]\n")


def _digits(value: float) -> float:
    """As many as errors have."""
    return float(f"{value:.6g}")
