"""The tolerance of a solver: the loosest that its error does not feel, or the one that it is given."""

import math
import time
from collections.abc import Callable, Iterable

from pdebench_mano.evaluation.timing.contender import Contender
from pdebench_mano.fields.metrics import relative_l2
from pdebench_mano.fields.operator import Fields

TOLERANCES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)

FELT = 0.01
"""Relative change of a solver's error from which on a tolerance is too loose."""

AFFORDABLE = 60.0
"""Seconds of one label from which on labels are not timed."""


def tolerance(contender: Contender, a: Fields, u: Fields) -> float | None:
    """The tolerance to time a contender with; None of what knows none.

    Where there is a choice, it is made by the relative L2 error for the inputs `a`, (batch, inputs, n, m), against the
    labels `u`, (batch, outputs, n, m).

    Raises
    ------
    ValueError
        If the solver does not converge, or one label takes longer than `AFFORDABLE`.
    """
    if not contender.tolerances:
        return None
    if len(contender.tolerances) > 1:
        kind = contender.view.grid.kind
        found = loosest(
            lambda rtol: relative_l2(contender.ready(a, rtol)(a), u.double(), kind).mean().item(),
            contender.tolerances,
        )
        if found is None:
            raise ValueError(f"the solver converges to no rtol from {max(contender.tolerances):g} on")
        return found
    (rtol,) = contender.tolerances
    began = time.perf_counter()
    one = contender.ready(a[:1], rtol)(a[:1])
    if not bool(one.isfinite().all()):
        raise ValueError(f"the solver does not converge to rtol {rtol:g}")
    if (took := time.perf_counter() - began) > AFFORDABLE:
        raise ValueError(f"one sample takes {took:.0f} s, more than {AFFORDABLE:g} s")
    return rtol


def loosest(error: Callable[[float], float], tolerances: Iterable[float] = TOLERANCES) -> float | None:
    """The largest tolerance that, as all below it, changes an error by less than `FELT` of that at the smallest.

    Tolerances that are too small to be met, whose error is NaN, are left out; None if all are.

    Examples
    --------
    >>> loosest(lambda rtol: 0.02 + rtol)       # 1e-3 changes the error of 0.02 by a twentieth
    0.0001
    """
    found, least = None, math.nan
    for rtol in sorted(tolerances):
        value = error(rtol)
        if found is None and math.isfinite(value):
            found, least = rtol, value
        elif found is not None and abs(value - least) < FELT * least:
            found = rtol
        elif found is not None:
            break
    return found
