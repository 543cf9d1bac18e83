"""Neural operators beside the solvers of their equations: train, evaluate across resolutions, compare."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pdebench_mano.evaluation.beside import evaluate_solver
    from pdebench_mano.evaluation.evaluate import evaluate
    from pdebench_mano.evaluation.rollout import rollout
    from pdebench_mano.fields.data import DarcyDataset, Dataset, View
    from pdebench_mano.fields.metrics import relative_l2
    from pdebench_mano.fields.normalized import NormalizedOperator, normalized
    from pdebench_mano.fields.operator import Operator, coordinates
    from pdebench_mano.mano.model import MANO
    from pdebench_mano.mano.multipole import MultipoleAttention
    from pdebench_mano.operators.registry import build_operator
    from pdebench_mano.training.fit import fit
    from pdebench_mano.training.options import RunConfig, parse_config
    from pdebench_mano.training.regimes import Backprop, Foton, Pepita, TransportedFoton, build_regime
    from pdebench_mano.training.runs import load, train

    __version__: str

_PLACES = {
    "evaluation.beside": ("evaluate_solver",),
    "evaluation.evaluate": ("evaluate",),
    "evaluation.rollout": ("rollout",),
    "fields.data": ("DarcyDataset", "Dataset", "View"),
    "fields.metrics": ("relative_l2",),
    "fields.normalized": ("NormalizedOperator", "normalized"),
    "fields.operator": ("Operator", "coordinates"),
    "mano.model": ("MANO",),
    "mano.multipole": ("MultipoleAttention",),
    "operators.registry": ("build_operator",),
    "training.fit": ("fit",),
    "training.options": ("RunConfig", "parse_config"),
    "training.regimes": ("Backprop", "Foton", "Pepita", "TransportedFoton", "build_regime"),
    "training.runs": ("load", "train"),
}

__all__ = [
    "MANO",
    "Backprop",
    "DarcyDataset",
    "Dataset",
    "Foton",
    "MultipoleAttention",
    "NormalizedOperator",
    "Operator",
    "Pepita",
    "RunConfig",
    "TransportedFoton",
    "View",
    "__version__",
    "build_operator",
    "build_regime",
    "coordinates",
    "evaluate",
    "evaluate_solver",
    "fit",
    "load",
    "normalized",
    "parse_config",
    "relative_l2",
    "rollout",
    "train",
]


def __getattr__(name: str) -> Any:
    """Import on first use: commands that need no network, and their worker processes, start without torch."""
    if name == "__version__":
        from data_gen.recipe import installed

        return installed("pdebench-mano")
    for place, names in _PLACES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{place}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
