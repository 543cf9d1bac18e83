"""The same test samples of all models, as pictures that a slider goes through.

Truth and predictions of a sample share one colour scale, and so do the errors of all models, which ends at the largest
error of the model in the middle: what is worse has the colours of the ends.
"""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped
from matplotlib import colormaps
from PIL import Image

from data_gen.storage import COEFFICIENT, SOLUTION, fields_of
from pdebench_mano.evaluation.records import FIRST_SAMPLES, Evaluation, Record, kind_of, read_examples

MOST = 1_200_000
"""Bytes that the pictures of a comparison may take; samples that would exceed them are left out."""
MISSING = (0x80, 0x80, 0x80)
"""Colour of what is not a number."""


class Shown(NamedTuple):
    """A model's predictions of the first test samples, (samples, times, h, w), and its errors."""

    model: str
    fields: dict[str, Shaped[np.ndarray, "..."]]
    errors: list[float]
    resolution: int


class Scale(NamedTuple):
    """A colour map between two values."""

    colours: str
    low: float
    high: float


def side_by_side(trained: Sequence[tuple[Path, Record]]) -> dict[str, Any] | None:
    """What the page shows of the samples that several records have in common; None where no fields are kept.

    Of each model the first seed with fields is shown, if they are of the same samples on the same grid as those of the
    first model.

    Returns
    -------
    dict
        ``models`` (names), ``input``, ``output`` (of what fields are), ``resolution``, ``times`` of the frames, and
        ``samples``, each with its ``position`` in the file, the ``errors`` of the models, three colour ``bars``, and
        ``tiles``: input, truth, then prediction and error of every model, each a list of frames, PNG as base64.
    """
    models = _models(trained)
    if not models:
        return None
    dataset = trained[0][1].dataset
    source, target = fields_of(dataset, "inputs", COEFFICIENT)[0], fields_of(dataset, "outputs", SOLUTION)[0]
    samples: list[dict[str, Any]] = []
    size = 0
    for i, position in enumerate(models[0].fields["position"]):
        sample = _sample(models, i)
        size += sum(len(frame) for frames in sample["tiles"] for frame in frames)
        if size > MOST and samples:
            break
        errors = [f"{model.errors[i]:.3g}" for model in models]
        samples.append({"position": int(position), "errors": errors} | sample)
    return {
        "models": [each.model for each in models],
        "input": f"{source.name} {source.symbol}",
        "output": f"{target.name} {target.symbol}",
        "resolution": models[0].resolution,
        "times": [f"{time:.4g}" for time in models[0].fields.get("times", [])],
        "samples": samples,
    }


def _models(trained: Sequence[tuple[Path, Record]]) -> list[Shown]:
    """The models that can stand side by side, in the order of their records."""
    found: dict[str, Shown] = {}
    for path, record in trained:
        if record.model in found or not (fields := read_examples(path, FIRST_SAMPLES)):
            continue
        row = _finest(record)
        places = [record.samples.index(int(position)) for position in fields["position"]]
        shown = Shown(record.model, fields, [row.errors["relative_l2"][k] for k in places], row.resolution)
        first = next(iter(found.values()), shown)
        same = ("position", "times", "a")
        if all(np.array_equal(fields.get(name, 0), first.fields.get(name, 0)) for name in same):
            found[record.model] = shown
    return list(found.values())


def _finest(record: Record) -> Evaluation:
    """The row that fields are kept of."""
    own = [row for row in record.evaluations if kind_of(row, record) == "operator"]
    return max(own, key=lambda row: row.resolution)


def _states(fields: dict[str, np.ndarray], name: str, sample: int) -> Float[np.ndarray, "times h w"]:
    """The states of a sample, or its only one."""
    return fields[f"{name}s"][sample] if f"{name}s" in fields else fields[name][sample][None]


def _sample(models: Sequence[Shown], sample: int) -> dict[str, Any]:
    """The tiles of one sample, and the colour bars of its input, its solutions and their errors."""
    fields = models[0].fields
    a, truth = fields["a"][sample][None], _states(fields, "truth", sample)
    predictions = [_states(each.fields, "prediction", sample) for each in models]
    differences = [each - truth for each in predictions]
    reach = float(np.median([_largest(each) for each in differences])) or 1.0
    low, high = float(np.nanmin(truth)), float(np.nanmax(truth))
    signed = "times" in fields and low < 0 < high
    size = max(-low, high)
    scales = [
        Scale("Greys", float(a.min()), float(a.max())),
        Scale("RdBu_r", -size, size) if signed else Scale("viridis", low, high),
        Scale("PuOr", -reach, reach),
    ]
    pairs = zip(predictions, differences, strict=True)
    own = [_pictures(field, scale) for pair in pairs for field, scale in zip(pair, scales[1:], strict=True)]
    return {
        "bars": [_bar(each) for each in scales],
        "tiles": [_pictures(a, scales[0]), _pictures(truth, scales[1]), *own],
    }


def _largest(error: Float[np.ndarray, "times h w"]) -> float:
    finite = np.abs(error[np.isfinite(error)])
    return float(finite.max()) if finite.size else 0.0


def _bar(scale: Scale) -> dict[str, str]:
    """A colour bar, and the numbers at its ends."""
    ramp = np.linspace(scale.low, scale.high, 64)[:, None]
    return {"picture": picture(ramp, scale), "low": f"{scale.low:.3g}", "high": f"{scale.high:.3g}"}


def _pictures(states: Float[np.ndarray, "times h w"], scale: Scale) -> list[str]:
    return [picture(each, scale) for each in states]


def picture(values: Float[np.ndarray, "x y"], scale: Scale) -> str:
    """A field as PNG, in base64; x goes to the right, y upwards, and what is not finite is grey."""
    share = (values - scale.low) / ((scale.high - scale.low) or 1.0)
    finite = np.isfinite(values)
    index = np.where(finite, np.clip(np.where(finite, share, 0) * 254, 0, 254), 255).round().astype(np.uint8)
    image = Image.fromarray(np.ascontiguousarray(index.T[::-1]))
    colours = (colormaps[scale.colours](np.linspace(0, 1, 255))[:, :3] * 255).round().astype(np.uint8)
    image.putpalette([*colours.ravel().tolist(), *MISSING])
    stream = io.BytesIO()
    image.save(stream, "png", optimize=True)
    return base64.b64encode(stream.getvalue()).decode()
