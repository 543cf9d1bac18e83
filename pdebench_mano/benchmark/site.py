"""All published suites as one site: an index, and the report of each suite in a folder of its name."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from data_gen.storage import locked, write_text
from pdebench_mano.benchmark.leaderboard import PUBLISHED, published, suites
from pdebench_mano.benchmark.suite import packaged, read_suite
from pdebench_mano.evaluation.records import Record, find_records
from pdebench_mano.report import naming, tables, write_report
from pdebench_mano.report.contents import title
from pdebench_mano.report.keeper import Keeper
from pdebench_mano.report.page import LOCK, PAGE, PARTIAL, rendered

INDEX = "index.html"
OURS = '<meta name="generator" content="pdebench-mano'
"""In every page of the package, and so what tells its index from somebody's own."""
TITLE = "Published records of pdebench-mano"
SUMMARY = (
    "Neural operators beside the equation's own solver, suite by suite. Each page has its tables, figures and "
    "configurations, and the commands that make its numbers again."
)


def write_site(out: str | Path, say: Callable[[str], None] = lambda line: None) -> Path:
    """Write the reports of all published suites, and an index of them.

    Parameters
    ----------
    out : path
        Folder to write to: a new one, or that of an earlier site, be it unfinished.
    say : callable, optional
        Told in one line which report is written.

    Returns
    -------
    Path
        The index.

    Raises
    ------
    ValueError
        If `out` holds something else.
    FileExistsError
        If another process writes there.
    """
    out = Path(out)
    check_site(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / PARTIAL).touch()
    with locked(out / LOCK, out):
        said, names = {}, suites()
        for number, name in enumerate(names, 1):
            say(f"[{number}/{len(names)}] {name}")
            suite, command = read_suite(packaged(name)), f"pdebench-mano benchmark {name} --out {name}"
            write_report(find_records(PUBLISHED / name), out / name, suite.title, name, f"../{INDEX}", command)
            said[name] = {"title": suite.title} | summary(published(name))
        cells = pd.DataFrame(said, dtype=object).T
        table = Keeper(out).table(
            "suites",
            cells,
            "Relative L2 error at the training resolution, mean over seeds and test samples with 95 % interval, of the "
            "best operator within any budget, and of the solver on the same grid.",
            first="suite",
            links={name: f"{name}/{PAGE}" for name in names},
        )
        write_text(out / INDEX, rendered("index.html", title=TITLE, summary=SUMMARY, tables=[table]))
    (out / PARTIAL).unlink(missing_ok=True)
    return out / INDEX


def summary(records: list[Record]) -> dict[str, str]:
    """What the index says of a suite: on what data, how many models and seeds, and how well the best does."""
    table = tables.rows(naming.apart(records))
    operators = table[table.group == "operator"]
    coarsest = tables.resolutions(operators)[0]
    here = table[(table.resolution == coarsest) & (table.computed_at == coarsest)]
    trained, solvers = here[here.group == "operator"], here[here.kind == "solver"]
    solvers = solvers[solvers.quoted | (not solvers.quoted.any())]
    means = trained.groupby(["model", "budget"], as_index=False).relative_l2.mean()
    best = means.loc[means.relative_l2.idxmin()]
    rows = trained[(trained.model == best.model) & (trained.budget == best.budget)]
    return {
        "best operator": best.model if best.model.endswith(best.budget) else f"{best.model}, {best.budget}",
        "its error": str(tables.headline(rows).loc[best.model, coarsest]),
        "solver": "" if solvers.empty else tables.bare(f"{solvers.relative_l2.min():.3g}"),
        "models": str(operators.model.nunique()),
        "trainings": str(len(trained)),
        "tested at": ", ".join(f"{n}²" for n in tables.resolutions(operators)),
        "data": "; ".join(dict.fromkeys(title(record) for record in records)),
    }


def check_site(out: Path) -> None:
    """Refuse a folder that holds something else than a site, be it unfinished.

    Raises
    ------
    ValueError
        If it does.
    """
    if out.exists() and not out.is_dir():
        raise ValueError(f"html={out} is a file; choose a folder")
    ours = (out / PARTIAL).exists() or ((out / INDEX).is_file() and OURS in (out / INDEX).read_text("utf-8", "replace"))
    if out.exists() and {*out.iterdir()} - {out / LOCK} and not ours:
        raise ValueError(f"html={out} holds something that is no site of published records; choose a new folder")
