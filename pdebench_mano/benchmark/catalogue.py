"""What there is to choose from: every registered operator, described by its class and by measurement."""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn

from data_gen.lookup import find
from data_gen.problem import plain
from pdebench_mano.evaluation.flops import flops
from pdebench_mano.operators.presets import PRESETS
from pdebench_mano.operators.registry import OPERATORS, build_operator
from pdebench_mano.training.regimes import REGIMES, build_regime

POINTS = 64

CHANNELS = ("in_channels", "out_channels")
"""Arguments of every operator, which the data give."""

SECTION = re.compile(r"^Parameters\n-+\n(.*?)(?=^[A-Z]\w*\n-+$|\Z)", re.MULTILINE | re.DOTALL)
ENTRY = re.compile(r"^(\S.*)\n((?: +.*\n?)*)", re.MULTILINE)


@dataclass(frozen=True)
class Entry:
    """One operator with its default arguments.

    Attributes
    ----------
    name, what, paper, receptive_field : str
        `what` is the first line of its class's docstring.
    parameters : int
        Trainable real numbers: complex ones count twice.
    flops_per_point : float
        Of one forward pass on a 64×64 grid.
    presets : list of str
        Names for ``--operator-args preset=NAME``, see `pdebench_mano.operators.presets`.
    regimes : list of str
        Training regimes that can train it.
    arguments : dict
        Names for ``--operator-args NAME=VALUE`` and their defaults, as JSON has them; `explained` says what they are.
    """

    name: str
    what: str
    paper: str
    receptive_field: str
    parameters: int
    flops_per_point: float
    presets: list[str]
    regimes: list[str]
    arguments: dict[str, Any]


class Arguments(NamedTuple):
    """Arguments that are explained together: names → defaults, and what they are."""

    defaults: dict[str, Any]
    what: str

    def __str__(self) -> str:
        """``width=32, depth=4``; what has no default, or is handed on to another factory, by its name alone."""
        return ", ".join(map(_with_default, self.defaults, self.defaults.values()))


def _with_default(name: str, default: Any) -> str:
    if default is inspect.Parameter.empty:
        return name
    return f"{name}={default:g}" if isinstance(default, float) else f"{name}={default}"


def explained(factory: Callable[..., Any]) -> list[Arguments]:
    """The arguments of an operator or a regime but the channels, as its signature and its numpydoc section have them.

    What the section does not name has no explanation.
    """
    parameters = inspect.signature(factory).parameters.values()
    named = {"**" * (each.kind is each.VAR_KEYWORD) + each.name: each.default for each in parameters}
    defaults = {name: plain(default) for name, default in named.items() if name not in CHANNELS}
    section = SECTION.search(f"{inspect.getdoc(factory) or ''}\n")
    found = []
    for names, what in ENTRY.findall(section[1]) if section else ():
        together = {name: defaults.pop(name) for name in names.partition(" : ")[0].split(", ") if name in defaults}
        if together:
            found.append(Arguments(together, " ".join(what.split())))
    return [*found, *(Arguments({name: default}, "") for name, default in defaults.items())]


def catalogue(names: Mapping[str, str] = OPERATORS) -> Iterator[Entry]:
    """Describe the operators of `names`, as built with their default arguments for one channel in and out."""
    for name in names:
        factory = find(name, names, "operator")
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            operator = build_operator(name, 1, 1)
        yield Entry(
            name,
            (inspect.getdoc(factory) or "").partition("\n")[0].rstrip("."),
            getattr(operator, "paper", ""),
            getattr(operator, "receptive_field", ""),
            parameter_count(operator),
            flops_per_point(operator),
            list(PRESETS.get(name, {})),
            [regime for regime in REGIMES if can_train(regime, operator)],
            {key: value for each in explained(factory) for key, value in each.defaults.items() if key.isidentifier()},
        )


def parameter_count(operator: nn.Module) -> int:
    """Trainable real numbers."""
    return sum(p.numel() * (2 if p.is_complex() else 1) for p in operator.parameters() if p.requires_grad)


def can_train(regime: str, operator: nn.Module) -> bool:
    """Whether a regime, with its default arguments, accepts the operator."""
    try:
        build_regime(regime).check(operator)
    except TypeError:
        return False
    return True


def flops_per_point(operator: nn.Module, points: int = POINTS) -> float:
    """Those of one forward pass, for each of points² grid points.

    What counts is said in `pdebench_mano.evaluation.flops`; but FFTs, whose share grows with the grid, do not.
    """
    return flops(operator, 1, (points, points), transforms=False) / points**2
