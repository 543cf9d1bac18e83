"""Which tables and figures there are, in which order, and what is said beside them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from data_gen.problem import Field
from data_gen.problems import PROBLEMS, build_problem
from data_gen.recipe import unsolved
from data_gen.storage import COEFFICIENT, SOLUTION, UNKNOWN, fields_of, problem_of
from pdebench_mano.evaluation.records import Evaluation, Record, described, kind_of, read_examples, slug
from pdebench_mano.evaluation.timing import Timing
from pdebench_mano.fields.names import THRESHOLD
from pdebench_mano.report import figures, naming, tables, tuning
from pdebench_mano.report import worth as value
from pdebench_mano.report.keeper import Keeper
from pdebench_mano.report.matrix import matrices
from pdebench_mano.report.plane import operator_points, solver_points
from pdebench_mano.report.side_by_side import side_by_side
from pdebench_mano.report.standings import standings

RESOURCES = (
    "Means over the seeds on this device; of memory, the peak of a training on a GPU, the least. Operations are those "
    "of one prediction on the training grid: matrix products, convolutions, attention and FFTs, a complex multiply-add "
    "as eight; what acts point by point is not counted."
)
BOLD = " Bold: the least of the operators in each column."


def sections(
    paths: Sequence[Path], records: Sequence[Record], table: pd.DataFrame, out: Path, times: Sequence[Timing]
) -> list[dict[str, Any]]:
    """A section for each of the `tables.grounds` of a table of records, with a part for each budget."""
    styles = figures.Styles(table)
    grounds = tables.grounds(table)
    several = sum(len(tables.budgets(part)) for part in grounds.values()) > 1
    found = []
    for (dataset, norm), part in grounds.items():
        here = [pair for pair in zip(paths, records, strict=True) if naming.ground(pair[1]) == (dataset, norm)]
        of = f"{dataset[:8]}-" + (f"{norm}-" if norm != "points" else "")
        parts = []
        for budget in tables.budgets(part):
            keep = Keeper(out, f"{of}{slug(budget)}-" if several else "")
            own = [(path, record) for path, record in here if record.budget in (budget, "")]
            parts.append(_comparison(own, tables.comparison(part, budget), budget, styles, keep, times))
        keep = Keeper(out, of if len(grounds) > 1 else "")
        about = here[0][1]
        found.append(
            {
                "id": f"data-{dataset[:8]}-{norm}",
                "title": title(about),
                "about": described(about),
                "equation": equation(about),
                "standings": keep.table(
                    "standings",
                    standings(part),
                    f"All models on {len(about.samples)} test samples. Errors are relative L2{tables.by(norm)}, mean "
                    "over seeds and samples ± half of the 95 % interval." + BOLD,
                    kinds_of(part),
                    operators_of(part),
                ),
                "parts": parts,
            }
        )
    return found


def title(record: Record) -> str:
    """The problem, the law and the data that a record was tested on, in words."""
    problem, parameters = problem_of(record.dataset)
    law, recipe = parameters.get("law", UNKNOWN), json.loads(record.dataset.get("recipe", "{}"))
    words = [problem] + [f"law {law}"] * (isinstance(law, str) and law != UNKNOWN)
    if "seed" in recipe:
        words.append(f"{record.dataset['shape'][0]}² data of seed {recipe['seed']}")
    else:
        words.append(str(record.dataset.get("origin", f"data {record.dataset['digest'][:8]}")))
    if "label_refinement" in recipe:
        words.append(f"labels of a grid {recipe['label_refinement']} times as fine")
    if record.norm != "points":
        words.append(f"errors by {record.norm}")
    return (f"{record.tested_on}: " if record.tested_on else "") + ", ".join(words)


def equation(record: Record) -> str:
    """The equation that the samples solve, where it is known."""
    name, _ = problem_of(record.dataset)
    told = str(record.dataset.get("equation", UNKNOWN))
    return told if told != UNKNOWN else build_problem(name).equation if name in PROBLEMS else ""


def kinds_of(part: pd.DataFrame) -> dict[str, str]:
    """What the rows of tables are, for their colour."""
    return dict(zip(part.model, part.group, strict=True))


def operators_of(part: pd.DataFrame) -> list[str]:
    """The rows among which the best is shown: those of operators, and of their upsampled predictions."""
    return [str(name) for name in part[part.group != "baseline"].model.unique()]


def _comparison(
    here: list[tuple[Path, Record]],
    part: pd.DataFrame,
    budget: str,
    styles: figures.Styles,
    keep: Keeper,
    times: Sequence[Timing],
) -> dict[str, Any]:
    """Everything about the models of one budget on one dataset."""
    records = [record for _, record in here]
    trained = [(path, record) for path, record in here if record.configuration]
    resolutions = tables.resolutions(part)
    coarsest, finest = resolutions[0], resolutions[-1]
    kinds, trained_rows = kinds_of(part), operators_of(part)
    models = tables.order(part)
    solvers = [str(name) for name in part[part.quoted].model.unique()]
    reason = "" if "solver" in set(part.kind) else unsolved(records[0].dataset)

    keep.csv("error", tables.means(part).rename_axis("model"), index=True)
    headline = keep.table(
        "headline",
        tables.headline(part),
        "Relative L2 error, mean over seeds and test samples, with the 95 % interval of a bootstrap that resamples "
        "both: that of one seed, or of what is not trained, is of the samples alone, and few seeds give too narrow a "
        "one. Upsampled rows predict at the training resolution and interpolate by splines"
        + (
            f". No solver stands beside them: {reason}."
            if reason
            else "; solvers solve the equation on the grid they name."
        )
        + " The solver that is quoted is the scheme with the least validation error there." * bool(solvers)
        + " The label uncertainty is an estimate of the error of the labels themselves." * ("labels" in set(part.kind))
        + BOLD,
        kinds,
        trained_rows,
    )
    details = [
        keep.table(
            f"details-{n}",
            tables.details(part, n),
            f"Mean errors at {n}², with intervals. Bands are in cycles per unit length; their squares sum to that of "
            "the relative L2 error, as those of near jumps and elsewhere do. The residual is that of the problem's "
            "discrete equation." + BOLD,
            kinds,
            trained_rows,
        )
        for n in dict.fromkeys([coarsest, finest])
    ]
    paired = [
        keep.table(
            f"paired-{n}" + (f"-{slug(solver.strip('²'))}" if solver else ""),
            differences,
            f"Relative L2 error at {n}² minus that of {reference}"
            + (f" ({seeds})" if (seeds := tables.note(part, reference)) else "")
            + ", paired over the test samples, with bootstrap interval; the seeds of each are drawn on their own.",
            kinds,
        )
        for n in dict.fromkeys([coarsest, finest])
        for solver in ("", *solvers)
        for reference in [solver or next(name for name in models if name in tables.at(part, n))]
        if len(differences := tables.paired(part, [reference, *(name for name in models if name != reference)], n))
    ]
    overview = [
        keep.figure(
            "error-against-resolution",
            figures.error_against_resolution(part, styles),
            "Error against resolution. Dashed: the coarse prediction, upsampled. Dotted: no learning at all. "
            "Bars span the seeds." + " Of the solvers, the scheme that is quoted." * bool(part.quoted.any()),
            whole=figures.error_against_resolution(part, styles, everything=True),
        ),
    ]
    worth = _worth(records, times, styles, keep)
    if not worth["planes"] and (part[part.resolution == finest].seconds > 0).any():
        overview.append(
            keep.figure(
                "accuracy-against-time",
                figures.accuracy_against_time(part, styles, finest),
                f"Accuracy against time, at {finest}², on the operators' device. Left and down is better. Open: the "
                "coarse prediction and its interpolation. Grey: solvers, if they ran there.",
            )
        )
    return {
        "id": keep.prefix.strip("-") or "models",
        "title": f"Trained for {budget}",
        "headline": headline,
        "overview": overview,
        "in_time": _in_time(part, [coarsest, finest], kinds, styles, keep),
        "worth": worth,
        "resources": keep.table("resources", tables.resources(part), RESOURCES + BOLD, kinds, trained_rows),
        "tuning": list(tuning.told([record for _, record in trained])),
        "paired": paired,
        "details": details,
        "parts": [
            keep.figure(
                f"parts-{n}",
                figures.parts_of_the_error(part, styles, n),
                f"Parts of the relative L2 error at {n}²: by frequency band; near jumps of the coefficient, elsewhere.",
            )
            for n in dict.fromkeys([coarsest, finest])
            if "operator" in set(part[part.resolution == n].group)
        ],
        "spectra": [
            keep.figure(
                f"spectra-{n}",
                figures.spectra(_first_seed(records, n), styles),
                f"Energy at {n}² by frequency, relative to that of the truth; mean over the test samples.",
            )
            for n in dict.fromkeys([coarsest, finest])
        ],
        "side_by_side": side_by_side(in_order(trained, models)),
        "galleries": _galleries(trained, keep),
        "curves": _curves([record for _, record in trained if record.history], styles, keep),
    }


def crossed(records: Sequence[Record], keep: Keeper) -> list[dict[str, Any]]:
    """Two tables a budget and resolution, of a suite of several datasets: errors, and what training elsewhere costs."""
    shown = []
    for budget, norm, n, errors, beside_own in matrices(records):
        kinds = {str(name): "baseline" for name in errors.index if name not in beside_own.index}
        name = f"matrix-{n}-{slug(budget)}" + (f"-{norm}" if norm != "points" else "")
        shown.append(
            keep.table(
                name,
                errors,
                f"Relative L2 error{tables.by(norm)} at {n}², trained for {budget}: a row for what a model was trained "
                "on, a column for what it was tested on; mean over seeds and test samples, with bootstrap interval. "
                "Solvers and mean solutions are those of the dataset that is tested on.",
                kinds,
            )
        )
        caption = (
            "The same, minus that of the model that was trained on what is tested on, paired over the test samples, "
            "with bootstrap interval; the seeds of each are drawn on their own."
        )
        shown.append(keep.table(f"{name}-beside-own", beside_own, caption))
    return shown


def in_order(trained: Sequence[tuple[Path, Record]], models: Sequence[str]) -> list[tuple[Path, Record]]:
    """Records in the order of tables, of each model the first seed first."""
    return sorted(trained, key=lambda pair: (models.index(pair[1].model), pair[1].seed))


def _in_time(
    part: pd.DataFrame, resolutions: Sequence[int], kinds: dict[str, str], styles: figures.Styles, keep: Keeper
) -> list[dict[str, Any]]:
    """A figure and a table of errors over time for each resolution; none where nothing is rolled out."""
    shown = []
    for n in dict.fromkeys(resolutions):
        if not len(cells := tables.at_times(part, n)):
            continue
        caption = (
            f"Relative L2 error of the states at {n}², mean over seeds and test samples, relative to what the training "
            f"mean leaves of the last of them, and for how long an error is below {THRESHOLD:g}. All begin with the "
            "same state; solvers, on the grid that they name."
        )
        figure = figures.error_over_time(part, styles, n)
        shown.append(
            {
                "figure": keep.figure(f"error-over-time-{n}", figure, f"Error over time at {n}². Dotted: no learning."),
                "table": keep.table(f"over-time-{n}", cells, caption + BOLD, kinds, operators_of(part)),
            }
        )
    return shown


def _worth(records: Sequence[Record], times: Sequence[Timing], styles: figures.Styles, keep: Keeper) -> dict[str, Any]:
    """What the operators are worth: a table, and the plane of accuracy and time for each grid and device."""
    rows = value.shown(value.worth(records, times), records)
    if not rows:
        return {"table": None, "planes": []}
    there = list(dict.fromkeys(row.device for row in rows))
    here = [each for each in times if each.dataset == naming.ground(records[0])[0] and each.device in there]
    planes = []
    for device, n in dict.fromkeys((row.device, row.resolution) for row in rows):
        by = [each for each in here if each.device == device]
        operators, solvers = (points(records, by, n) for points in (operator_points, solver_points))
        planes.append(
            keep.figure(
                f"plane-{n}" + f"-{slug(device)}" * (len(there) > 1),
                figures.plane(operators, solvers, styles, n, device),
                f"Accuracy against time at {n}², on {device}. Left and down is better. Grey: solvers on their grids.",
            )
        )
    caption = (
        f"Milliseconds of a prediction in the best batch on {' or '.join(there)}. The rival is the solver that "
        "has the error of the operator first, between two grids; validation samples say which. Break-even: predictions "
        "after which labels and training are paid for, and tuning, too."
    )
    caption += " Some were timed on a busy machine: times.jsonl says which." * any(each.busy for each in here)
    return {"table": keep.table("worth", value.cells(rows), caption), "planes": planes}


def _first_seed(records: Sequence[Record], resolution: int) -> list[Evaluation]:
    """One row for each operator and its upsampled predictions at a resolution."""
    rows: dict[str, Evaluation] = {}
    for record in records:
        for row in record.evaluations:
            if row.resolution == resolution and tables.group_of(row, record) != "baseline":
                rows.setdefault(row.model, row)
    return list(rows.values())


def _galleries(trained: list[tuple[Path, Record]], keep: Keeper) -> list[dict[str, str]]:
    """One gallery a model, of its first seed, at the finest resolution."""
    shown = {}
    for path, record in trained:
        fields = read_examples(path)
        if fields and record.model not in shown:
            own = [row for row in record.evaluations if kind_of(row, record) == "operator"]
            row = max(own, key=lambda row: row.resolution)
            shown[record.model] = keep.figure(
                f"samples-{slug(record.model)}",
                figures.gallery(fields, row, first_fields(record)),
                f"{record.model} at {row.resolution}²: the samples with the smallest, the median and the largest "
                "relative L2 error, which stands at the left. Each column has one colour scale, truth and prediction "
                "the same.",
            )
            if "times" in fields:
                shown[f"{record.model} in time"] = keep.figure(
                    f"states-{slug(record.model)}",
                    figures.states(fields, row, first_fields(record)[1]),
                    f"{record.model} at {row.resolution}²: the sample with the median error, over time.",
                )
    return list(shown.values())


def first_fields(record: Record) -> tuple[Field, Field]:
    """The first input and the first output of the problem that a record is of."""
    return fields_of(record.dataset, "inputs", COEFFICIENT)[0], fields_of(record.dataset, "outputs", SOLUTION)[0]


def _curves(records: Sequence[Record], styles: figures.Styles, keep: Keeper) -> list[dict[str, str]]:
    """Loss by epoch for all models, and alignment for those that logged it, of their first seed."""
    if not records:
        return []
    caption = "Validation error (thick) and training loss (thin) by epoch."
    shown = {"": keep.figure("training", figures.curves(records, styles), caption)}
    for record in records:
        logged = any(name.startswith("cosine ") for name in record.history[0])
        if logged and record.model not in shown:
            shown[record.model] = keep.figure(
                f"alignment-{slug(record.model)}",
                figures.alignment(record),
                f"{record.model}: updates against those of backpropagation at the same weights, in the first step of "
                "every epoch; one line a layer, from the input (dark) to the output (light).",
            )
    return list(shown.values())
