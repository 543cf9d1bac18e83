"""The papers' setting: fully connected orthogonal networks on rows, and the same as an operator on one grid."""

from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from pdebench_mano.fields.lattice import resample
from pdebench_mano.fields.operator import Fields, at_least
from pdebench_mano.orthogonal.chain import Chain
from pdebench_mano.orthogonal.linear import OrthogonalLinear

Rows = Float[Tensor, "batch features"]


class OrthogonalMLP(Chain):
    """h_l = φ(h_{l-1} W_lᵀ), y = h_{L-1} W_Lᵀ, with orthogonal W_l.

    Parameters
    ----------
    widths : list of int
        Features of the input, of every hidden layer, of the output: at least one hidden layer.
    activation : str
        One of `pdebench_mano.orthogonal.ACTIVATIONS`; none follows the last layer.
    bias : bool
        Whether every layer adds one.
    free_head : bool
        Leave the last layer unconstrained, so that the scale of the output is not bound to that of
        the input. No error is carried through it.
    constrained : bool
        If not, no layer is: an ordinary network that starts orthogonal.

    Raises
    ------
    ValueError
        For fewer than three widths or an unknown activation.
    """

    paper = "FOTON, arXiv 2512.20668"
    receptive_field = "global"

    def __init__(
        self,
        widths: list[int],
        activation: str = "relu",
        bias: bool = False,
        *,
        free_head: bool = False,
        constrained: bool = True,
    ) -> None:
        if len(widths) < 3:
            raise ValueError(f"widths must name input, hidden and output features, got {widths}")
        layers = [OrthogonalLinear(m, n, bias=bias, constrained=constrained) for m, n in pairwise(widths)]
        layers[-1].constrained = constrained and not free_head
        super().__init__(layers[0], [*layers[1:-1]], layers[-1], activation)

    @property
    def weights(self) -> list[nn.Parameter]:
        """W_1 … W_L (out, in), leaf parameters, input to output."""
        return [layer.weight for layer in self.layers if isinstance(layer, OrthogonalLinear)]


class GridMLP(OrthogonalMLP):
    """Orthogonal perceptron on all points of one square grid, to which fields on another grid are resampled.

    The forward-only regimes train it on its own grid alone.

    Parameters
    ----------
    in_channels, out_channels : int
    resolution : int
        Points a side of its own grid.
    width, depth : int
        Features of the hidden layers; number of layers, lift and head included.
    activation, bias, constrained
        As of `OrthogonalMLP`. The head is free.

    Raises
    ------
    ValueError
        For a depth below 2 or a width below 1; for embedding fields on another grid.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        *,
        resolution: int = 16,
        width: int = 256,
        depth: int = 3,
        activation: str = "relu",
        bias: bool = True,
        constrained: bool = True,
    ) -> None:
        at_least(2, resolution=resolution, depth=depth)
        at_least(1, width=width)
        points = resolution**2
        widths = [in_channels * points, *[width] * (depth - 1), out_channels * points]
        super().__init__(widths, activation, bias, free_head=True, constrained=constrained)
        self.resolution = resolution

    def forward(self, a: Fields) -> Fields:
        own = resample(a, (self.resolution, self.resolution), self.grid)
        return resample(super().forward(own), (a.shape[-2], a.shape[-1]), self.grid)

    def embed(self, a: Fields) -> Rows:
        if a.shape[-2:] != (self.resolution, self.resolution):
            n = self.resolution
            raise ValueError(f"this perceptron is trained on its own grid, {n}×{n}, got {a.shape[-2]}×{a.shape[-1]}")
        return a.flatten(1)

    def unembed(self, y: Rows, a: Fields) -> Fields:
        return y.unflatten(1, (-1, *a.shape[-2:]))
