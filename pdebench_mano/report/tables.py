"""Records → tables: one tidy table of all rows, and what people read made from it.

A row is told by its kind and its record, never by its name; the intervals of means are those of
`pdebench_mano.report.bootstrap`.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from pdebench_mano.evaluation.records import Evaluation, Record, device_of, kind_of
from pdebench_mano.fields.names import FLUCTUATION, LABELS, THRESHOLD, UNTIL
from pdebench_mano.report.bootstrap import Interval, difference, interval
from pdebench_mano.report.naming import ground, label
from pdebench_mano.report.tuning import validation

NOTE = "note"
"""The column of a table of resolutions that says how many seeds there are, or why a row is quoted."""


def rows(records: Sequence[Record]) -> pd.DataFrame:
    """One row for each model, resolution, seed and budget, with the mean over samples of every metric.

    ``group`` is ``operator``, ``upsampled`` or ``baseline``; a baseline, which knows neither seed nor budget, stands
    in it once for each ``dataset``, which is the digest of what the samples are, and ``norm``. ``of`` is the operator
    that a row is of, ``quoted`` whether it is the solver to quote, see `quoted`, and ``errors`` holds every sample's,
    metric by metric.

    Raises
    ------
    ValueError
        If rows of several kinds, or of several operators, have one name: `apart` tells them apart.
    """
    entries = []
    schemes = quoted(records)
    owners: dict[tuple[Any, ...], str] = {}
    for record in records:
        place = dataset, norm = ground(record)
        for row in record.evaluations:
            group, name = group_of(row, record), label(row, record)
            baseline = group == "baseline"
            kind, of = kind_of(row, record), "" if baseline else record.model
            owner = f"{kind} {of}".rstrip()
            if (other := owners.setdefault((place, name), owner)) != owner:
                raise ValueError(f"rows of {other!r} and of {owner!r} are both called {name!r}: rename the model")
            cost = {} if baseline else record.training
            entries.append(
                {
                    "model": name,
                    "group": group,
                    "kind": kind,
                    "of": of,
                    "quoted": kind == "solver" and name in schemes.get(place, ()),
                    "resolution": row.resolution,
                    "computed_at": row.computed_at,
                    "budget": "" if baseline else record.budget,
                    "seed": 0 if baseline else record.seed,
                    "device": device_of(record),
                    "dataset": dataset,
                    "norm": norm,
                    "parameters": cost.get("parameters", math.nan),
                    "flops": cost.get("flops", {}).get("prediction", math.nan),
                    "flops_at": cost.get("flops", {}).get("resolution", math.nan),
                    "training_seconds": cost.get("seconds", math.nan),
                    "training_memory": cost.get("memory", math.nan),
                    "seconds": math.nan if row.seconds is None else row.seconds,
                    "errors": {metric: np.asarray(values, float) for metric, values in row.errors.items()},
                    "times": tuple(row.times),
                    "per_time": {metric: np.asarray(values, float) for metric, values in row.per_time.items()},
                }
                | {metric: row.mean(metric) for metric in row.errors}
            )
    known = ["model", "resolution", "budget", "seed", "dataset", "norm"]
    return pd.DataFrame(entries).drop_duplicates(known, keep="last", ignore_index=True)


def group_of(row: Evaluation, record: Record) -> str:
    """``operator``, ``upsampled`` or ``baseline``, which needs no training, by the kind of a row."""
    kind = kind_of(row, record)
    return kind if kind in ("operator", "upsampled") else "baseline"


def quoted(records: Sequence[Record]) -> dict[tuple[str, str], list[str]]:
    """The rows of solvers to stand beside operators, for each `ground`.

    On each grid that an operator was trained on, that is the scheme with the least validation error of those that the
    references' trials tried there. Records of earlier versions tried none.
    """
    grids = {(ground(each), each.configuration["data"]["resolution"]) for each in records if each.configuration}
    best: dict[tuple[str, str], list[str]] = {}
    for record in records:
        for place, resolution in sorted(grids):
            tried = [
                trial
                for trial in record.training.get("trials", [])
                if "solver" in (setting := trial["configuration"]) and setting["resolution"] == resolution
            ]
            if tried and place == ground(record):
                scheme = min(tried, key=validation)["configuration"]["solver"]
                best.setdefault(place, []).append(f"solver, {scheme} at {resolution}²")
    return best


def of_quoted_schemes(table: pd.DataFrame) -> pd.DataFrame:
    """Rows without the solvers of other schemes than that of a quoted one, on whatever grid; all where none is."""
    scheme = table.model.str.rpartition(" at ")[0]
    return table[(table.kind != "solver") | scheme.isin(scheme[table.quoted]) | (not table.quoted.any())]


def grounds(table: pd.DataFrame) -> dict[tuple[str, str], pd.DataFrame]:
    """The rows of each `ground`, which never share a table with those of another."""
    places = table[["dataset", "norm"]].drop_duplicates().itertuples(index=False, name=None)
    return {
        (dataset, norm): table[(table.dataset == dataset) & (table.norm == norm)].reset_index(drop=True)
        for dataset, norm in places
    }


def budgets(table: pd.DataFrame) -> list[str]:
    """The budgets of a table, the smallest first, epochs before seconds."""
    return sorted(set(table.budget) - {""}, key=lambda each: (each.endswith(" s"), float(each.split()[0])))


def comparison(table: pd.DataFrame, budget: str) -> pd.DataFrame:
    """The rows of one budget with those that have none, as the baselines do."""
    return table[table.budget.isin([budget, ""])]


def headline(table: pd.DataFrame) -> pd.DataFrame:
    """Models by resolution: the mean relative L2 error over seeds and samples with its interval, and a note.

    Operators come first, the best at the coarsest resolution on top, each followed by its upsampled predictions;
    baselines last. Columns are the resolutions, and `NOTE`: what seeds there are, and which solver is quoted.
    """
    cells = {
        resolution: {model: written(interval(errors)) for model, errors in at(table, resolution).items()}
        for resolution in resolutions(table)
    }
    return noted(pd.DataFrame(cells, dtype=object).reindex(order(table)).fillna(""), table)


def means(table: pd.DataFrame) -> pd.DataFrame:
    """The means of `headline` alone, as numbers in words."""
    cells = table.groupby(["model", "resolution"]).relative_l2.mean()
    return cells.map(lambda mean: f"{mean:.{digits(mean)}f}").unstack("resolution").reindex(order(table)).fillna("")


def resolutions(table: pd.DataFrame) -> list[int]:
    """The resolutions of a table, rising."""
    return sorted(int(n) for n in table.resolution.unique())


def at(
    table: pd.DataFrame, resolution: int, metric: str = "relative_l2"
) -> dict[str, Float[np.ndarray, "seeds samples"]]:
    """The errors of every model that has the metric at a resolution, seeds by samples."""
    here = table[table.resolution == resolution]
    parts = {str(model): [errors.get(metric) for errors in part.errors] for model, part in here.groupby("model")}
    return {model: np.stack(found) for model, found in parts.items() if all(each is not None for each in found)}


def noted(cells: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """A table of models with the column `NOTE`."""
    return cells.assign(**{NOTE: [note(table, str(model)) for model in cells.index]})


def note(table: pd.DataFrame, model: str) -> str:
    """How many seeds the means of a model are over, if it is trained; or that it is the solver to quote."""
    own = table[table.model == model]
    if own.quoted.any():
        return "quoted"
    if (own.group == "baseline").all():
        return ""
    counts = own.groupby("resolution").seed.nunique()
    low, high = int(counts.min()), int(counts.max())
    if high == 1:
        return "one seed"
    return f"{low} seeds" if low == high else f"{low} to {high} seeds"


def by(norm: str) -> str:
    """What is said of errors in a norm that is not that of published tables: `` by integral``."""
    return f" by {norm}" if norm != "points" else ""


def heading(column: Any) -> str:
    """A column in words: a resolution as n²."""
    return column if isinstance(column, str) else f"{column}²"


def order(table: pd.DataFrame) -> list[str]:
    """Names of the models in the order of tables and legends."""
    operators = table[table.group == "operator"]
    at_coarsest = operators[operators.resolution == operators.resolution.min()]
    names = list(at_coarsest.groupby("model").relative_l2.mean().sort_values().index)
    names += [name for name in operators.model.unique() if name not in names]
    upsampled = table[table.group == "upsampled"].drop_duplicates("model")
    owner = dict(zip(operators.model, operators.of, strict=True))
    pairs = [each for name in names for each in (name, *upsampled[upsampled.of == owner[name]].model)]
    rest = [name for name in upsampled.model if name not in pairs]
    baselines = table[table.group == "baseline"].sort_values(["computed_at", "model"])
    return [*dict.fromkeys(pairs), *rest, *baselines.model.unique()]


def written(each: Interval) -> str:
    """``.0123 [.0119, .0127]``; a digit more below 0.01, and two that count where there are fewer."""
    mean, low, high = (bare(f"{value:.{digits(each.mean)}f}") for value in each)
    return f"{mean} [{low}, {high}]"


def digits(mean: float) -> int:
    """How many digits of an error are shown behind the point; of a small one two that count."""
    if mean >= 0.01:
        return 4
    return max(5, 1 - math.floor(math.log10(mean))) if mean > 0 else 5


def bare(number: str) -> str:
    """``0.5`` → ``.5``."""
    return number[1:] if number.startswith("0.") else number


def timed(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of each model on the device of its first: times of several devices have no mean."""
    return table[table.device == table.groupby("model").device.transform("first")]


def resources(table: pd.DataFrame) -> pd.DataFrame:
    """Size, operations, training time, memory and prediction time of each model, over the seeds that ran on one device.

    Means, but of memory the least: in older records it counts what earlier trainings had left. Operations are
    those of one prediction on the training grid; what was not recorded is left empty.
    """
    finest = table[table.resolution == table.resolution.max()]
    columns = ["parameters", "flops", "flops_at", "training_seconds", "seconds"]
    models = timed(finest).groupby("model")
    means, memory = models[columns].mean(), models.training_memory.min()
    known = means.flops.notna()
    result = pd.DataFrame(
        {
            "seeds": finest[finest.group != "baseline"].groupby("model")["seed"].nunique().astype(str),
            "parameters": means.parameters.map(lambda n: "" if pd.isna(n) else f"{n:,.0f}"),
            "prediction [GFLOP]": (means.flops[known] / 1e9).map("{:.3g}".format)
            + means.flops_at[known].map(" at {:.0f}²".format),
            "training [s]": means.training_seconds.map(lambda s: "" if pd.isna(s) else f"{s:.0f}"),
            "training [GB]": memory.map(lambda b: "" if pd.isna(b) else f"{b / 1e9:.3g}"),
            f"prediction at {table.resolution.max()}² [ms]": means.seconds.map(
                lambda s: "" if pd.isna(s) else f"{1e3 * s:,.0f}" if s > 0.1 else f"{1e3 * s:.2g}"
            ),
            "device": finest.groupby("model").device.first(),
        },
        dtype=object,
    )
    return result.reindex([name for name in order(table) if name in result.index]).fillna("")


def details(table: pd.DataFrame, resolution: int) -> pd.DataFrame:
    """Every metric of every model at one resolution, with intervals."""
    here = table[table.resolution == resolution]
    metrics = dict.fromkeys(metric for errors in here.errors for metric in errors)
    cells = {
        metric_name(metric): {
            model: "{} [{}, {}]".format(*(bare(f"{value:.3g}") for value in interval(errors)))
            for model, errors in at(table, resolution, metric).items()
        }
        for metric in metrics
    }
    present = [name for name in order(table) if name in set(here.model)]
    return pd.DataFrame(cells, dtype=object).reindex(present).fillna("")


def over_time(
    table: pd.DataFrame, resolution: int, metric: str = "relative_l2"
) -> dict[str, tuple[tuple[float, ...], Float[np.ndarray, " times"]]]:
    """The times of every rollout at a resolution that has the metric, and its means over seeds and samples there."""
    here = table[(table.resolution == resolution) & (table.times.map(len) > 0)]
    parts = {str(model): part for model, part in here.groupby("model")}
    return {
        model: (parts[model].times.iloc[0], np.mean([each[metric].mean(0) for each in parts[model].per_time], 0))
        for model in order(table)
        if model in parts and all(metric in each for each in parts[model].per_time)
    }


LASTING = "error below"
"""How the heading of a time begins, of which more is better."""


def at_times(table: pd.DataFrame, resolution: int, most: int = 6) -> pd.DataFrame:
    """Relative L2 error of every rollout at some times, and how long it is good; see `over_time`.

    Where a mean over the training samples is known, the error at the last time relative to what it leaves, too.
    """
    cells: dict[str, dict[str, str]] = {}
    shares = over_time(table, resolution, FLUCTUATION)
    until = at(table, resolution, UNTIL)
    for model, (times, means) in over_time(table, resolution).items():
        some = np.unique(np.linspace(0, len(times) - 1, most).round().astype(int))
        cells[model] = {f"t = {times[k]:g}": bare(f"{means[k]:.{digits(means[k])}f}") for k in some}
        if model in shares:
            cells[model][f"of fluctuation at {times[-1]:g}"] = bare(f"{shares[model][1][-1]:.3g}")
        cells[model][f"{LASTING} {THRESHOLD:g} for"] = f"{until[model].mean():.3g}"
    return pd.DataFrame.from_dict(cells, "index").fillna("")


def metric_name(metric: str) -> str:
    """``relative_l2`` → ``relative L2``, ``band_4_16`` → ``4–16``; of a metric of one's own, its name."""
    if metric in LABELS:
        return LABELS[metric]
    kind, *edges = metric.split("_")
    name = "–".join(edges) if kind == "band" else metric.replace("_", " ")  # of other bands
    return name.replace("inf", "∞").replace("l2", "L2").replace("h1", "H1")


def paired(table: pd.DataFrame, models: Sequence[str], resolution: int) -> pd.DataFrame:
    """Differences of the relative L2 error to that of the first of `models` there, paired over the test samples.

    Rows on fewer samples are left out. Empty if none of `models` is there.
    """
    errors = at(table, resolution)
    reference, *others = [model for model in models if model in errors] or [""]
    cells = {}
    for model in others:
        if errors[model].shape[1] == errors[reference].shape[1]:
            mean, low, high = difference(errors[model], errors[reference])
            cells[model] = [f"{mean:+z.5f}", f"{low:+z.5f} … {high:+z.5f}"]  # z: no -0.00000
    return noted(pd.DataFrame.from_dict(cells, "index", columns=["difference", "95 % interval"]), table)


def differences(table: pd.DataFrame, reference: str | None = None) -> pd.DataFrame:
    """Operators and the quoted solver by resolution, coarsest and finest: `paired` differences to `reference`.

    That is the first of `order` by default. Empty if nothing stands beside it.
    """
    operators = order(table[table.group == "operator"])
    first = reference or operators[0]
    others = [name for name in (*operators, *table[table.quoted].model.unique()) if name != first]
    there = table[table.model == first].resolution
    cells = {}
    for n in dict.fromkeys([int(there.min()), int(there.max())]):
        if len(pairs := paired(table, [first, *others], n)):
            cells[n] = pairs["difference"] + " (" + pairs["95 % interval"] + ")"
    result = pd.DataFrame(cells).fillna("")
    return noted(result.reindex([name for name in others if name in result.index]), table)
