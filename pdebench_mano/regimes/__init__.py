"""Training regimes: rules that fill `.grad` of an operator, behind one interface."""

from pdebench_mano.regimes.alignment import alignment
from pdebench_mano.regimes.backprop import Backprop
from pdebench_mano.regimes.base import TrainingRegime
from pdebench_mano.regimes.foton import Foton
from pdebench_mano.regimes.losses import LOSSES, Loss, cross_entropy, half_squared_error, relative_l2
from pdebench_mano.regimes.pepita import Pepita
from pdebench_mano.regimes.transported import TransportedFoton

__all__ = [
    "LOSSES",
    "Backprop",
    "Foton",
    "Loss",
    "Pepita",
    "TrainingRegime",
    "TransportedFoton",
    "alignment",
    "cross_entropy",
    "half_squared_error",
    "relative_l2",
]
