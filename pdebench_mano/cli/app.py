"""The application object, how errors are shown, and how ``key=value`` arguments are read."""

import ast
import importlib
import io
import os
import shlex
import sys
from itertools import pairwise
from typing import Annotated, Any

import typer

from pdebench_mano.machine.progress import console

FIRST_STEPS = """Neural operators beside the solvers of their equations: generate data, train, evaluate, compare.

The whole way in minutes, to a report for the browser:

\b
    pdebench-mano demo

The same, step by step:

\b
    pdebench-mano generate --samples 300 --resolution 129 --out darcy.hdf5
    pdebench-mano train --operator mano --data darcy.hdf5 \\
        --resolution 33 --out runs/mano
    pdebench-mano evaluate runs/mano --data darcy.hdf5 --resolutions 33,65,129
    pdebench-mano report runs/mano --out report

The same command again goes on where it was interrupted. `pdebench-mano COMMAND --help` tells the rest.
"""

app = typer.Typer(help=FIRST_STEPS, add_completion=True, pretty_exceptions_enable=False, rich_markup_mode=None)

UsageError: Any = typer.BadParameter.__base__  # Click's, or that of the copy inside newer Typers
INTERRUPTED = 130
COMMANDS = (
    "data",
    "problems",
    "train",
    "evaluate",
    "export",
    "timing",
    "benchmark",
    "leaderboard",
    "operators",
    "scaling",
)


def _show_version(asked: bool) -> bool:
    if asked:
        from pdebench_mano import __version__

        print(__version__)
        raise typer.Exit
    return asked


@app.callback()
def program(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """Options of the program itself."""


def say(line: str) -> None:
    """Tell a person at the terminal what begins, or how it ended."""
    console.print(line, highlight=False, soft_wrap=True)


def key_values(items: list[str] | None, what: str) -> dict[str, Any]:
    """``["width=32", "sampling=conv"]`` → ``{"width": 32, "sampling": "conv"}``.

    Values are Python literals where they parse as such, else strings.
    """
    arguments: dict[str, Any] = {}
    for word in items or []:
        key, equals, value = word.partition("=")
        if not equals or not key.isidentifier():
            raise ValueError(f"{what} must be key=value, got {word!r}")
        try:
            arguments[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            arguments[key] = {"true": True, "false": False, "none": None}.get(value.lower(), value)
    return arguments


def integers(text: str, what: str) -> list[int]:
    """``"33,65,129"`` → ``[33, 65, 129]``."""
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise ValueError(f"{what} must be integers separated by commas, got {text!r}") from None


def repeat_options(words: list[str]) -> list[str]:
    """``--law-args sigma=1.5 tau=3`` → ``--law-args sigma=1.5 --law-args tau=3``, as the parser wants it."""
    result: list[str] = []
    option = None
    for word in words:
        if word.startswith("-"):
            option = word if word.endswith("-args") else None
            result.append(word)
        elif option and "=" in word:
            result += [word] if result[-1] == option else [option, word]
        else:
            result.append(word)
    return result


def refuse_empty(words: list[str]) -> None:
    """Refuse an argument or a value that is empty, such as that of an unset shell variable: it names nothing.

    Raises
    ------
    ValueError
        If there is one; names the word before it.
    """
    for before, word in pairwise(["pdebench-mano", *words]):
        option, equals, value = word.partition("=")
        if not word:
            raise ValueError(f"the argument after {before} is empty")
        if word.startswith("--") and equals and not value:
            raise ValueError(f"{option} is empty")


def main() -> None:
    """Entry point of ``pdebench-mano``."""
    # threads that wait without spinning: on a machine with other work, spinning ones are slower tenfold
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # where a locale has no ² or ×
    for name in COMMANDS:
        importlib.import_module(f"pdebench_mano.cli.{name}")
    try:
        refuse_empty(sys.argv[1:])
        status = app(repeat_options(sys.argv[1:] or ["--help"]), standalone_mode=False)
    except UsageError as error:
        _fail(error.format_message())
    except (typer.Abort, KeyboardInterrupt) as stopped:
        if isinstance(stopped.__cause__, EOFError):  # of which Typer makes the same as of Ctrl-C
            _fail(f"a file ended too early: {stopped.__cause__}")
        status = INTERRUPTED
    except MemoryError as error:
        _fail(f"there is not enough memory: {error}")
    except (ValueError, TypeError, OSError) as error:
        _fail(str(error))
    except RuntimeError as error:  # of PyTorch: a device without memory, an operator that does not take a grid
        _fail(f"{type(error).__name__}: {error}")
    if status == INTERRUPTED:  # which Typer, too, makes of Ctrl-C
        command = shlex.join(["pdebench-mano", *sys.argv[1:]])
        console.print(f"\ninterrupted; to go on from here: {command}", markup=False, highlight=False, soft_wrap=True)
    sys.exit(status if isinstance(status, int) else 0)


def _fail(message: str) -> None:
    print("pdebench-mano: " + " ".join(message.split()), file=sys.stderr)
    sys.exit(2)
