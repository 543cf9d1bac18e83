"""``pdebench-mano leaderboard``."""

from pathlib import Path
from typing import Annotated

import typer

from data_gen.storage import to_json
from pdebench_mano.cli import completion
from pdebench_mano.cli.app import app, say


@app.command()
def leaderboard(
    suite: Annotated[
        str | None,
        typer.Option(
            help="Suite with published records; darcy85-refined first, if it has any.",
            autocompletion=completion.published,
        ),
    ] = None,
    add: Annotated[
        list[Path] | None, typer.Option(help="Evaluated run, or benchmark, to show beside them; may be repeated.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write the reports of all suites as one site to this folder, and print nothing.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line on stdout.")] = False,
) -> None:
    """Print the published records of a suite, one table for each budget, and your own runs beside them.

    A run is added if it was evaluated on the test samples of the suite, at one of its resolutions at least:
    `pdebench-mano evaluate RUN --data FILE --resolutions …`, on a file that the suite's recipe makes. Its budget is its
    own, and is said beside its name.

    With --json, a line is one model, `budget`, `seed` and `resolution`; a coarse solver's also has the grid that it
    `computed_at`.

    With --html, a folder that is new, or of an earlier site, gets an index.html and a page for each suite.
    """
    from pdebench_mano.benchmark.leaderboard import beside, lines, named, published, suites, tested_on
    from pdebench_mano.report.terminal import print_comparison

    if html is not None:
        if suite is not None or add or as_json:
            raise ValueError("--html writes all published suites, and takes neither --suite, --add nor --json")
        from pdebench_mano.benchmark.site import write_site

        print(f"site: {write_site(html, say)}")
        return
    name = suite or suites()[0]
    board = published(name)
    own = {run: beside(board, run, tested_on(name)) for run in dict.fromkeys(add or [])}
    if as_json:
        for run, records in [(None, board), *own.items()]:
            for line in lines(records, name, run):
                print(to_json(line))
        return
    say(f"{name}; --suite shows another: {', '.join(each for each in suites() if each != name)}")
    print_comparison(board, [named(record, run) for run, records in own.items() for record in records])
