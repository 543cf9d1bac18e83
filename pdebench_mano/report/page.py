"""The HTML page: one file that needs nothing beside it, and the files of its figures and tables."""

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from data_gen.recipe import installed
from data_gen.storage import UNKNOWN, locked, problem_of, write_text
from pdebench_mano.evaluation.records import Record, listed, read_record
from pdebench_mano.evaluation.timing import TIMES
from pdebench_mano.report import naming, tables
from pdebench_mano.report import worth as value
from pdebench_mano.report.contents import crossed, sections
from pdebench_mano.report.keeper import Keeper
from pdebench_mano.report.papers import papers

PAGE = "report.html"
PARTIAL = f".{PAGE}.tmp"
LOCK = ".report.lock"
"""Stands in a folder that a report is being written to: what a kill leaves is known as ours."""
FOLDER = files("pdebench_mano.report")


def write_report(
    paths: Sequence[Path],
    out: str | Path,
    title: str | None = None,
    suite: str | None = None,
    home: str = "",
    command: str = "",
) -> Path:
    """Write the report of some records; after another process, where one writes its report there.

    Parameters
    ----------
    paths : sequence of Path
        Files of records; examples are taken from the archives beside them, and times from ``times.jsonl`` in the
        folders of the runs and benchmarks, or in `out`.
    out : path
        Folder to write to: a new one, that of an earlier report, of a benchmark, or of times.
    title : str, optional
        Heading of the page; by default it names the problems that the samples are of.
    suite : str, optional
        Name of the suite that the records are of.
    home : str, optional
        Address of a page that this one belongs to.
    command : str, optional
        What to type to get the report, beside what was typed for the records.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    ValueError
        If there is no record, or `out` holds something else.
    """
    out = Path(out)
    if not paths:
        raise ValueError("a report needs at least one record")
    check_folder(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / PARTIAL).touch()
    with locked(out / LOCK, out, wait=True):
        return _write(paths, out, title, suite, home, command)


def _write(paths: Sequence[Path], out: Path, title: str | None, suite: str | None, home: str, command: str) -> Path:
    times = value.beside(paths, out)
    as_recorded = [read_record(path) for path in paths]
    records = [value.with_times(each, times) for each in naming.apart(as_recorded)]
    table = tables.rows(records)
    Keeper(out).csv("rows", table.drop(columns=["errors", "times", "per_time"]))
    if times:
        value.write_worth(value.worth(records, times, suite), out / value.WORTH)
    about = {
        "title": title or _title(records),
        "home": home,
        "summary": _summary(records, table),
        "matrices": crossed(as_recorded, Keeper(out)),
        "sections": sections(paths, records, table, out, times),
        "papers": papers(records),
        "datasets": [
            {"digest": each["digest"], "facts": facts(each)}
            for each in {record.dataset["digest"]: record.dataset for record in records}.values()
        ],
        "configurations": [
            {
                "name": f"{record.model}, seed {record.seed}, {record.budget}",
                "text": json.dumps(record.configuration | {"training": record.training, "key": record.key}, indent=2),
            }
            for record in records
            if record.configuration
        ],
        "environments": _unique([list(record.environment.items()) for record in records]),
        "count": len(records),
    }
    write_text(out / PAGE, rendered("page.html", **about, **_commands(records, command)))
    (out / PARTIAL).unlink(missing_ok=True)
    return out / PAGE


def rendered(template: str, **content: Any) -> str:
    """A page of a template beside this file, with the libraries, the script and the style that it asks for inlined."""
    return _TEMPLATES.get_template(template).render(version=installed("pdebench-mano"), **content)


def inlined(name: str) -> Markup:
    """A file beside this one, as it is."""
    return Markup((FOLDER / name).read_text(encoding="utf-8"))


def facts(dataset: dict[str, Any]) -> list[tuple[str, Any]]:
    """What a file says about itself; of a law's description, the first paragraph."""
    return [
        (name, value.partition("\n\n")[0] if name == "law_description" else value) for name, value in dataset.items()
    ]


def _commands(records: Sequence[Record], command: str) -> dict[str, list[str]]:
    """What to type: the commands that make everything, and those of single trainings and evaluations."""
    typed = dict.fromkeys(line for line in [command, *(line for each in records for line in each.commands)] if line)
    whole = [line for line in typed if line.split()[1:2] in (["benchmark"], ["demo"])]
    return {"commands": whole, "steps": [line for line in typed if line not in whole]}


def check_folder(out: Path) -> None:
    """Refuse a folder that holds neither a report, be it unfinished, nor a benchmark.

    Raises
    ------
    ValueError
        If it does.
    """
    if out.exists() and not out.is_dir():
        raise ValueError(f"out={out} is a file; choose a folder")
    ours = any((out / name).exists() for name in (PAGE, PARTIAL, TIMES, "records"))
    if out.exists() and {*out.iterdir()} - {out / LOCK} and not ours:
        raise ValueError(f"out={out} holds something that is no report; choose a new folder")


def _title(records: Sequence[Record]) -> str:
    problems = dict.fromkeys(problem_of(record.dataset)[0] for record in records)
    names = ("data" if each == UNKNOWN else each.rpartition(":")[2] for each in problems)  # of one's own: FILE.py:NAME
    return f"Neural operators on {', '.join(names)}"


def _summary(records: Sequence[Record], table: pd.DataFrame) -> str:
    names = listed(table[table.group == "operator"].model.unique())
    samples = sorted({len(record.samples) for record in records})
    resolutions = ", ".join(f"{n}²" for n in sorted(table.resolution.unique()))
    return f"{names}, tested on {' or '.join(map(str, samples))} samples at {resolutions}, beside baselines."


def _unique(items: list[list[tuple[str, str]]]) -> list[list[tuple[str, str]]]:
    return [item for i, item in enumerate(items) if item not in items[:i]]


_TEMPLATES = Environment(
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    loader=FunctionLoader(lambda name: (FOLDER / name).read_text(encoding="utf-8")),
)
_TEMPLATES.globals["inlined"] = inlined
