"""Neural operators on Darcy flow: train, evaluate across resolutions, compare."""

from pdebench_mano.mano import MANO
from pdebench_mano.multipole import MultipoleAttention

__all__ = ["MANO", "MultipoleAttention"]
