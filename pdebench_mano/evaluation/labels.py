"""Records in today's words: files keep those that they were written in, and so do their keys.

What is called FOTON in them is `foton-latent`; see `pdebench_mano.training.names`.
"""

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pdebench_mano.training.names import LATENT, of_today

if TYPE_CHECKING:
    from pdebench_mano.evaluation.records import Record

LABELS = {
    "orthogonal FNO, FOTON": "orthogonal FNO, latent FOTON",
    "orthogonal FNO, FOTON, symmetries": "orthogonal FNO, latent FOTON, symmetries",
    "orthogonal MLP, 3 layers, FOTON": "orthogonal MLP, 3 layers, latent FOTON",
    "orthogonal MLP, 10 layers, FOTON": "orthogonal MLP, 10 layers, latent FOTON",
}
"""Names in tables that published records have inside, and what they are now."""

WITHOUT_OUT = re.compile(r"^pdebench-mano benchmark ([\w-]+)$")
"""What was typed when a benchmark went into a folder of its own name, unless told otherwise."""


def in_todays_words(record: "Record") -> "Record":
    """The record as it would be written today: the names of its regime, model and rows, its budget and its commands."""
    config = record.configuration.get("config", {})
    if "trials" in record.training:
        record = replace(record, training=record.training | {"trials": [*map(_trial, record.training["trials"])]})
    if record.budget == "1 epochs":
        record = replace(record, budget="1 epoch")
    if any(WITHOUT_OUT.match(each) for each in record.commands):
        record = replace(record, commands=[WITHOUT_OUT.sub(r"\g<0> --out \1", each) for each in record.commands])
    if (said := of_today(config)) == config:
        return record
    label = LABELS.get(record.model, record.model)
    rows = {record.model: label, f"upsampled {record.model}": f"upsampled {label}"}
    return replace(
        record,
        model=label,
        configuration=record.configuration | {"config": said},
        evaluations=[replace(row, model=rows.get(row.model, row.model)) for row in record.evaluations],
        commands=[re.sub(r"--regime foton(?!\S)", f"--regime {LATENT}", each) for each in record.commands],
    )


def _trial(trial: dict[str, Any]) -> dict[str, Any]:
    return trial | {"configuration": of_today(trial["configuration"])}
