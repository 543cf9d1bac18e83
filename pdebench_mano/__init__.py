"""Neural operators on Darcy flow: train, evaluate across resolutions, compare."""

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
