"""Swin operator: attention in shifted windows (Liu et al. 2022, Swin v2, arXiv 2111.09883).

The backbone is transformers' `Swinv2Backbone` with one token per lattice point and no absolute positions; its
relative ones are a continuous function of log-spaced offsets. A light decoder brings every stage back to the data's
grid by linear interpolation, adds them, and projects them together with each point's own features.

Windows count tokens. Tokens stand on a lattice of fixed physical spacing, so that a window is the same part of the
domain on every grid; `spacing=None` is the data's own grid, where windows shrink as it is refined.

Shifted windows go round the grid; what lies beyond an edge is masked, unless the grid is periodic.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Swinv2Backbone, Swinv2Config
from transformers.models.swinv2.modeling_swinv2 import Swinv2Layer

from pdebench_mano.fields.lattice import check_spacing, lattice_shape, resample
from pdebench_mano.fields.operator import Fields, Operator, at_least


class Swin(Operator):
    """Swin transformer v2 with a multi-scale decoder.

    Parameters
    ----------
    in_channels, out_channels : int
    width : int
        Channels of the first stage, doubled from stage to stage; a multiple of `heads`.
    depths : sequence of int
        Number of blocks per stage; each stage has half the tokens a side of the one before.
    heads : int
        Attention heads of the first stage, doubled with the channels.
    window : int
        Tokens per window side.
    spacing : float or None
        Distance of tokens, as a length in the unit square; None is the data's own grid.

    Raises
    ------
    ValueError
        For a size below one, a `width` that is no multiple of `heads`, or a spacing outside (0, 1/2].
    """

    paper = "Liu et al. 2022, arXiv 2111.09883"
    receptive_field = "windows of shifted tokens, growing with depth and stage"

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        *,
        width: int = 48,
        depths: Sequence[int] = (2, 2, 2),
        heads: int = 3,
        window: int = 4,
        spacing: float | None = 1 / 16,
    ) -> None:
        super().__init__()
        at_least(1, width=width, stages=len(depths), blocks=min(depths, default=1), heads=heads, window=window)
        check_spacing(spacing)
        if width % heads:
            raise ValueError(f"width must be a multiple of heads = {heads}, got {width}")
        self.spacing = spacing
        self.lift = nn.Sequential(nn.Conv2d(in_channels + 2, width, 1), nn.GELU(), nn.Conv2d(width, width, 1))
        config = Swinv2Config(
            image_size=window * 2 ** len(depths),
            patch_size=1,
            num_channels=width,
            embed_dim=width,
            depths=list(depths),
            num_heads=[heads * 2**stage for stage in range(len(depths))],
            window_size=window,
            mlp_ratio=2.0,
            drop_path_rate=0.0,
            out_features=[f"stage{stage + 1}" for stage in range(len(depths))],
        )
        self.backbone = Swinv2Backbone(config)
        for module in self.backbone.modules():
            if isinstance(module, Swinv2Layer):
                module.get_attn_mask = partial(self.mask, module.get_attn_mask)
        self.decode = nn.ModuleList(nn.Conv2d(width * 2**stage, width, 1) for stage in range(len(depths)))
        self.project = nn.Sequential(nn.Conv2d(2 * width, width, 1), nn.GELU(), nn.Conv2d(width, out_channels, 1))

    def mask(self, plain: Callable[..., Tensor | None], *place: Any, **options: Any) -> Tensor | None:
        """What parts the two sides of an edge in a shifted window: nothing on a periodic grid, else `plain`'s."""
        return None if self.grid == "periodic" else plain(*place, **options)

    def forward(self, a: Fields) -> Fields:
        points = self.lift(self.with_coordinates(a))
        shape = (a.shape[-2], a.shape[-1])
        lattice = resample(points, lattice_shape(shape, self.spacing, self.grid), self.grid)
        with lattice.device:  # where the library makes its masks: a CUDA graph takes no copies from the host
            stages = self.backbone(lattice).feature_maps
        maps = [resample(conv(z), shape, self.grid) for conv, z in zip(self.decode, stages, strict=True)]
        return self.project(torch.cat([points, torch.stack(maps).sum(0)], dim=1))
