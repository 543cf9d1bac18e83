"""Where a run can be watched from outside while it trains: TensorBoard, Weights & Biases. Off by default.

A tracker is told each epoch's row of the history, and nothing it does changes the training.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from secrets import token_hex
from typing import Any

from data_gen.storage import write_text

Row = dict[str, int | float]
Watch = Callable[[Row], None]


@contextmanager
def tensorboard(out: Path, description: dict[str, Any]) -> Iterator[Watch]:
    """Event files in the folder ``tensorboard`` of the run; a resumed run adds one."""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(out / "tensorboard") as writer:

        def watch(row: Row) -> None:
            for name, value in row.items():
                if name != "epoch":
                    writer.add_scalar(name, value, row["epoch"])
            writer.flush()

        yield watch


@contextmanager
def wandb(out: Path, description: dict[str, Any]) -> Iterator[Watch]:
    """A run of the project ``pdebench-mano``, in the folder ``wandb`` of the run; ``WANDB_*`` say where it goes.

    A resumed run goes on under the same identifier, which is kept beside it.
    """
    import wandb as library

    identifier = out / "wandb-id"
    if not identifier.exists():
        write_text(identifier, token_hex(4))
    run = library.init(
        project="pdebench-mano",
        name=out.name,
        id=identifier.read_text(encoding="utf-8"),
        resume="allow",
        config=description["config"],
        dir=out,
    )
    with run:
        yield lambda row: run.log(row, step=int(row["epoch"]))


TRACKERS: dict[str, Callable[[Path, dict[str, Any]], AbstractContextManager[Watch]]] = {
    "tensorboard": tensorboard,
    "wandb": wandb,
}


def tracker(name: str | None, out: Path, description: dict[str, Any]) -> AbstractContextManager[Watch | None]:
    """Open a tracker for a run; None for none.

    Parameters
    ----------
    name : str or None
        One of `TRACKERS`.
    out : Path
        Folder of the run.
    description : dict
        What its ``config.json`` holds.

    Raises
    ------
    ValueError
        If there is no such tracker, or its library is not installed.
    """
    if name is None:
        return nullcontext()
    if name not in TRACKERS:
        raise ValueError(f"track must be one of {', '.join(TRACKERS)}, got {name!r}")
    if find_spec(name) is None:
        raise ValueError(f"track={name} needs the extra: pip install 'pdebench-mano[tracking]'")
    return TRACKERS[name](out, description)
