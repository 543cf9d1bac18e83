"""U-NO: Fourier layers on a contracting and expanding sequence of grids (Rahman et al. 2022, arXiv 2204.11127).

neuraloperator's `UNO`, with the Fourier integrals of `baselines.fno` in place of its FFT.
"""

from contextlib import redirect_stdout
from functools import partial
from os import devnull
from pathlib import Path

from neuralop.layers.fno_block import FNOBlocks
from neuralop.models import UNO as NeuralopUNO

from baselines.fno import FourierConv, drop_metadata
from pdebench_mano.fields.operator import Fields, Operator, at_least


class UNO(Operator):
    """U-shaped neural operator of five Fourier layers, the inner three on half the points.

    Parameters
    ----------
    in_channels, out_channels : int
    modes : int
        Fourier modes kept per axis in the outer layers; the inner ones keep half of them.
    width : int
        Channels of the outer layers; the inner ones have twice as many.
    period : float
        Side of the periodic square that the domain is extended to by zero; 1 is no padding.

    Raises
    ------
    ValueError
        For fewer than four modes, no channel, or a period below 1; on calling, for fewer than three points a side.
    """

    paper = "Rahman et al. 2022, arXiv 2204.11127"
    receptive_field = "global, through the kept Fourier modes"

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        *,
        modes: int = 12,
        width: int = 32,
        period: float = 1.0,
    ) -> None:
        super().__init__()
        at_least(4, modes=modes)
        at_least(1, width=width)
        if period < 1:
            raise ValueError(f"period must be at least 1, got {period}")
        inner = modes // 2
        with Path(devnull).open("w") as sink, redirect_stdout(sink):  # neuraloperator 2.0.0 prints while it builds
            self.model = NeuralopUNO(
                in_channels=in_channels + 2,
                out_channels=out_channels,
                hidden_channels=width,
                lifting_channels=2 * width,
                projection_channels=2 * width,
                positional_embedding=None,
                n_layers=5,
                channel_mlp_skip="linear",
                uno_out_channels=[width, 2 * width, 2 * width, width, width],
                uno_n_modes=[[n, n] for n in (modes, inner, inner, inner, modes)],
                uno_scalings=[[1.0, 1.0], [0.5, 0.5], [1.0, 1.0], [2.0, 2.0], [1.0, 1.0]],
                operator_block=partial(FNOBlocks, conv_module=FourierConv),
            )
        for module in self.modules():
            if isinstance(module, FourierConv):
                module.period = period
        self.register_state_dict_post_hook(drop_metadata)

    def forward(self, a: Fields) -> Fields:
        at_least(3, points=min(a.shape[-2:]))
        return self.model(self.with_coordinates(a))
