"""What a run folder says, for whoever looks at runs without PyTorch; see `pdebench_mano.training.runs`."""

from os.path import lexists
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, NonNegativeFloat, PositiveInt

from data_gen.grid import Kind
from data_gen.storage import read_json
from pdebench_mano.fields.samples import Samples
from pdebench_mano.machine.typed import typed
from pdebench_mano.training import archive
from pdebench_mano.training.names import of_today
from pdebench_mano.training.options import RunConfig, parse_config

STANDING, BEST, HISTORY, SAMPLES = "checkpoint.pt", "best.pt", "history.csv", "samples.json"


def read_config(run: str | Path) -> RunConfig:
    """The configuration a run folder was made with.

    Raises
    ------
    ValueError, OSError
        If there is no such run, or its file holds something else.
    """
    described = read_description(Path(run))["config"]
    try:
        return parse_config(described)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{Path(run) / 'config.json'} holds no configuration of a run: {error}") from error


def training_resolution(run: str | Path) -> int:
    """The resolution a run was trained at."""
    return int(read_description(Path(run))["data"]["resolution"])


def trained_on(run: str | Path) -> str:
    """Digest of the dataset that a run was trained on."""
    return str(read_description(Path(run))["data"]["digest"])


def samples_of(run: str | Path) -> Samples | None:
    """The samples that a run was trained on or validated with.

    Of a run of an earlier version, which did not keep them, they are read off its data, if these are there still; None
    where they are not.
    """
    path = Path(run) / SAMPLES
    if lexists(path):
        return Samples.read(path)
    if not Path(read_config(run).data).exists():
        return None
    from pdebench_mano.training.runs import samples_in_data  # with PyTorch

    return samples_in_data(run)


def weights_of(run: Path) -> str:
    """SHA-256 of the weights that a run is evaluated with, see `pdebench_mano.training.checkpoint.digest`.

    Raises
    ------
    FileNotFoundError, ValueError
        If there are none, or they are damaged.
    """
    try:
        return archive.digest(run / BEST, "operator")
    except archive.NotPlain:
        from pdebench_mano.training import checkpoint  # which says what is wrong, or reads what is not plain

        return checkpoint.digest(checkpoint.weights(run))


def read_summary(run: str | Path) -> dict[str, Any]:
    """What a finished run took and reached.

    Raises
    ------
    ValueError
        If the run is not finished, or its ``summary.json`` or ``best.pt`` is damaged or gone.
    """
    run = Path(run)
    try:
        summary = read_json(run / "summary.json", "best_epoch", "best_validation", "seconds")
    except FileNotFoundError:
        read_description(run)
        raise ValueError(f"{run} is not finished: the same train command again goes on with it") from None
    typed(_Summary, summary, run / "summary.json")
    if not (run / BEST).exists():
        raise ValueError(f"{run} has lost its {BEST}: remove the folder, and train again")
    return summary


def read_description(run: Path) -> dict[str, Any]:
    """What was asked for, and of which data, in today's words.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such run, or its ``config.json`` holds something else.
    """
    path = run / "config.json"
    try:
        description = read_json(path, "config", "data", "environment")
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"{run} is not a run folder: it has no config.json") from None
    typed(_Description, description, path)
    return description | {"config": of_today(description["config"])}


class _Data(BaseModel):
    """What `train` keeps of the dataset, as far as every version did."""

    digest: str
    grid: Kind
    resolution: PositiveInt
    channels: list[PositiveInt] = Field(min_length=2, max_length=2)


class _Description(BaseModel):
    """What ``config.json`` holds."""

    config: dict[str, Any]
    data: _Data
    environment: dict[str, str]
    sources: dict[str, str] = {}


class _Summary(BaseModel):
    """What ``summary.json`` holds at least."""

    best_epoch: PositiveInt
    best_validation: float
    seconds: NonNegativeFloat
    parameters: PositiveInt = 1
