"""What there is to choose from: every registered operator, described by its class and by measurement."""

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from data_gen.lookup import find
from pdebench_mano.evaluation.flops import flops
from pdebench_mano.operators.presets import PRESETS
from pdebench_mano.operators.registry import OPERATORS, build_operator
from pdebench_mano.training.regimes import REGIMES, build_regime

POINTS = 64


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
    """

    name: str
    what: str
    paper: str
    receptive_field: str
    parameters: int
    flops_per_point: float
    presets: list[str]
    regimes: list[str]


def catalogue(names: Mapping[str, str] = OPERATORS) -> Iterator[Entry]:
    """Describe the operators of `names`, as built with their default arguments for one channel in and out."""
    for name in names:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            operator = build_operator(name, 1, 1)
        yield Entry(
            name,
            (inspect.getdoc(find(name, names, "operator")) or "").partition("\n")[0].rstrip("."),
            getattr(operator, "paper", ""),
            getattr(operator, "receptive_field", ""),
            parameter_count(operator),
            flops_per_point(operator),
            list(PRESETS.get(name, {})),
            [regime for regime in REGIMES if can_train(regime, operator)],
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
