"""What a folder keeps of a training: where it stands, from which it goes on to the last bit, its best weights, and how
each epoch went.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from data_gen.storage import atomic, write_text
from pdebench_mano.training.folder import BEST, HISTORY


def tensors(module: nn.Module) -> dict[str, Tensor]:
    """The state of a module, but for what is no tensor: libraries keep constructor arguments there."""
    return {name: value for name, value in module.state_dict().items() if isinstance(value, Tensor)}


def write(state: dict[str, Any], path: Path) -> None:
    """Write tensors and plain values, in one piece."""
    with atomic(path) as temporary, temporary.open("wb") as file:
        torch.save(state, file)


def write_history(epochs: Sequence[dict[str, int | float]], folder: Path) -> None:
    """Write ``folder/history.csv``, a row for each epoch, in one piece."""
    write_text(folder / HISTORY, pd.DataFrame(epochs).to_csv(index=False))


def digest(state: dict[str, Tensor]) -> str:
    """SHA-256 of the names and the bytes of tensors, on whatever device."""
    value = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        value.update(name.encode() + tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return value.hexdigest()


def read(path: Path, device: torch.device | str) -> dict[str, Any]:
    """Read back what `write` wrote, with its tensors on `device`.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file; if it is empty, cut off, or holds something else.
    """
    try:
        state = torch.load(path, weights_only=True, map_location=device)
    except FileNotFoundError:
        raise
    except Exception as error:  # of a zip, a pickle or a tensor, whichever is cut off first
        raise ValueError(f"{path} is damaged: {type(error).__name__} while it was read") from error
    if not (isinstance(state, dict) and isinstance(state.get("operator"), dict)):
        raise ValueError(f"{path} is damaged, or another program's: it holds no operator")
    return state


def weights(run: Path) -> dict[str, Tensor]:
    """The best weights of a run, on the CPU.

    Raises
    ------
    FileNotFoundError, ValueError
        As `read`.
    """
    return read(run / BEST, "cpu")["operator"]
