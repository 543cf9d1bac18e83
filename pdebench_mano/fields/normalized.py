"""What users see of an operator: physical fields in, physical fields out, between an encoder and a decoder."""

from collections.abc import Hashable, Iterable
from functools import partial
from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.data import Dataset

from data_gen.grid import Kind
from pdebench_mano.fields.data import Pairs, View, fetch
from pdebench_mano.fields.operator import Fields, live_on
from pdebench_mano.fields.steps import Steps, Trajectories, roll


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


class Replay(Protocol):
    """``module(a)``, by whatever was recorded of it; `also` is what else decides the result."""

    def __call__(self, module: nn.Module, a: Tensor, also: Hashable = None) -> Tensor: ...


class NormalizedOperator(nn.Module):
    """decode ∘ operator ∘ encode: physical coefficient in, physical solution out.

    Parameters
    ----------
    operator : nn.Module
        Maps normalised fields to normalised fields.
    encoder, decoder : Normalizer
        Statistics of the coefficient and of the solution, from the training split.
    grid : {"vertices", "left", "periodic"}
        The kind of grid the fields live on; told to every part of the operator that uses coordinates.
    pairs : {"final", "step"}
        What it is trained on, see `pdebench_mano.fields.data.Dataset.view`.

    Attributes
    ----------
    replays : callable or None
        What predictions are recorded and replayed by, such as `pdebench_mano.machine.replays.Replays`; with
        None, each is computed anew.
    """

    replays: Replay | None = None

    def __init__(
        self,
        operator: nn.Module,
        encoder: Normalizer,
        decoder: Normalizer,
        grid: Kind = "vertices",
        pairs: Pairs = "final",
    ) -> None:
        super().__init__()
        self.operator, self.encoder, self.decoder, self.grid, self.pairs = operator, encoder, decoder, grid, pairs
        live_on(operator, grid)

    def forward(self, a: Fields) -> Fields:
        return self.decoder.decode(self.operator(self.encoder.encode(a)))

    @torch.no_grad()
    def predict(self, a: Fields, steps: int | None = None) -> Fields | Trajectories:
        """Solutions for inputs `a` (batch, channels, height, width), in physical units.

        Runs in evaluation mode on the operator's device; the result is on the device of `a`.

        Parameters
        ----------
        a : (batch, channels, height, width) tensor
            The inputs that it was trained on; of an operator of steps a state, then the inputs that are no state.
        steps : int, optional
            How many steps to take, each from the state that was predicted.

        Returns
        -------
        (batch, outputs, height, width) tensor, or (batch, steps, outputs, height, width) where steps are asked for

        Raises
        ------
        ValueError
            For steps of an operator that was not trained on them, or fewer than one.
        """
        if steps is not None and self.pairs != "step":
            raise ValueError(f"steps={steps} needs an operator trained with pairs='step', not {self.pairs!r}")
        device = next(self.parameters()).device
        mode = self.training
        self.eval()
        try:
            given, call = a.to(device), self if self.replays is None else partial(self.replays, self, also=self.grids())
            return (call(given) if steps is None else roll(call, given, steps)).to(a.device)
        finally:
            if mode:
                self.train()

    def grids(self) -> tuple[Kind, Kind | None]:
        """The kinds of grid that it and its operator were told."""
        return self.grid, getattr(self.operator, "grid", None)


def normalized(operator: nn.Module, data: Dataset[Any], grid: Kind | None = None) -> NormalizedOperator:
    """Wrap `operator` between normalisers fitted on `data`, which must be the training split alone.

    `grid` is the kind of grid; that of the data where they are a view of a file, else vertices.
    """
    pairs: Pairs = "step" if isinstance(data, Steps) else "final"
    if grid is None:
        grid = data.grid.kind if isinstance(data, View) else "vertices"
    parts = [range(start, min(start + 64, len(data))) for start in range(0, len(data), 64)]  # type: ignore[arg-type]
    encoder = Normalizer.fit(fetch(data, part)[0] for part in parts)
    decoder = Normalizer.fit(fetch(data, part)[1] for part in parts)
    return NormalizedOperator(operator, encoder, decoder, grid, pairs)
