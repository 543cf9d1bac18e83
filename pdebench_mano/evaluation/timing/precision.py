"""The precision that an operator's error bears: bfloat16 where it was trained in it and its error does not feel it."""

import torch

from pdebench_mano.evaluation.evaluate import Predictor
from pdebench_mano.evaluation.timing.contender import FEW
from pdebench_mano.evaluation.timing.tolerances import FELT
from pdebench_mano.fields.data import View
from pdebench_mano.fields.metrics import relative_l2
from pdebench_mano.fields.operator import Fields


def predict_in(precision: str, operator: Predictor, a: Fields) -> Fields:
    """Predictions in a precision."""
    with torch.autocast(a.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        return operator.predict(a)


def precision_of(operator: Predictor, trained_in: str, view: View, device: torch.device) -> str:
    """bfloat16 for an operator that was trained in it and whose error it changes by less than `FELT`, else float32."""
    if trained_in == "float32":
        return trained_in
    samples = [[each.to(device) for each in view.batch([i])] for i in range(min(FEW, len(view)))]
    exact, rounded = (
        sum(relative_l2(predict_in(precision, operator, a), u, view.grid.kind).item() for a, u in samples)
        for precision in ("float32", "bfloat16")
    )
    return "bfloat16" if abs(rounded - exact) < FELT * exact else "float32"
