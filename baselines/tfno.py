"""TFNO: an FNO whose spectral weights are Tucker-factorised (Kossaifi et al. 2024, arXiv 2310.00120)."""

from baselines.fno import FNO


class TFNO(FNO):
    """Tensorised Fourier neural operator.

    Parameters
    ----------
    in_channels, out_channels, modes, width, depth, period
        As for `FNO`.
    rank : float
        Fraction of the dense spectral weights that the factors hold.
    """

    paper = "Kossaifi et al. 2024, arXiv 2310.00120"

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        *,
        modes: int = 12,
        width: int = 48,
        depth: int = 4,
        period: float = 1.0,
        rank: float = 0.1,
    ) -> None:
        super().__init__(in_channels, out_channels, modes=modes, width=width, depth=depth, period=period, rank=rank)
