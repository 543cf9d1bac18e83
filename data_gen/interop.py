"""Files of other projects → our schema.

What a format cannot say is asked for or marked unknown, never guessed; and reading a file never
runs code from it.
"""

from pathlib import Path
from typing import Any

import numpy as np

from data_gen import storage
from data_gen.storage import Block, DatasetInfo, Grid, Header

BLOCK = 64


def convert(source: str | Path, target: str | Path, *, grid: Grid | None = None) -> DatasetInfo:
    """Read one file of another project into our schema.

    Parameters
    ----------
    source : path
        A ``.pt`` file of neuraloperator, ``{"x": (N, n, m), "y": (N, n, m)}``, `x` bool or real.
    target : path
        File to write; it must not exist.
    grid : {"vertices", "left"}, optional
        Kind of grid, ``left`` for neuraloperator's sets by default.

    Raises
    ------
    FileNotFoundError, FileExistsError, ValueError
        If `source` is missing or not what its suffix says, `target` exists, or a value is unfit.
    """
    source, target = Path(source), Path(target)
    if not source.exists():
        raise FileNotFoundError(f"{source}: no such file")
    if target.exists():
        raise FileExistsError(f"{target} exists; it is left as it is")
    if source.suffix not in READERS:
        raise ValueError(f"{source}: the suffix must be one of {', '.join(READERS)}")
    x, y = READERS[source.suffix](source)
    grid = grid or "left"
    indicator = x.dtype == bool
    for name, values in (("coefficient x", x), ("solution y", y)):
        if not np.isfinite(values).all():
            raise ValueError(f"{source}: {name} must be finite, got NaN or infinite values")
    if not indicator and not x.min() > 0:
        raise ValueError(f"{source}: coefficient x must be positive, its minimum is {x.min():g}")
    points = storage.vertices if grid == "vertices" else storage.left
    samples, n, m = x.shape
    attributes: dict[str, Any] = {
        "equation": storage.UNKNOWN,
        "boundary_condition": storage.UNKNOWN,
        "law": storage.UNKNOWN,
        "coefficient": "indicator" if indicator else "physical",
        "origin": source.name,
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    blocks = (
        Block(x[i : i + BLOCK].astype(np.float32), y[i : i + BLOCK, None].astype(np.float32))
        for i in range(0, samples, BLOCK)
    )
    storage.write(target, Header(samples, points(n), points(m), grid, attributes), blocks)
    return storage.read_info(target)


def read_neuralop(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients and solutions (N, n, m) of neuraloperator's ``.pt`` files."""
    import torch

    try:
        data = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(f"{path} is no .pt file of tensors") from error
    if not (isinstance(data, dict) and all(isinstance(data.get(key), torch.Tensor) for key in "xy")):
        raise ValueError(f"{path} must hold a dict of tensors x and y")
    x, y = data["x"], data["y"]
    if x.ndim == 4 and x.shape[1] == 1:
        x, y = x[:, 0], y[:, 0]
    if x.ndim != 3 or x.shape != y.shape:
        raise ValueError(f"{path}: x and y must be of one shape (N, n, m), got {tuple(x.shape)} and {tuple(y.shape)}")
    return x.numpy(), y.numpy()


READERS = {".pt": read_neuralop}
