"""``pdebench-mano train``: its options are the fields of `RunConfig`, and where and how to run."""

import inspect
from pathlib import Path
from typing import Annotated, Any, Literal, get_origin

import typer
from pydantic.fields import FieldInfo
from typer.core import TyperCommand

from pdebench_mano.cli import completion
from pdebench_mano.cli.app import app, integers, key_values, say
from pdebench_mano.training.options import RunConfig, Training, parse_config

TYPED: dict[str, Any] = {
    "data": Path,
    "operator_args": list[str] | None,
    "regime_args": list[str] | None,
    "resolution": str | None,
}
"""What a person types for a field that holds something else."""


class WithArguments(TyperCommand):
    """A command whose help explains the arguments of the operator and the regime that are named beside ``--help``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Keep what was typed for the help, which is shown before it is parsed."""
        ctx.meta[__name__] = [*args]
        return super().parse_args(ctx, args)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Below the options, the arguments of what is named; without a name no operator is imported."""
        super().format_epilog(ctx, formatter)
        typed = ctx.meta.get(__name__, [])
        words = [each for word in typed for each in (word.split("=", 1) if word.startswith("--") else [word])]
        for option in ("--operator", "--regime"):
            if option in words[:-1]:
                _explain(option.lstrip("-"), words[words.index(option) + 1], formatter)


def _explain(what: str, name: str, formatter: Any) -> None:
    from data_gen.lookup import find_callable
    from pdebench_mano.benchmark.catalogue import explained
    from pdebench_mano.operators.registry import OPERATORS
    from pdebench_mano.training.regimes import REGIMES

    known: dict[str, Any] = {"operator": OPERATORS, "regime": REGIMES}
    arguments = [(str(each), each.what) for each in explained(find_callable(name, known[what], what))]
    with formatter.section(f"--{what}-args of {name}"):
        formatter.write_dl(arguments) if arguments else formatter.write_text("none")


def options() -> list[inspect.Parameter]:
    """The options of ``train``, those that must be given first."""
    names = dict.fromkeys([*RunConfig.__annotations__, *Training.model_fields])
    fields = [_option(name, RunConfig.model_fields[name]) for name in names if name != "checkpoint_seconds"]
    beside = [
        _parameter("out", Path, inspect.Parameter.empty, "Run folder to make, or to go on with."),
        _parameter("device", str | None, None, "cpu or cuda; cuda where there is one."),
        _parameter("track", str | None, None, "Send the history to tensorboard or wandb, too."),
        _parameter("trust", bool, False, "Run a problem that is code of your own, if the data name one."),
    ]
    return sorted([*fields, *beside], key=lambda each: each.default is not each.empty)


def _option(name: str, field: FieldInfo) -> inspect.Parameter:
    kind = TYPED.get(name) or (str if get_origin(field.annotation) is Literal else field.annotation)
    default = inspect.Parameter.empty if field.is_required() else None if name in TYPED else field.default
    return _parameter(name, kind, default, field.description or "")


def _parameter(name: str, kind: Any, default: Any, words: str) -> inspect.Parameter:
    complete = {"operator": completion.operators, "regime": completion.regimes}.get(name)
    annotation = Annotated[kind, typer.Option(help=" ".join(words.split()), autocompletion=complete)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def train(out: Path, device: str | None, track: str | None, trust: bool, **fields: Any) -> None:
    """Train an operator on the training split of a dataset; the same command again resumes.

    The epoch with the lowest validation error is kept. Under torchrun, every process takes its share
    of each batch. `train --operator NAME --help` lists the arguments of that operator, too.
    """
    from pdebench_mano.machine.progress import bar
    from pdebench_mano.training import runs

    sizes = None if fields["resolution"] is None else integers(fields["resolution"], "--resolution")
    read = {
        "data": str(fields["data"]),
        "operator_args": key_values(fields["operator_args"], "--operator-args"),
        "regime_args": key_values(fields["regime_args"], "--regime-args"),
        "resolution": sizes[0] if sizes and len(sizes) == 1 else sizes,
    }
    config = parse_config(fields | read)
    complete = (out / "summary.json").exists()
    with bar("steps") as progress:
        history = runs.train(config, out, device=device, progress=progress, track=track, trust=trust, say=say)
    say(
        f"{out}: {'was complete already' if complete else 'trained'}, best epoch {history.best_epoch} of "
        f"{len(history.epochs)}, validation error {history.best_validation:.4f}, {history.seconds:.0f} s of training"
    )


train.__signature__ = inspect.Signature(options())  # type: ignore[attr-defined]
train.__annotations__ = {each.name: each.annotation for each in options()}
app.command(cls=WithArguments)(train)
