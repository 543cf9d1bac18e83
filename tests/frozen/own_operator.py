"""An operator of a user's own, named as ``own_operator:Mortal``."""

import os
import signal
from pathlib import Path

from torch import nn


class Mortal(nn.Module):
    """Kills its own process in the n-th forward pass, if the file ``fuse`` is there to be burned."""

    def __init__(self, in_channels, out_channels, width=4, n=5):
        super().__init__()
        lift, projection = nn.Conv2d(in_channels, width, 3, padding=1), nn.Conv2d(width, out_channels, 1)
        self.net = nn.Sequential(lift, nn.GELU(), nn.Dropout(0.2), projection)
        self.left = n

    def forward(self, a):
        fuse = Path("fuse")
        self.left -= 1
        if self.left == 0 and fuse.exists():
            fuse.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.net(a)
