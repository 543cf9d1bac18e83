"""The card of a dataset: what its samples are, how they were made and checked, and how to make them again.

After those of The Well (Ohana et al. 2024, arXiv 2412.00568). All of it is what the file says of itself, so that a card
cannot contradict its file, and can be had of every file; what a file does not say is "unknown". ``generate``, typed,
leaves it beside the file, as ``FILE.md``.
"""

import ast
import json
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from data_gen import storage
from data_gen.grid import Kind
from data_gen.problem import Field
from data_gen.recipe import PUBLISHED_MEANING
from data_gen.storage import UNKNOWN, DatasetInfo

POINTS: dict[Kind, str] = {
    "vertices": "vertices i/(n-1), both ends of every axis among them",
    "left": "points i/n, the left ends of cells",
    "periodic": "points i/n of axes that close to a circle",
}

ELSEWHERE = {
    *("schema", "schema_version", "grid", "lengths", "problem", "parameters", "drawn_by", "inputs", "outputs"),
    *("restriction", "equation", "digest", "seal", "seed", "solver", "rtol", "recipe", "software", "law_parameters"),
    *("label_uncertainty", "label_uncertainty_samples", "_NCProperties"),
}
"""Attributes that have a line of their own, or none; the others are what the problem says of its samples."""

PLAIN = {"seed": 0, "split": [0.8, 0.1, 0.1], "device": "cpu", "label_refinement": 1, "problem": "darcy"}
"""What `generate` does without being told."""


def card_path(path: Path) -> Path:
    """Where the card of a file lies."""
    return path.with_name(path.name + ".md")


def write_card(path: Path) -> None:
    """Leave the card of a file beside it."""
    with storage.open_hdf5(path) as file:
        text = card(file)
    storage.write_text(card_path(path), text)


def card(file: h5py.File) -> str:
    """The card of an open file, in Markdown.

    Raises
    ------
    FileNotFoundError, ValueError
        If the file is not of the schema, or a shard of it is missing.
    """
    info = storage.checked(Path(file.filename), file)
    recipe = PUBLISHED_MEANING | json.loads(info.attributes.get("recipe", "{}"))
    sections = {
        "Equation": equation(info),
        "Samples": samples(file, info),
        "Labels": labels(file, info, recipe),
        "Made with": listed(json.loads(info.attributes.get("software", "{}"))),
        "Make it again": command(info, recipe),
    }
    body = [f"## {title}\n\n{text}" for title, text in sections.items()]
    return "\n\n".join([f"# {info.path.name}: {info.samples} samples of {info.problem}", *body]) + "\n"


def equation(info: DatasetInfo) -> str:
    """The equation, its domain and times, fields, parameters, and what the problem says besides."""
    sides = info.grid.sides
    return listed(
        {
            "equation": info.equation,
            "domain": "×".join(f"(0, {side:g})" for side in sides) + (", periodic" * (info.grid.kind == "periodic")),
            "times": ", ".join(f"{t:g}" for t in info.times) or "none, it is stationary",
            "inputs": in_words(info.inputs),
            "outputs": in_words(info.outputs),
            **{name: value for name, value in info.attributes.items() if name not in ELSEWHERE and value != UNKNOWN},
            "parameters": ", ".join(f"{name} = {json.dumps(value)}" for name, value in info.parameters.items()),
        }
    )


def samples(file: h5py.File, info: DatasetInfo) -> str:
    """How many there are, for what, where, of which seed, and what they take."""
    size = info.path.stat().st_size + sum(size for _, size in storage.shard_sizes(info.path, file))
    splits = ", ".join(f"{name} {len(info.splits[name])}" for name in ("train", "val", "test") if name in info.splits)
    restriction = info.attributes.get("restriction", "stride")
    return listed(
        {
            "splits": splits or "none",
            "grid": f"{info.grid}, {POINTS[info.grid.kind]}",
            "coarser grids": f"by {restriction}, {', '.join(map(str, sorted(info.grid.coarsenings())))} points a side",
            "seed": f"{info.attributes.get('seed', UNKNOWN)}; sample i depends on it and i alone",
            "arrays": ", ".join(f"`{name}` {file[name].shape} {file[name].dtype}" for name in ("nu", "tensor")),
            "size": f"{size / 1e6:.3g} MB",
            "digest": info.digest,
        }
    )


def labels(file: h5py.File, info: DatasetInfo, recipe: Mapping[str, Any]) -> str:
    """What solved for them, where and to which tolerance, what each met, and how far they may be off."""
    evidence, fine = storage.evidence_of(file), info.grid
    if recipe["label_refinement"] > 1:
        fine = info.grid.refined(recipe["label_refinement"])
    known = np.isfinite(evidence).all()
    off = info.attributes.get("label_uncertainty")
    of = info.attributes.get("label_uncertainty_samples")
    return listed(
        {
            "solved for on": fine if known else UNKNOWN,
            "solver": _counted(file["quality/solver"][:]) if known else UNKNOWN,
            "tolerance": info.attributes.get("rtol", UNKNOWN),
            "largest evidence": f"{evidence.max():.2g}, before rounding to float32" if known else UNKNOWN,
            "accepted by": _counted(file["quality/accepted_by"][:]) if known else UNKNOWN,
            "label uncertainty": "not measured" if off is None else f"{off:.2g}, the mean of {of} samples",
        }
    )


def command(info: DatasetInfo, recipe: Mapping[str, Any]) -> str:
    """What to type for the same samples."""
    if "samples" not in recipe:
        return "The file has no recipe: it was not made by `generate`."
    shape = [str(n) for n in recipe["shape"]]
    told = {
        "problem": recipe["problem"],
        "samples": recipe["samples"],
        "resolution": "x".join(shape[:1] if len(set(shape)) == 1 else shape),
        "seed": recipe["seed"],
        "rtol": recipe["rtol"],
        "split": recipe["split"],
        "device": recipe["device"],
        "label_refinement": recipe["label_refinement"],
    }
    words = ["pdebench-mano", "generate"]
    for name, value in told.items():
        if value != PLAIN.get(name):
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            words += ["--" + name.replace("_", "-"), text]
    arrays = [name for name, value in info.parameters.items() if str(value).startswith("sha256:")]
    if info.parameters:
        words += ["--problem-args", *(_argument(name, value) for name, value in info.parameters.items())]
    note = "".join(f"\n\n`{name}.npy` is the array `{name}` that the file keeps." for name in arrays)
    own = "".join(f"\n\nThe {name} is a file of SHA-256 {digest}." for name, digest in recipe["sources"].items())
    return f"```sh\n{shlex.join([*words, '--out', info.path.name])}\n```{note}{own}"


def listed(facts: Mapping[str, Any]) -> str:
    """Facts as a list, an underscore being a space, and of longer texts the first paragraph."""
    lines = {name.replace("_", " "): " ".join(str(value).split("\n\n")[0].split()) for name, value in facts.items()}
    return "\n".join(f"- {name}: {line}" for name, line in lines.items()) or UNKNOWN


def in_words(fields: Iterable[Field]) -> str:
    """Names and symbols of fields: ``coefficient a, positive``."""
    return "; ".join(f"{each.name} {each.symbol}{', positive' * each.positive}" for each in fields)


def _counted(names: np.ndarray) -> str:
    """How often there is which: ``rtol 1100``."""
    found, counts = np.unique(names, return_counts=True)
    return ", ".join(f"{name.decode() or UNKNOWN} {count}" for name, count in zip(found, counts, strict=True))


def _argument(name: str, value: Any) -> str:
    """A parameter as the command line takes it: strings as they are, unless they would be read as something else."""
    if str(value).startswith("sha256:"):
        return f"{name}={name}.npy"
    plainly = value if isinstance(value, str) else json.dumps(value)
    return f"{name}={plainly if _literal(plainly) == value else repr(value)}"


def _literal(text: str) -> Any:
    """What Python reads it as, or the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
