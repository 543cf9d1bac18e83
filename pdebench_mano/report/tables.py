"""Records → tables: one tidy table of all rows, and what people read made from it."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from pdebench_mano.evaluation.records import NAMED, Evaluation, Record, digest, evaluated_on, kind_of

BASELINES = tuple(NAMED)
BOOTSTRAPS = 2000


def rows(records: Sequence[Record]) -> pd.DataFrame:
    """One row for each model, resolution, seed and budget, with the mean over samples of every metric.

    ``group`` is ``operator``, ``upsampled`` or ``baseline``; a baseline, which knows neither seed nor budget, stands
    in it once for each ``dataset``, which is the digest of what the samples are, and ``norm``.
    """
    entries = []
    for record in records:
        dataset, norm = ground(record)
        for row in record.evaluations:
            group = group_of(row, record)
            baseline = group == "baseline"
            entries.append(
                {
                    "model": label(row),
                    "group": group,
                    "resolution": row.resolution,
                    "computed_at": row.computed_at,
                    "budget": "" if baseline else record.budget,
                    "seed": 0 if baseline else record.seed,
                    "device": record.environment.get("device", ""),
                    "dataset": dataset,
                    "norm": norm,
                    "parameters": None if baseline else record.training.get("parameters"),
                    "training_seconds": None if baseline else record.training.get("seconds"),
                    "seconds": math.nan if row.seconds is None else row.seconds,
                }
                | {metric: row.mean(metric) for metric in row.errors}
            )
    known = ["model", "resolution", "budget", "seed", "dataset", "norm"]
    return pd.DataFrame(entries).drop_duplicates(known, keep="last", ignore_index=True)


def group_of(row: Evaluation, record: Record) -> str:
    """``operator``, ``upsampled`` or ``baseline``, which needs no training, by the kind of a row."""
    kind = kind_of(row, record)
    return kind if kind in ("operator", "upsampled") else "baseline"


def apart(records: Sequence[Record]) -> list[Record]:
    """Records under names that tell trainings apart which differ in more than their seed.

    Where several of one model, budget and `ground` do, what differs stands behind its name.
    """
    variants: dict[tuple[Any, ...], dict[str, dict[str, Any]]] = {}
    for record in records:
        if record.configuration:
            said = settings(record)
            variants.setdefault((record.model, record.budget, ground(record)), {})[plain(said)] = said
    return [
        renamed(record, differing(settings(record), variants[record.model, record.budget, ground(record)].values()))
        if record.configuration
        else record
        for record in records
    ]


def settings(record: Record) -> dict[str, Any]:
    """What a training was told, but for its seed and where its data lie; arguments one by one."""
    config = {**record.configuration["config"], "sources": record.configuration.get("sources", {})}
    flat = {
        f"{name.removesuffix('_args')} {key}" if isinstance(value, dict) else name: each
        for name, value in config.items()
        for key, each in (value.items() if isinstance(value, dict) else [("", value)])
    }
    return {name: value for name, value in flat.items() if name not in ("seed", "data", "checkpoint_seconds")}


def differing(own: dict[str, Any], others: Iterable[dict[str, Any]]) -> str:
    """The settings, in words, in which a training differs from one of the others."""
    others = list(others)
    names = [name for name in own if any(plain(own[name]) != plain(other.get(name)) for other in others)]
    lacking = dict.fromkeys(name for other in others for name in other if name not in own)
    told = [f"{name.removeprefix('operator ')} {str(own[name])[:12]}" for name in names]
    return ", ".join([*told, *(f"no {name.removeprefix('operator ')}" for name in lacking)])


def renamed(record: Record, words: str) -> Record:
    """The record with `words` behind the name of its model, in its rows too."""
    if not words:
        return record
    name = f"{record.model} ({words})"
    rows = [
        replace(row, model=row.model.removesuffix(record.model) + name) if group_of(row, record) != "baseline" else row
        for row in record.evaluations
    ]
    return replace(record, model=name, evaluations=rows)


def plain(value: Any) -> str:
    """A value as JSON, to compare it by."""
    return json.dumps(value, sort_keys=True)


def ground(record: Record) -> tuple[str, str]:
    """What rows of one table share: the digest of what the samples are, and the norm of the errors."""
    return digest(evaluated_on(record)), record.norm


def grounds(table: pd.DataFrame) -> dict[tuple[str, str], pd.DataFrame]:
    """The rows of each `ground`, which never share a table with those of another."""
    places = table[["dataset", "norm"]].drop_duplicates().itertuples(index=False, name=None)
    return {
        (dataset, norm): table[(table.dataset == dataset) & (table.norm == norm)].reset_index(drop=True)
        for dataset, norm in places
    }


def label(row: Evaluation) -> str:
    """The model's name; a coarse solver's grid belongs to it."""
    return f"{row.model} at {row.computed_at}²" if row.model == "coarse solver" else row.model


def budgets(table: pd.DataFrame) -> list[str]:
    """The budgets of a table, epochs before seconds."""
    return sorted({each for each in table.budget if each}, key=lambda each: (each.endswith(" s"), each))


def comparison(table: pd.DataFrame, budget: str) -> pd.DataFrame:
    """The rows of one budget with the baselines, which have none."""
    return table[(table.budget == budget) | (table.group == "baseline")]


def headline(table: pd.DataFrame, metric: str = "relative_l2") -> pd.DataFrame:
    """Models by resolution: mean over seeds, ± their standard deviation where there are several.

    Operators come first, the best at the coarsest resolution on top, each followed by its upsampled predictions;
    baselines last. Columns are the resolutions.
    """
    cells = table.groupby(["model", "resolution"])[metric].agg(["mean", "std", "count"])
    text = cells.apply(lambda cell: spread(cell["mean"], cell["std"], cell["count"]), axis=1)
    return text.unstack("resolution").reindex(order(table, metric)).fillna("")


def order(table: pd.DataFrame, metric: str = "relative_l2") -> list[str]:
    """Names of the models in the order of tables and legends."""
    operators = table[table.group == "operator"]
    at_coarsest = operators[operators.resolution == operators.resolution.min()].groupby("model")[metric].mean()
    names = list(at_coarsest.sort_values().index)
    names += [name for name in operators.model.unique() if name not in names]
    present = set(table.model)
    pairs = [each for name in names for each in (name, f"upsampled {name}") if each in present]
    baselines = table[table.group == "baseline"].sort_values(["computed_at", "model"])
    return pairs + list(baselines.model.unique())


def spread(mean: float, std: float, count: float) -> str:
    """``0.0123`` from one seed, ``0.0123 ± 0.0004`` from several; a digit more below 0.01."""
    digits = 4 if mean >= 0.01 else 5
    return f"{mean:.{digits}f}" + (f" ± {std:.{digits}f}" if count > 1 else "")


def timed(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of each model on the device of its first: times of several devices have no mean."""
    return table[table.device == table.groupby("model").device.transform("first")]


def resources(table: pd.DataFrame) -> pd.DataFrame:
    """Parameters, training time and prediction time of each model, means over the seeds that ran on one device."""
    finest = table[table.resolution == table.resolution.max()]
    means = timed(finest).groupby("model")[["parameters", "training_seconds", "seconds"]].mean()
    seeds = finest.groupby("model")["seed"].nunique()
    result = pd.DataFrame(
        {
            "seeds": seeds,
            "parameters": means.parameters.map(lambda n: "" if pd.isna(n) else f"{n:,.0f}"),
            "training [s]": means.training_seconds.map(lambda s: "" if pd.isna(s) else f"{s:.0f}"),
            f"prediction at {table.resolution.max()}² [ms]": means.seconds.map(
                lambda s: "" if pd.isna(s) else f"{1e3 * s:,.0f}" if s > 0.1 else f"{1e3 * s:.2g}"
            ),
            "device": finest.groupby("model").device.first(),
        }
    )
    return result.reindex([name for name in order(table) if name in result.index])


def details(table: pd.DataFrame, resolution: int) -> pd.DataFrame:
    """Every metric of every model at one resolution, means over seeds."""
    here = table[table.resolution == resolution]
    place = {"resolution", "computed_at", "seed", "parameters", "training_seconds", "seconds"}
    metrics = [name for name in here.select_dtypes("number").columns if name not in place]
    result = here.groupby("model")[metrics].mean().reindex([name for name in order(table) if name in set(here.model)])
    return result.map(lambda value: "" if pd.isna(value) else f"{value:.3g}").rename(columns=metric_name)


def metric_name(metric: str) -> str:
    """``relative_l2`` → ``relative L2``, ``band_4_16`` → ``4–16``."""
    kind, *edges = metric.split("_")
    name = "–".join(edges) if kind == "band" else metric.replace("_", " ")
    return name.replace("inf", "∞").replace("l2", "L2").replace("h1", "H1")


def paired(records: Sequence[Record], models: Sequence[str], resolution: int, seed: int = 0) -> pd.DataFrame:
    """Differences of the relative L2 error to that of the first of `models` there, paired over the test samples.

    Errors are averaged over seeds sample by sample, and rows on fewer samples left out; the 95 % interval is the
    percentile bootstrap over samples (Efron & Tibshirani 1993, ch. 13), with `BOOTSTRAPS` resamples.
    """
    errors: dict[str, list[list[float]]] = {}
    for record in records:
        for row in record.evaluations:
            if row.resolution == resolution:
                errors.setdefault(label(row), []).append(row.errors["relative_l2"])
    means = {model: np.mean(values, axis=0) for model, values in errors.items()}
    reference = next(model for model in models if model in means)
    rng = np.random.default_rng(seed)
    draws = rng.integers(len(means[reference]), size=(BOOTSTRAPS, len(means[reference])))
    table = {}
    for model, values in means.items():
        if model != reference and len(values) == len(means[reference]):
            difference = values - means[reference]
            low, high = np.percentile(difference[draws].mean(1), [2.5, 97.5])
            table[model] = {"difference": f"{difference.mean():+.5f}", "95 % interval": f"{low:+.5f} … {high:+.5f}"}
    return pd.DataFrame(table).T.reindex([name for name in models if name in table])


def differences(records: Sequence[Record], table: pd.DataFrame) -> pd.DataFrame:
    """Operators by resolution, coarsest and finest: `paired` differences to the first of `order`, with intervals.

    Empty if `table` has one operator alone.
    """
    operators = table[table.group == "operator"]
    first, *others = order(operators)
    there = operators[operators.model == first].resolution
    cells = {}
    for n in dict.fromkeys([int(there.min()), int(there.max())]):
        if len(pairs := paired(records, [first, *others], n)):
            cells[n] = pairs["difference"] + " (" + pairs["95 % interval"] + ")"
    result = pd.DataFrame(cells).fillna("")
    return result.reindex([name for name in others if name in result.index])
