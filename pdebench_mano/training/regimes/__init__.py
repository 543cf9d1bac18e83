"""Training regimes: rules that fill `.grad` of an operator, behind one interface.

To add one: write its file, add its line to `REGIMES`.
"""

from typing import Any

from data_gen.lookup import construct, find_callable
from pdebench_mano.training.regimes.alignment import alignment
from pdebench_mano.training.regimes.backprop import Backprop
from pdebench_mano.training.regimes.base import TrainingRegime
from pdebench_mano.training.regimes.foton import Foton, FotonLatent
from pdebench_mano.training.regimes.pepita import Pepita
from pdebench_mano.training.regimes.transported import TransportedFoton

__all__ = [
    "REGIMES",
    "Backprop",
    "Foton",
    "FotonLatent",
    "Pepita",
    "TrainingRegime",
    "TransportedFoton",
    "alignment",
    "build_regime",
]

REGIMES: dict[str, type[TrainingRegime]] = {
    "backprop": Backprop,
    "pepita": Pepita,
    "foton-latent": FotonLatent,
    "transported-foton": TransportedFoton,
    "foton": Foton,
}


def build_regime(name: str, **arguments: Any) -> TrainingRegime:
    """Construct a training regime by name, or a user's own by ``module:Class`` or ``file.py:Class``.

    Raises
    ------
    ValueError
        If there is no such regime, it does not take the arguments, or what it builds is no regime.
    """
    regime = construct(find_callable(name, REGIMES, "regime"), f"regime {name!r}", arguments)
    if lacking := [each for each in ("check", "gradients", "retract") if not callable(getattr(regime, each, None))]:
        raise ValueError(f"regime {name!r} has no {', '.join(lacking)}, which every regime has")
    return regime
