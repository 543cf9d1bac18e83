"""neuraloperator's ``.pt``: a dict of tensors x, y (N, n, m) or (N, channels, n, m), x bool or real.

One channel is written without its axis, as `PTDataset` reads it with ``channels_squeezed=True``.
"""

from pathlib import Path
from typing import Any

import numpy as np

from data_gen.formats.arrays import of_arrays
from data_gen.formats.foreign import Foreign, Source, Values, pair
from data_gen.formats.selection import Selection

SUFFIXES = (".pt", ".pth")


def read(source: Source) -> Foreign | None:
    """All of a file with such a suffix, in memory; no code in it is run. None for other files.

    One channel x that is positive, or names phases, is the coefficient of Darcy flow, and one channel y its solution.

    Raises
    ------
    ValueError
        If it is no file of tensors, or other tensors are in it.
    """
    path = source.path
    if path.suffix not in SUFFIXES:
        return None
    import torch

    try:
        data = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(f"{path} is no .pt file of tensors") from error
    tensors = {
        key: value for key, value in (data.items() if isinstance(data, dict) else ()) if isinstance(value, torch.Tensor)
    }
    if not source.told and not {"x", "y"} <= tensors.keys():
        raise ValueError(f"{path} must hold a dict of tensors x and y")
    try:
        arrays: dict[str, Values] = {str(key): _array(value) for key, value in tensors.items()}
    except (TypeError, RuntimeError) as error:
        raise ValueError(f"{path}: tensors x and y must be plain arrays: {error}") from error
    if source.told:
        return of_arrays(source, arrays, {})
    a, u = (_squeezed(np.asarray(arrays[key])) for key in "xy")
    if a.ndim == u.ndim == 3 and not (a.dtype.kind in "if" and (a <= 0).any()):
        return pair(path, a, u, array=arrays.get)
    if {a.ndim, u.ndim} <= {3, 4}:
        return of_arrays(source, arrays, {})
    raise ValueError(f"{path}: x and y must be (N, n, m) or (N, channels, n, m), got {a.shape} and {u.shape}")


def _array(tensor: Any) -> np.ndarray:
    import torch

    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).detach().numpy()


def _squeezed(values: np.ndarray) -> np.ndarray:
    return values[:, 0] if values.ndim == 4 and values.shape[1] == 1 else values


def write(data: Selection, path: Path) -> None:
    """A dict of tensors x and y; x is bool where the coefficient only names phases.

    Raises
    ------
    ValueError
        For solutions in time, of which the layout knows nothing.
    """
    import torch

    if data.info.times:
        raise data.refuse("neuraloperator's .pt", "no time")
    a, u = data.arrays()
    x, y = _squeezed(a.astype(bool) if data.indicator else a), _squeezed(u[:, 0])
    torch.save({"x": torch.from_numpy(x), "y": torch.from_numpy(y)}, path)
