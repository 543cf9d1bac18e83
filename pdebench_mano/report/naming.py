"""What rows and trainings are called, and which of them share a table.

A name tells trainings apart that differ in more than their seed, and operators from what stands beside them.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from data_gen.recipe import said
from pdebench_mano.evaluation.records import Evaluation, Record, digest, evaluated_on, kind_of


def apart(records: Sequence[Record]) -> list[Record]:
    """Records under names that tell trainings apart which differ in more than their seed, and operators from others.

    What it was trained on stands behind the name of a model, in a suite of several datasets. Where several of one
    model, budget and `ground` differ, what differs does; "operator" does behind that of one which is called as a
    reference or another's upsampled predictions are.
    """
    records = [renamed(each, f"trained on {each.trained_on}" if each.trained_on else "") for each in records]
    variants: dict[tuple[Any, ...], dict[str, dict[str, Any]]] = {}
    for record in records:
        if record.configuration:
            said = settings(record)
            variants.setdefault((record.model, record.budget, ground(record)), {})[plain(said)] = said
    named = [
        renamed(record, differing(settings(record), variants[record.model, record.budget, ground(record)].values()))
        if record.configuration
        else record
        for record in records
    ]
    rows = [(row, record) for record in named for row in record.evaluations]
    taken = {label(row, record) for row, record in rows if kind_of(row, record) != "operator"}
    return [
        renamed(record, "operator") if record.configuration and record.model in taken else record for record in named
    ]


def settings(record: Record) -> dict[str, Any]:
    """What a training was told, but for its seed and where its data lie; arguments one by one.

    What an earlier version did not know is not said where it is as it was then.
    """
    config = said({**record.configuration["config"], "sources": record.configuration.get("sources", {})})
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
    names = {"operator": name, "upsampled": f"upsampled {name}"}
    rows = []
    for row in record.evaluations:
        kind = kind_of(row, record)
        rows.append(replace(row, model=names.get(kind, row.model), kind=kind))
    return replace(record, model=name, evaluations=rows)


def plain(value: Any) -> str:
    """A value as JSON, to compare it by."""
    return json.dumps(value, sort_keys=True)


def label(row: Evaluation, record: Record) -> str:
    """The name of a row in tables; a solver's grid belongs to it."""
    return f"{row.model} at {row.computed_at}²" if kind_of(row, record) == "solver" else row.model


def ground(record: Record) -> tuple[str, str]:
    """What rows of one table share: the digest of what the samples are, and the norm of the errors."""
    return digest(evaluated_on(record)), record.norm
