"""Multipole attention as its published code computes it: unfold, attend, fold.

Every window is copied out, normalised, projected and attended on its own, then folded back and
divided by the number of windows per point. Defined only where windows and rate divide the grid.
Shares the parameters of the module it is given; the slow oracle of the fast formulations.
"""

import torch
from torch import Tensor
from torch.nn.functional import fold, unfold

from pdebench_mano.multipole import MultipoleAttention


def attend(module: MultipoleAttention, x: Tensor) -> Tensor:
    """A of one level, (batch, height, width, channels)."""
    b, h, w, _ = x.shape
    k, s = module.window, module.stride
    assert (h - k) % s == 0
    assert (w - k) % s == 0
    windows = unfold(x.permute(0, 3, 1, 2), k, stride=s)
    windows = windows.reshape(b, -1, k * k, windows.shape[-1]).permute(0, 3, 2, 1)
    qkv = module.qkv(module.norm(module.window_norm(windows)))
    q, key, v = (t.unflatten(-1, (module.heads, -1)).transpose(2, 3) for t in qkv.chunk(3, dim=-1))
    weights = torch.softmax(q @ key.transpose(-1, -2) * q.shape[-1] ** -0.5, dim=-1)
    y = module.out((weights @ v).transpose(2, 3).flatten(3))
    columns = y.permute(0, 3, 2, 1).flatten(1, 2)
    count = fold(unfold(torch.ones(1, 1, h, w, dtype=x.dtype, device=x.device), k, stride=s), (h, w), k, stride=s)
    return (fold(columns, (h, w), k, stride=s) / count).permute(0, 2, 3, 1)


def multipole_attention(module: MultipoleAttention, x: Tensor) -> Tensor:
    """z₀ of the whole pyramid."""
    levels = [x.permute(0, 3, 1, 2)]
    for _ in range(module.depth(*x.shape[1:3]) - 1):
        levels.append(module.down(levels[-1]))
    z = attend(module, levels.pop().permute(0, 2, 3, 1))
    for distance, finer in enumerate(reversed(levels), start=1):
        z = attend(module, finer.permute(0, 2, 3, 1)) + module.up(z.permute(0, 3, 1, 2)).permute(0, 2, 3, 1) / distance
    return z
