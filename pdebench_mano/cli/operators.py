"""``pdebench-mano operators`` and ``check``."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pdebench_mano.cli.app import app, key_values


@app.command()
def operators(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """List every operator: size, cost, receptive field, what it is, paper, and the regimes that can train it.

    Parameters are real numbers (complex ones count twice); FLOPs per point are those of a forward pass on 64×64 points,
    with default arguments.
    """
    from rich.console import Console
    from rich.padding import Padding

    from pdebench_mano.catalogue import catalogue

    if as_json:
        for entry in catalogue():
            print(json.dumps(asdict(entry)))
        return
    console = Console(highlight=False)
    for entry in catalogue():
        flops = "" if entry.flops_per_point is None else f", {entry.flops_per_point:,.0f} FLOPs/point"
        lines = (
            entry.what,
            f"{entry.parameters:,} parameters{flops}",
            f"receptive field: {entry.receptive_field}",
            f"regimes: {', '.join(entry.regimes)}",
            entry.paper,
        )
        console.print(entry.name, style="bold")
        for line in lines:
            console.print(Padding(line, (0, 0, 0, 4)), markup=False)


@app.command()
def check(
    operator: Annotated[str, typer.Argument(help="Registered name, module:Class or file.py:Class.")],
    operator_args: Annotated[list[str] | None, typer.Option(help="key=value …, given to the operator.")] = None,
    run: Annotated[Path | None, typer.Option(help="Run folder: study the refinement of what was trained, too.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Check an operator against the contract, line by line; the exit status is 1 if something does not hold.

    It must take odd, even and non-square grids with the same parameters, treat samples of a batch alike, train in every
    parameter, save and load plain tensors, and come to an answer as the grid is refined.
    """
    from pdebench_mano.contract import contract
    from pdebench_mano.registry import build_operator
    from pdebench_mano.runs import load

    trained = None if run is None else load(run, device="cpu")
    built = build_operator(operator, 1, 1, **key_values(operator_args, "--operator-args"))
    holds = True
    for clause in contract(built, trained=trained):
        print(json.dumps(asdict(clause)) if as_json else clause, flush=True)
        holds = holds and clause.holds
    raise typer.Exit(0 if holds else 1)
