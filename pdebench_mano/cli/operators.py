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
    """List every operator: size, cost, receptive field, what it is, paper, presets, and the regimes that can train it.

    Parameters are real numbers (complex ones count twice); FLOPs per point are those of a forward pass on 64×64 points,
    with default arguments.
    """
    from rich.console import Console
    from rich.padding import Padding

    from pdebench_mano.benchmark.catalogue import catalogue

    if as_json:
        for entry in catalogue():
            print(json.dumps(asdict(entry)))
        return
    console = Console(highlight=False, markup=False, emoji=False)
    for entry in catalogue():
        lines = (
            entry.what,
            f"{entry.parameters:,} parameters, {entry.flops_per_point:,.0f} FLOPs/point",
            f"receptive field: {entry.receptive_field}",
            f"presets: {', '.join(entry.presets) or 'none'}",
            f"regimes: {', '.join(entry.regimes)}",
            entry.paper,
        )
        console.print(entry.name, style="bold")
        for line in lines:
            console.print(Padding(line, (0, 0, 0, 4)), markup=False)


@app.command()
def check(
    operator: Annotated[str, typer.Argument(help="Registered name, module:Class or file.py:Class.")],
    operator_args: Annotated[
        list[str] | None, typer.Option(help="key=value …, given to the operator; or preset=NAME.")
    ] = None,
    run: Annotated[Path | None, typer.Option(help="Run folder: study the refinement of what was trained, too.")] = None,
    grid: Annotated[str | None, typer.Option(help="Kind of the grids: vertices, left or periodic.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Check an operator against the contract, line by line; the exit status is 1 if something does not hold.

    It must take odd, even and non-square grids with the same parameters, treat each sample of a batch alone, train in
    every parameter, save and load plain tensors, and come to an answer as the grid is refined. Its weights are drawn
    with seed 0. With --run, the operator of that run is checked, with the arguments that it was trained with.
    """
    import torch

    from data_gen.grid import KINDS
    from pdebench_mano.operators.contract import contract
    from pdebench_mano.operators.registry import build_operator
    from pdebench_mano.training.runs import load, read_config

    kind = next((each for each in KINDS if each == grid), None)
    if kind != grid:
        raise ValueError(f"--grid must be one of {', '.join(KINDS)}, got {grid!r}")
    trained, arguments = None, key_values(operator_args, "--operator-args")
    if run is not None:
        config = read_config(run)
        if config.operator != operator:
            raise ValueError(f"--run {run} trained {config.operator!r}, not {operator!r}")
        trained, arguments = load(run, device="cpu", trust=True), config.operator_args | arguments
    torch.manual_seed(0)
    built = build_operator(operator, 1, 1, **arguments)
    holds = True
    for clause in contract(built, trained=trained, grid=kind):
        print(json.dumps(asdict(clause)) if as_json else clause, flush=True)
        holds = holds and clause.holds
    raise typer.Exit(0 if holds else 1)
