"""What every neural operator of the suite is: a ↦ u on [0, 1]², for any grid.

An operator is a module called as ``Class(in_channels=…, out_channels=…, **arguments)``
that maps fields (batch, channels, height, width) to fields on the same grid. No
constructor takes a grid size. `NormalizedOperator` wraps one between an encoder and
a decoder, so that what users see maps physical fields to physical fields.
"""

from collections.abc import Iterable
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

Fields = Float[Tensor, "batch _ height width"]
"""Any number of channels: within one call, batch and grid agree and channels may differ."""
Grid = Literal["vertices", "left"]


def coordinates(
    height: int,
    width: int,
    grid: Grid = "vertices",
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Float[Tensor, "2 height width"]:
    """Coordinates (x, y) of the grid points of [0, 1]², x along the first axis.

    Parameters
    ----------
    height, width : int
        Number of points along x and y, at least 2 each on vertices.
    grid : {"vertices", "left"}
        ``vertices``: both ends belong to the grid, xᵢ = i/(height-1).
        ``left``: every cell is represented by its left end, xᵢ = i/height.

    Returns
    -------
    (2, height, width) tensor

    Raises
    ------
    ValueError
        For another kind of grid, or one with too few points.
    """
    if grid not in ("vertices", "left"):
        raise ValueError(f"grid must be 'vertices' or 'left', got {grid!r}")
    ends = 1 if grid == "vertices" else 0
    if min(height, width) < 1 + ends:
        raise ValueError(f"a grid of {grid} needs at least {1 + ends} points a side, got {height}×{width}")
    x = torch.arange(height, device=device, dtype=dtype or torch.get_default_dtype()) / (height - ends)
    y = torch.arange(width, device=device, dtype=x.dtype) / (width - ends)
    return torch.stack(torch.meshgrid(x, y, indexing="ij"))


def at_least(least: int, **sizes: int) -> None:
    """Refuse an argument below `least`: ``at_least(1, width=width, depth=depth)``.

    Raises
    ------
    ValueError
        Names the first of `sizes` that is.
    """
    for name, value in sizes.items():
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")


class Operator(nn.Module):
    """Base class of the suite's own operators; a user's operator needs none.

    Attributes
    ----------
    grid : {"vertices", "left"}
        The kind of grid that fields live on; set when the operator is wrapped for a dataset.
    paper : str
        Where the operator was published.
    receptive_field : str
        Which inputs one output value may depend on.
    """

    grid: Grid = "vertices"
    paper: ClassVar[str] = ""
    receptive_field: ClassVar[str] = ""

    def with_coordinates(self, a: Fields) -> Fields:
        """Append the two coordinate channels of the operator's grid to `a`."""
        x = coordinates(a.shape[-2], a.shape[-1], self.grid, device=a.device, dtype=a.dtype)
        return torch.cat([a, x.expand(a.shape[0], -1, -1, -1)], dim=1)


class Normalizer(nn.Module):
    """Affine map per channel to zero mean and unit variance.

    Parameters
    ----------
    mean, std : (channels,) tensors
        Statistics of the training split, in the units of the field. A constant channel is only shifted.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Float[Tensor, " channels"], std: Float[Tensor, " channels"]) -> None:
        super().__init__()
        self.register_buffer("mean", mean.clone())
        self.register_buffer("std", torch.where(std > 0, std, torch.ones_like(std)))

    @classmethod
    def identity(cls, channels: int) -> "Normalizer":
        """The normaliser that changes nothing."""
        return cls(torch.zeros(channels), torch.ones(channels))

    @classmethod
    def fit(cls, batches: Iterable[Tensor]) -> "Normalizer":
        """Mean and standard deviation over samples and points of (batch, channels, height, width) tensors.

        Accumulated in float64, batch by batch.

        Batches are merged by the pairwise update of Chan, Golub & LeVeque (1983), which does not
        cancel where the mean is large beside the spread.

        Raises
        ------
        ValueError
            If there is no batch.
        """
        count, mean, squares = 0, torch.zeros(()), torch.zeros(())
        for batch in batches:
            values = batch.detach().to("cpu", torch.float64).transpose(0, 1).flatten(1)
            n, m = values.shape[1], values.mean(1)
            delta = m - mean
            squares = squares + (values - m[:, None]).square().sum(1) + delta**2 * count * n / (count + n)
            mean = mean + delta * n / (count + n)
            count += n
        if count == 0:
            raise ValueError("a normaliser needs at least one batch to be fitted on")
        return cls(mean.float(), (squares / count).sqrt().float())

    def encode(self, field: Fields) -> Fields:
        """Physical units → normalised."""
        return (field - self.mean[:, None, None]) / self.std[:, None, None]

    def decode(self, field: Fields) -> Fields:
        """Normalised → physical units."""
        return field * self.std[:, None, None] + self.mean[:, None, None]


class NormalizedOperator(nn.Module):
    """decode ∘ operator ∘ encode: physical coefficient in, physical solution out.

    Parameters
    ----------
    operator : nn.Module
        Maps normalised fields to normalised fields.
    encoder, decoder : Normalizer
        Statistics of the coefficient and of the solution, from the training split.
    grid : {"vertices", "left"}
        The kind of grid the fields live on; told to every part of the operator that uses coordinates.
    """

    def __init__(self, operator: nn.Module, encoder: Normalizer, decoder: Normalizer, grid: Grid = "vertices") -> None:
        super().__init__()
        self.operator, self.encoder, self.decoder, self.grid = operator, encoder, decoder, grid
        for module in operator.modules():
            if isinstance(module, Operator):
                module.grid = grid

    def forward(self, a: Fields) -> Fields:
        return self.decoder.decode(self.operator(self.encoder.encode(a)))

    @torch.no_grad()
    def predict(self, a: Fields) -> Fields:
        """Solutions for coefficients `a` (batch, channels, height, width), in physical units.

        Runs in evaluation mode on the operator's device; the result is on the device of `a`.
        """
        device = next(self.parameters()).device
        mode = self.training
        self.eval()
        try:
            return self(a.to(device)).to(a.device)
        finally:
            self.train(mode)
