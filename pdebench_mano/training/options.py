"""Options of a training, defined here alone: those of `fit`, of a run, and so of ``pdebench-mano train``."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from data_gen.counts import MOST
from data_gen.grid import Norm
from pdebench_mano.machine.typed import wrong
from pdebench_mano.training.names import said_in_full

Count = Annotated[int, Field(ge=1, le=MOST)]


class Training(BaseModel):
    """Options of `fit`; an unknown name or a value out of range is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    epochs: Count = 24
    """Passes over the training samples."""
    seconds: float | None = Field(None, gt=0)
    """Training time instead of a number of epochs, validation and checkpoints not counted."""
    batch_size: Count = 16
    """Samples in one step, over all processes."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """adamw; or muon, with adamw for what is no linear map."""
    lr: float = Field(1e-3, gt=0)
    """Learning rate."""
    weight_decay: float = Field(1e-4, ge=0)
    """Decoupled weight decay."""
    schedule: Literal["cosine", "one-cycle", "constant"] = "cosine"
    """Learning rate over training: cosine, half a cosine down to zero; one-cycle, a rise over the first fifth and a
    cosine down (Smith & Topin 2018); or constant."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Of weights, batches and augmentation."""
    loss: Literal["relative_l2", "half_squared_error", "cross_entropy"] = "relative_l2"
    """Training loss, on physical fields: relative_l2, half_squared_error or cross_entropy."""
    h1: float = Field(0.0, ge=0)
    """Weight of the relative error of the gradient in the loss; 0 for none."""
    norm: Norm = "points"
    """Norm of relative_l2, of its gradient's term and of validation: points, the mean over grid points; or integral,
    where on vertices those of an edge count half (the trapezoidal rule)."""
    clip_norm: float | None = Field(None, gt=0)
    """Largest norm of the gradient."""
    ema: float = Field(0.0, ge=0, lt=1)
    """Decay of the averaged weights that are validated and kept; 0 for none."""
    symmetries: bool = False
    """Augment by the symmetries of the problem on its grid: of Darcy flow all eight of the square on vertices; on a
    left grid, which reflections shift by a cell, the transposition."""
    unroll: Count = 1
    """Steps in a row that an operator of steps is trained over, each from the state it has predicted; the loss is their
    mean."""
    detach: bool = False
    """Let no gradient flow from a step of these into those before it."""
    noise: float = Field(0.0, ge=0)
    """Standard deviation of normal noise on the state that a step begins with, relative to its own over the grid."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """float32; or bfloat16, by autocast."""
    compile: bool = False
    """Compile the operator with torch.compile."""
    cuda_graphs: bool = False
    """On a GPU, record the step once and replay it."""
    alignment: bool = False
    """Compare the first update of every epoch with backpropagation's, layer by layer."""
    checkpoint_seconds: float = Field(30.0, ge=0)
    """Longest time between checkpoints within an epoch; each epoch ends with one."""


class RunConfig(Training):
    """What to train, on what and how."""

    operator: str
    """Registered name, module:Class or file.py:Class."""
    operator_args: dict[str, Any] = {}
    """key=value …, given to the operator: `operators NAME` lists them; or preset=NAME."""
    regime: str = "backprop"
    """How gradients are made: registered name, module:Class or file.py:Class."""
    regime_args: dict[str, Any] = {}
    """key=value …, given to the regime."""
    data: str
    """Dataset file."""
    pairs: Literal["final", "step"] = "final"
    """final, the inputs and the solution, in time the last one; or step, a state and the next one, from that at t = 0
    on, with the inputs that are no state beside it."""
    resolution: int | list[int] | None = None
    """Training resolution, an exact stride of the stored one, which is the default. Several, as 33,65: every step draws
    one of them, and the first is the one validated at."""
    validation: float = Field(0.1, gt=0, lt=1)
    """Fraction of the training samples set aside for choosing the epoch, where the file has no val split: the same
    samples for every operator and seed."""

    @model_validator(mode="before")
    @classmethod
    def _said_in_full(cls, fields: Any) -> Any:
        return said_in_full(fields) if isinstance(fields, dict) else fields

    @property
    def training(self) -> dict[str, Any]:
        """The part that `fit` takes."""
        return self.model_dump(include=set(Training.model_fields))


def parse_config(fields: dict[str, Any]) -> RunConfig:
    """Validate a configuration; the first problem becomes one line.

    Raises
    ------
    ValueError
        If a field is unknown or out of range.
    """
    try:
        return RunConfig(**fields)
    except ValidationError as error:
        raise ValueError(wrong(error, RunConfig, quoted=True)) from None
