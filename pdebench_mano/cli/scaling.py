"""``pdebench-mano scaling``."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from data_gen.storage import to_json
from pdebench_mano.cli.app import app, integers


@app.command()
def scaling(
    out: Annotated[Path, typer.Option(help="Folder for scaling.csv, scaling.json and scaling.png.")],
    operators: Annotated[
        str | None,
        typer.Option(help="Names separated by commas, or module:Class; by default all, and MANO as published."),
    ] = None,
    resolutions: Annotated[str, typer.Option(help="Points a side, as 32,64,128.")] = "32,64,128",
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto.")] = "auto",
    precision: Annotated[str, typer.Option(help="float32, or bfloat16 by autocast.")] = "float32",
    batch_size: Annotated[int, typer.Option(help="Samples of a batch.")] = 1,
    repeats: Annotated[int, typer.Option(help="Calls of which the median is taken.")] = 5,
    cuda_graphs: Annotated[bool, typer.Option(help="On a GPU, record a step once and replay it.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a measurement on stdout.")] = False,
) -> None:
    """Measure how time and memory of operators grow with the grid: a table, a log-log figure with slopes.

    Each operator has its default arguments. The same command again goes on where it was interrupted.
    """
    import torch
    from rich.console import Console
    from rich.table import Table

    from pdebench_mano.benchmark.costs import NAMES, Settings
    from pdebench_mano.benchmark.scaling import QUANTITIES, read_table, slopes
    from pdebench_mano.benchmark.scaling import scaling as measurements
    from pdebench_mano.machine.progress import bar

    names = list(NAMES) if operators is None else [name.strip() for name in operators.split(",")]
    sizes = integers(resolutions, "resolutions")
    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    settings = Settings(chosen, precision, batch_size, repeats, cuda_graphs)
    with bar("grids measured", shown=not as_json) as progress:
        for done, row in enumerate(measurements(names, sizes, settings, out), 1):
            progress(done, len(names) * len(sizes))
            if as_json:
                print(to_json(asdict(row)), flush=True)
    if as_json:
        return
    rows = read_table(out / "scaling.csv")
    table = Table("operator", "points", *QUANTITIES.values(), *["note"] * bool(rows.note.any()))
    for each in rows.to_dict("records"):
        values = (f"{each[quantity]:.3g}" for quantity in QUANTITIES)
        table.add_row(each["operator"], f"{each['resolution']}²", *values, *[each["note"]] * bool(rows.note.any()))
    for name, slope in slopes(rows).to_dict("index").items():
        table.add_row(str(name), "slope", *(f"{slope[q]:.2f}" for q in QUANTITIES))
    console = Console(stderr=True, markup=False, emoji=False)
    console.print(table)
    console.print(f"{out / 'scaling.csv'}, {out / 'scaling.png'}", highlight=False)
