"""``pdebench-mano operators`` and ``check``."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pdebench_mano.cli import completion
from pdebench_mano.cli.app import app, key_values


@app.command()
def operators(
    name: Annotated[
        str | None,
        typer.Argument(
            help="This one alone, and what its arguments are: a name, module:Class or file.py:Class.",
            autocompletion=completion.operators,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """List every operator: size, cost, receptive field, what it is, paper, presets, arguments, and the regimes for it.

    Parameters are real numbers (complex ones count twice); FLOPs per point are those of a forward pass on 64×64 points,
    with default arguments.
    """
    from rich.console import Console
    from rich.padding import Padding

    from data_gen.lookup import find_callable
    from pdebench_mano.benchmark.catalogue import Arguments, catalogue, explained
    from pdebench_mano.operators.registry import OPERATORS

    one = None if name is None else find_callable(name, OPERATORS, "operator")
    entries = catalogue() if name is None else catalogue({name: OPERATORS.get(name, name)})
    if as_json:
        for entry in entries:
            print(json.dumps(asdict(entry)))
        return
    console = Console(highlight=False, markup=False, emoji=False)

    def show(line: str, indent: int) -> None:
        console.print(Padding(line, (0, 0, 0, indent)), markup=False)

    for entry in entries:
        console.print(entry.name, style="bold")
        show(entry.what, 4)
        show(f"{entry.parameters:,} parameters, {entry.flops_per_point:,.0f} FLOPs/point", 4)
        if entry.receptive_field:
            show(f"receptive field: {entry.receptive_field}", 4)
        show(f"presets: {', '.join(entry.presets) or 'none'}", 4)
        show(f"regimes: {', '.join(entry.regimes)}", 4)
        if entry.paper:
            show(entry.paper, 4)
        show(f"arguments: {'' if one else Arguments(entry.arguments, '')}", 4)
    for each in explained(one) if one else ():
        show(str(each), 8)
        if each.what:
            show(each.what, 12)


@app.command()
def check(
    operator: Annotated[
        str,
        typer.Argument(help="Registered name, module:Class or file.py:Class.", autocompletion=completion.operators),
    ],
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
    from pdebench_mano.training.folder import read_config
    from pdebench_mano.training.runs import load

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
