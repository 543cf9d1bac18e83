"""All models of one `ground`, whatever they were allowed: the table that a reader sorts and filters."""

import numpy as np
import pandas as pd

from pdebench_mano.report.bootstrap import interval
from pdebench_mano.report.tables import bare, digits, order, resolutions, timed


def standings(table: pd.DataFrame) -> pd.DataFrame:
    """A row a model and budget: mean relative L2 error at every resolution, times of training and use, size, seeds.

    Errors are means over seeds and test samples, with the half-width of their 95 % interval; the time of a prediction
    is that at the finest resolution. The index is the name of the model, and is not unique.
    """
    finest = resolutions(table)[-1]
    rows, names = [], []
    for budget, part in _by_budget(table):
        for model in order(part):
            own = part[part.model == model]
            at_finest = timed(own)[timed(own).resolution == finest]
            names.append(model)
            rows.append(
                {
                    "budget": budget,
                    **{f"error at {n}²": _error(own[own.resolution == n]) for n in resolutions(table)},
                    "training [s]": written(timed(own).training_seconds.mean(), "{:.0f}"),
                    f"prediction at {finest}² [ms]": written(1e3 * at_finest.seconds.mean(), "{:.3g}"),
                    "parameters": written(own.parameters.mean(), "{:,.0f}"),
                    "seeds": str(own.seed.nunique()) if budget else "",
                    "kind": own.kind.iloc[0] or own.group.iloc[0],
                }
            )
    cells = pd.DataFrame(rows, index=pd.Index(names), dtype=object)
    return cells.loc[:, (cells != "").any()]


def _by_budget(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The rows of each budget, then those that have none."""
    budgets = sorted({*table.budget}, key=lambda each: (not each, each.endswith(" s"), each))
    return [(budget, table[table.budget == budget]) for budget in budgets]


def _error(rows: pd.DataFrame) -> str:
    """``.0123 ± .0004``: a mean, and half of its interval."""
    if not len(rows):
        return ""
    mean, low, high = interval(np.stack([errors["relative_l2"] for errors in rows.errors]))
    shown = digits(mean)
    return f"{bare(f'{mean:.{shown}f}')} ± {bare(f'{(high - low) / 2:.{shown}f}')}"


def written(value: float, form: str) -> str:
    """A number in words; empty where it is not known."""
    return "" if pd.isna(value) else form.format(value)
