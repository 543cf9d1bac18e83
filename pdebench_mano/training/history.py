"""What happened in a training, epoch by epoch, and what ends one early."""

import math
from dataclasses import dataclass, field


class Diverged(ValueError):
    """The loss of a training stopped being finite."""


@dataclass
class History:
    """What happened during training, epoch by epoch.

    Attributes
    ----------
    epochs : list of dict
        ``epoch``, ``loss`` (training mean), ``validation`` (see `validate`, where there is a
        validation set), ``lr``, ``seconds`` of training so far; with `Training.alignment` also
        ``cosine LAYER`` and ``ratio LAYER``, see `pdebench_mano.training.regimes.alignment`.
    best_epoch : int
        Epoch whose weights were kept.
    best_validation : float
    """

    epochs: list[dict[str, int | float]] = field(default_factory=list)
    best_epoch: int = 0
    best_validation: float = math.inf

    @property
    def seconds(self) -> float:
        """Training time, validation and checkpoints not counted."""
        return self.epochs[-1]["seconds"] if self.epochs else 0.0
