"""The model card of a trained operator: what it learned from what, how far it can be relied on, and where not.

All of it is of its ``config.json`` (see `pdebench_mano.training.sharing`) and its records; what neither says is
"unknown".
"""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from data_gen.grid import Kind
from data_gen.lookup import find
from data_gen.storage import UNKNOWN
from pdebench_mano.evaluation.records import Record, allowed, described, device_of
from pdebench_mano.operators.registry import OPERATORS
from pdebench_mano.report import naming, tables
from pdebench_mano.training.sharing import own_file

POINTS: dict[Kind, str] = {
    "vertices": "vertices i/(n-1), the ends of every axis among them",
    "left": "points i/n, which leave out the far end of every axis",
    "periodic": "points i/n of a domain that closes to a torus",
}


def card(about: dict[str, Any], records: Sequence[Record], licence: str) -> str:
    """The card, in Markdown with a header that the Hugging Face Hub reads.

    Parameters
    ----------
    about : dict
        Content of ``config.json``.
    records : sequence of Record
        Of these weights, and of the references beside them; there may be none.
    licence : str
        SPDX expression of the suite's licence, or "unknown".
    """
    model, data = about["model"], about["data"]
    name, problem = model["operator"], data["problem"]
    spdx = [] if licence == UNKNOWN else [f"license: {licence.lower()}"]
    header = [*spdx, "library_name: pdebench-mano", "tags:", "- neural-operator", "- pde", f"- {slug(problem)}"]
    sections = [
        "\n".join(["---", *header, "---"]),
        f"# {literally(name)}, trained on {literally(problem)}",
        f"Maps {channels(data, 'inputs')} to {channels(data, 'outputs')}, on any grid of {POINTS[model['grid']]}.",
        "## Use\n\n" + use(model),
        "## Trained on\n\n" + listed(data_facts(about)),
        "## Training\n\n" + listed(training_facts(about, records)),
        "## Errors\n\n" + errors(records),
        "## Limits\n\n" + limits(about, records),
        f"## Licence\n\n{licence}, that of pdebench-mano. The data and a problem of one's own may have others.",
    ]
    return "\n\n".join(sections) + "\n"


def use(model: dict[str, Any]) -> str:
    """How to read it, with what must be there for it."""
    own = own_file(model["operator"])
    needs = ""
    if model["operator"] not in OPERATORS:
        what = f"`{own}` beside it" if own else f"`{model['operator']}`, which must be on the Python path"
        needs = f"\n\n`trust=True` runs the code that defines it, {what}."
    trust = ", trust=True" if needs else ""
    return (
        "```python\n"
        "from pdebench_mano.training.sharing import SharedOperator\n\n"
        f'operator = SharedOperator.from_pretrained("this folder"{trust})\n'
        f"u = operator.predict(a)  # a: (batch, {model['channels'][0]}, height, width), in physical units\n"
        f"```{needs}"
    )


def channels(data: dict[str, Any], what: str) -> str:
    """The fields of one side in words: ``coefficient a``."""
    if what not in data:
        return f"{data['channels'][what == 'outputs']} {what}"
    return ", ".join(f"{each['name']} {each['symbol']}" for each in data[what])


def data_facts(about: dict[str, Any]) -> dict[str, Any]:
    """What the operator was trained on."""
    data = about["data"]
    uncertain = data.get("label_uncertainty")
    return {
        "problem": data["problem"],
        "equation": data.get("equation", UNKNOWN),
        **data["parameters"],
        "domain": domain(data),
        "samples": about["took"].get("samples", UNKNOWN),
        "resolution": resolutions(about),
        "labels": "how far they are from the equation is unknown"
        if uncertain is None
        else f"within {uncertain:.2g} of the equation, relative L2, as their file says",
        "digest of the file": f"`{data['digest']}`",
    }


def training_facts(about: dict[str, Any], records: Sequence[Record]) -> dict[str, Any]:
    """How it was trained, and by what."""
    model, took, environment = about["model"], about["took"], about["environment"]
    settings = dict(about["training"])
    regime = [settings.pop("regime"), words(settings.pop("regime_args"))]
    epochs, seconds = settings.pop("epochs"), settings.pop("seconds")
    versions = {key: value for key, value in environment.items() if key not in ("device", "source")}
    commits = dict.fromkeys(each.commit for each in records if each.commit)
    paper = find(model["operator"], OPERATORS, "operator").paper if model["operator"] in OPERATORS else ""
    return {
        "operator": " with ".join(filter(None, [model["operator"], words(model["arguments"])])),
        **({"paper": paper} if paper else {}),
        "parameters": f"{took['parameters']:,} real numbers" if "parameters" in took else UNKNOWN,
        "seed": f"{settings.pop('seed')}, one training",
        "budget": allowed(epochs, seconds),
        "regime": " with ".join(filter(None, regime)),
        **{key: value for key, value in settings.items() if key != "resolution" and value not in (None, False)},
        "best epoch": took.get("best_epoch", UNKNOWN),
        "training time": f"{took['seconds']:.3g} s" if "seconds" in took else UNKNOWN,
        "device": environment.get("device", UNKNOWN),
        "versions": words(versions),
        "digest of the suite's code": environment.get("source", UNKNOWN),
        "commit that evaluated it": ", ".join(commits) or UNKNOWN,
    }


def errors(records: Sequence[Record]) -> str:
    """Tables of the records, one for each set of samples and norm, or that there is none."""
    if not any(record.configuration for record in records):
        return "There is no record of an evaluation of these weights."
    records = naming.apart(records)
    parts: list[str] = []
    for ground, table in tables.grounds(tables.rows(records)).items():
        here = [record for record in records if naming.ground(record) == ground]
        by = "" if ground[1] == "points" else f" by {ground[1]}"
        quoted = " Quoted is the solver with the least validation error." if table.quoted.any() else ""
        counts = sorted({len(record.samples) for record in here})
        samples = f"{' or '.join(map(str, counts))} samples of {described(here[0])}"
        place = f"dataset `{ground[0][:8]}`, on {device_of(here[0])}"
        said = (
            f"Mean relative L2 error{by} over {samples} ({place}), with 95 % intervals that resample them. Upsampled: "
            f"predicted on the training grid, and brought to the finer one by splines.{quoted}"
        )
        parts += [said, markdown(tables.headline(table))]
    return "\n\n".join(parts)


def limits(about: dict[str, Any], records: Sequence[Record]) -> str:
    """Where nothing is known of its errors."""
    model, data = about["model"], about["data"]
    tested = sorted({row.resolution for each in records if each.configuration for row in each.evaluations})
    law = data["parameters"].get("law")
    inputs = f"Inputs of the law {law}" if law else "Inputs as those above"
    if tested:
        ends = f"{tested[0]}² to {tested[-1]}²" if len(tested) > 1 else f"{tested[0]}² alone"
        seen = f"Its errors were measured on grids of {ends}"
    else:
        seen = f"It was trained on grids of {resolutions(about)}, and no record says how it fares on them"
    return "\n".join(
        [
            f"- Grids of {POINTS[model['grid']]}. Fields on another kind of grid are misread without a warning.",
            f"- The domain {domain(data)}, whatever the number of points.",
            f"- {inputs}, with the parameters above. Of others nothing is known.",
            f"- {seen}; beyond, nothing is known.",
            "- Errors are those against numerical solutions, whose own error bounds what they mean.",
        ]
    )


def resolutions(about: dict[str, Any]) -> str:
    """The grids that were trained on."""
    several = about["training"]["resolution"]
    return " and ".join(f"{n}²" for n in (several if isinstance(several, list) else [about["data"]["resolution"]]))


def domain(data: dict[str, Any]) -> str:
    """The box in words: the unit square, unless the file says more or is not known."""
    sides = json.loads(data.get("lengths", "[]"))
    return "×".join(f"(0, {side:g})" for side in sides or (1, 1)) if "inputs" in data else UNKNOWN


def listed(facts: dict[str, Any]) -> str:
    """Facts as a list."""
    return "\n".join(f"- {name.replace('_', ' ')}: {words(value)}" for name, value in facts.items())


def words(value: Any) -> str:
    """A value as it is read: ``high 12, low 3``."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {words(each)}" for key, each in value.items())
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def markdown(cells: pd.DataFrame) -> str:
    """A table of models as Markdown."""

    def line(words: Iterable[Any]) -> str:
        return f"| {' | '.join(map(str, words))} |"

    head = line(["", *map(tables.heading, cells.columns)])
    rule = line(["---", *("---:" for _ in cells.columns)])
    return "\n".join(
        [head, rule, *(line([literally(name), *row]) for name, row in zip(cells.index, cells.to_numpy(), strict=True))]
    )


def literally(name: str) -> str:
    """A name as Markdown that is read as nothing else: no emphasis, link, tag, mathematics or column."""
    return re.sub(r"[\\`*_\[\]<>|$~]", r"\\\g<0>", name)


def slug(name: str) -> str:
    """A problem's name as a tag; of a user's own the class."""
    return "-".join("".join(c if c.isalnum() else " " for c in name.rpartition(":")[2].lower()).split())
