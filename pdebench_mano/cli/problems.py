"""``pdebench-mano problems`` and ``check-problem``."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from pdebench_mano.cli import completion
from pdebench_mano.cli.app import app, key_values
from pdebench_mano.cli.data import shape_of


@app.command()
def problems(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """List every problem: its equation, inputs and outputs, the grids it lives on, and its parameters."""
    from rich.console import Console
    from rich.padding import Padding

    from data_gen.problems import PROBLEMS, described

    console = Console(highlight=False, markup=False, emoji=False)
    for name in PROBLEMS:
        entry = described(name)
        if as_json:
            print(json.dumps(entry))
            continue
        fields = {
            what: ", ".join(" ".join((each["name"], each["symbol"])) for each in entry[what])
            for what in ("inputs", "outputs")
        }
        times = f"times {', '.join(f'{t:g}' for t in entry['times'])}" if entry["times"] else "stationary"
        lines = (
            entry["equation"],
            f"inputs: {fields['inputs']}; outputs: {fields['outputs']}",
            f"{entry['dimensions']} dimensions, {entry['kind']}, {times}",
            f"parameters: {', '.join(f'{key}={value}' for key, value in entry['parameters'].items()) or 'none'}",
        )
        console.print(name, style="bold")
        for line in lines:
            console.print(Padding(line, (0, 0, 0, 4)), markup=False)


@app.command()
def check_problem(
    problem: Annotated[
        str,
        typer.Argument(
            help="A name that `problems` lists, module:Class or file.py:Class.", autocompletion=completion.problems
        ),
    ],
    problem_args: Annotated[list[str] | None, typer.Option(help="Parameters of the problem, key=value …")] = None,
    resolution: Annotated[
        str | None, typer.Option(help="Points a side, N or NxM; by default those of 32 intervals.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Check a problem against the contract, line by line; the exit status is 1 if something does not hold.

    One seed must be one function on every grid; solutions must meet the tolerance; a wrong value must be found;
    symmetries must take solutions to solutions; and solutions must converge as fast as the problem says. What it makes
    no claim about is left open.
    """
    from data_gen.contract import contract, grid_of
    from data_gen.generate import built_problem
    from data_gen.problems import kind_of

    shape = grid_of(kind_of(problem), None if resolution is None else shape_of(resolution)).shape
    holds = True
    for clause in contract(built_problem(problem, shape, key_values(problem_args, "problem-args")), shape):
        print(json.dumps(asdict(clause)) if as_json else clause, flush=True)
        holds = holds and clause.holds is not False
    raise typer.Exit(0 if holds else 1)
