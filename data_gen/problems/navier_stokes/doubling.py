"""How far is a solution from that of infinitely many steps? The same with half as many steps tells.

The error of a method of order 4 is sixteen times as large with steps twice as long, so that a solution is wrong by a
fifteenth of the difference (Hairer, Nørsett & Wanner 1993, §II.4). Steps are halved until that is small enough.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

Samples = Int[np.ndarray, " some"]
Counts = Int[np.ndarray, "some intervals"]
Frames = Float[np.ndarray, "some times n m"]
March = Callable[[Samples, Counts | None], tuple[Frames, Counts]]
"""Solves for some of the samples, in so many steps each interval, or as many as seem necessary; says in how many."""

DOUBLINGS = 5


def verified(march: March, samples: int, rtol: float) -> tuple[Frames, Float[np.ndarray, " some"]]:
    """Solve in as many steps as seem necessary, then in twice as many, and so on for those that are not good enough.

    Returns
    -------
    (samples, times, n, m) array, (samples,) array
        Solutions, and estimates of their errors relative to their norms over space and time: more than `rtol` for one
        that `DOUBLINGS` have not brought below it, NaN for one that is not finite.
    """
    going = np.arange(samples)
    coarse, steps = march(going, None)
    frames, errors = coarse, np.full(samples, np.nan)
    unfinished = np.isfinite(coarse).all((1, 2, 3))
    for _ in range(DOUBLINGS):
        going, coarse, steps = going[unfinished], coarse[unfinished], 2 * steps[unfinished]
        if not len(going):
            break
        fine, _ = march(going, steps)
        frames[going], errors[going] = fine, [distance(*pair) / 15 for pair in zip(fine, coarse, strict=True)]
        unfinished, coarse = errors[going] > rtol, fine
    return frames, errors


def distance(u: Float[np.ndarray, "times n m"], other: Float[np.ndarray, "times n m"]) -> float:
    """‖u - other‖ / ‖u‖; NaN for what is not finite."""
    if not np.isfinite(u).all():
        return np.nan
    return float(np.linalg.norm(u - other) / (np.linalg.norm(u) or 1))
