"""neuraloperator's ``.pt``: a dict of tensors x, y (N, n, m) or (N, 1, n, m), x bool or real."""

from pathlib import Path

import h5py

from data_gen.formats.foreign import Foreign, Selection, pair

SUFFIXES = (".pt", ".pth")


def read(path: Path, file: h5py.File | None) -> Foreign | None:
    """All of a file with such a suffix, in memory; no code in it is run. None for other files.

    Raises
    ------
    ValueError
        If it is no file of tensors, or other tensors are in it.
    """
    if path.suffix not in SUFFIXES:
        return None
    import torch

    try:
        data = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(f"{path} is no .pt file of tensors") from error
    if not (isinstance(data, dict) and all(isinstance(data.get(key), torch.Tensor) for key in "xy")):
        raise ValueError(f"{path} must hold a dict of tensors x and y")
    a, u = (data[key][:, 0] if data[key].ndim == 4 and data[key].shape[1] == 1 else data[key] for key in "xy")
    try:
        return pair(
            path,
            *((tensor.float() if tensor.dtype == torch.bfloat16 else tensor).detach().numpy() for tensor in (a, u)),
        )
    except (TypeError, RuntimeError) as error:
        raise ValueError(f"{path}: tensors x and y must be plain arrays: {error}") from error


def write(data: Selection, path: Path) -> None:
    """A dict of tensors x and y; x is bool where the coefficient only names phases."""
    import torch

    a, u = data.arrays()
    torch.save({"x": torch.from_numpy(a.astype(bool) if data.indicator else a), "y": torch.from_numpy(u)}, path)
