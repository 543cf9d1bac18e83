"""What metrics are called, in records and in tables; how they are taken is in `pdebench_mano.fields.metrics`.

Of rollouts there are more: those of `pdebench_mano.evaluation.in_time`.
"""

from itertools import pairwise

BANDS = (4.0, 16.0)
"""Edges between low, middle and high frequencies, in cycles per unit length."""

BAND_LABELS = {
    f"band_{low}_{high}": f"{low}–{high}".replace("inf", "∞")
    for low, high in pairwise(["0", *(f"{edge:g}" for edge in BANDS), "inf"])
}

LABELS = {
    "relative_l2": "relative L2",
    "relative_h1": "relative H1",
    "max_error": "max error",
    **BAND_LABELS,
    "near_jumps": "near jumps",
    "elsewhere": "elsewhere",
    "residual": "residual",
}
"""Those that every evaluation takes."""

THRESHOLD = 0.2
"""Relative L2 error of a state from which on a prediction is no longer good."""

FLUCTUATION = "relative_l2_of_fluctuation"
UNTIL = f"time_until_{THRESHOLD}"
