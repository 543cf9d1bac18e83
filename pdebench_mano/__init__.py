"""Neural operators on Darcy flow: train, evaluate across resolutions, compare."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pdebench_mano.data import DarcyDataset
    from pdebench_mano.mano import MANO
    from pdebench_mano.multipole import MultipoleAttention
    from pdebench_mano.operator import NormalizedOperator, Operator, coordinates
    from pdebench_mano.runs import RunConfig, load, train
    from pdebench_mano.training import fit, normalized

__all__ = [
    "MANO",
    "DarcyDataset",
    "MultipoleAttention",
    "NormalizedOperator",
    "Operator",
    "RunConfig",
    "coordinates",
    "fit",
    "load",
    "normalized",
    "train",
]

_MODULES = {
    "data": ("DarcyDataset",),
    "mano": ("MANO",),
    "multipole": ("MultipoleAttention",),
    "operator": ("NormalizedOperator", "Operator", "coordinates"),
    "runs": ("RunConfig", "load", "train"),
    "training": ("fit", "normalized"),
}


def __getattr__(name: str) -> Any:
    """Import on first use: commands that need no network, and their worker processes, start without torch."""
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
