"""The precision that an operator's error bears: half of it where its error does not feel that."""

import torch

from pdebench_mano.evaluation.evaluate import Predictor
from pdebench_mano.evaluation.timing.contender import FEW
from pdebench_mano.evaluation.timing.tolerances import FELT
from pdebench_mano.fields.data import View
from pdebench_mano.fields.metrics import relative_l2
from pdebench_mano.fields.operator import Fields


def predict_in(precision: str, operator: Predictor, a: Fields) -> Fields:
    """Predictions in a precision."""
    with torch.autocast(a.device.type, getattr(torch, precision), enabled=precision != "float32"):
        return operator.predict(a)


def halves(trained_in: str, device: torch.device) -> list[str]:
    """The half precisions to ask of an operator: that of its training, and float16, of more digits, on a GPU."""
    return ["bfloat16"] * (trained_in == "bfloat16") + ["float16"] * (device.type == "cuda")


def precision_of(operator: Predictor, trained_in: str, view: View, device: torch.device) -> str:
    """The first of the `halves` that changes the error of an operator by less than `FELT`, else float32.

    What an operator cannot compute in, it does not bear.
    """
    samples = [[each.to(device) for each in view.batch([i])] for i in range(min(FEW, len(view)))]

    def error(precision: str) -> float:
        return sum(relative_l2(predict_in(precision, operator, a), u, view.grid.kind).item() for a, u in samples)

    def bears(half: str) -> bool:
        try:
            return abs(error(half) - exact) < FELT * exact
        except (RuntimeError, TypeError, ValueError):
            return False

    asked = halves(trained_in, device)
    exact = error("float32") if asked else 0.0
    return next(filter(bears, asked), "float32")


def worth_timing(borne: str, trained_in: str) -> list[str]:
    """The precisions to time an operator in: float32 as well where it bears float16, which is not faster for all."""
    return [borne] if borne in ("float32", trained_in) else [borne, "float32"]
