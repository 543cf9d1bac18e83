"""MANO as its published code computes it (Colagrande et al. 2025): unfold, attend, fold.

Every window is copied out, normalised, projected and attended on its own, then folded back and
divided by the number of windows per point. The function and the parameters are MANO's; time and
memory are what the published code takes. Defined only where the stride carries windows to the edges.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import fold, unfold

from pdebench_mano.fields.operator import Fields
from pdebench_mano.mano.kernels import using
from pdebench_mano.mano.model import PublishedMANO
from pdebench_mano.mano.multipole import MultipoleAttention


class UnfoldedAttention(MultipoleAttention):
    """Multipole attention on (batch, height, width, channels), window by window, convolutions left to the library.

    Raises
    ------
    ValueError
        On calling, if the windows do not reach the edges of a grid.
    """

    def __init__(self, channels: int, *arguments: Any, **named: Any) -> None:
        super().__init__(channels, *arguments, **named)
        if isinstance(self.down, nn.Conv2d):
            self.down = nn.Conv2d(channels, channels, self.rate, stride=self.rate, bias=False)
            self.up = nn.ConvTranspose2d(channels, channels, self.rate, stride=self.rate, bias=False)

    def attend(self, x: Tensor) -> Tensor:
        b, h, w, _ = x.shape
        k, s = self.window, self.stride
        if (h - k) % s or (w - k) % s:
            raise ValueError(f"windows of {k} every {s} points do not reach the edges of a grid of {h}×{w}")
        windows = unfold(x.permute(0, 3, 1, 2), k, stride=s)
        windows = windows.reshape(b, -1, k * k, windows.shape[-1]).permute(0, 3, 2, 1)
        qkv = self.qkv(self.norm(self.window_norm(windows)))
        q, key, v = (t.unflatten(-1, (self.heads, -1)).transpose(2, 3) for t in qkv.chunk(3, dim=-1))
        weights = torch.softmax(q @ key.transpose(-1, -2) * q.shape[-1] ** -0.5, dim=-1)
        columns = self.out((weights @ v).transpose(2, 3).flatten(3)).permute(0, 3, 2, 1).flatten(1, 2)
        count = fold(unfold(x.new_ones(1, 1, h, w), k, stride=s), (h, w), k, stride=s)
        return (fold(columns, (h, w), k, stride=s) / count.to(columns.dtype)).permute(0, 2, 3, 1)

    def forward(self, x: Tensor, residual: bool = False) -> Tensor:
        z = self.multipoles(x)
        return x + z if residual else z


class UnfoldedMANO(PublishedMANO):
    """Published MANO in the published formulation; arguments and state-dict keys are the same."""

    attention = UnfoldedAttention

    def forward(self, a: Fields) -> Fields:
        with using("windows"):
            return super().forward(a)
