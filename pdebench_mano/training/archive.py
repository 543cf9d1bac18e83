"""Tensors in a file of `torch.save`, as plain arrays: for what needs their bytes alone, and no PyTorch.

The file is a zip archive. Its ``data.pkl`` says what was saved, its ``data/KEY`` are the bytes of each storage. Nothing
that is named in it runs: dictionaries and strided tensors are read, and whatever else there is, is refused.
"""

import hashlib
import pickle
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np

BYTES = {
    "BoolStorage": 1,
    "ByteStorage": 1,
    "CharStorage": 1,
    "ShortStorage": 2,
    "HalfStorage": 2,
    "BFloat16Storage": 2,
    "IntStorage": 4,
    "FloatStorage": 4,
    "LongStorage": 8,
    "DoubleStorage": 8,
    "ComplexFloatStorage": 8,
    "ComplexDoubleStorage": 16,
}
"""Of one number, by what PyTorch calls a storage of such."""


class NotPlain(ValueError):
    """The file is damaged, or holds more than dictionaries of strided tensors."""


def digest(path: Path, what: str) -> str:
    """SHA-256 of the names and the bytes of the tensors in a saved dictionary, under one of its keys.

    It is that of `pdebench_mano.training.checkpoint.digest`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    NotPlain
        If it has to be read otherwise.
    """
    value = hashlib.sha256()
    try:
        for name, tensor in sorted(read(path)[what].items()):
            value.update(name.encode() + tensor.tobytes())
    except FileNotFoundError:
        raise
    except Exception as error:  # of a zip, a pickle or an array, whichever it is
        raise NotPlain(f"{path} is not read without PyTorch: {error}") from error
    return value.hexdigest()


def read(path: Path) -> Any:
    """What was saved, its tensors as arrays of bytes, one item a number."""
    with ZipFile(path) as archive:
        (pickled,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
        folder = pickled.removesuffix("data.pkl")
        if archive.read(f"{folder}byteorder").decode() != sys.byteorder:
            raise pickle.UnpicklingError("its bytes are in another order")
        with archive.open(pickled) as stream:
            return _Plain(stream, archive, f"{folder}data/").load()


class _Plain(pickle.Unpickler):
    def __init__(self, stream: Any, archive: ZipFile, folder: str) -> None:
        super().__init__(stream)
        self.archive, self.folder = archive, folder

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if module == "torch" and name in BYTES:
            return np.dtype(f"V{BYTES[name]}")
        raise pickle.UnpicklingError(f"it holds {module}.{name}")

    def persistent_load(self, pid: Any) -> tuple[np.dtype, bytes]:
        _, dtype, key, *_ = pid
        return dtype, self.archive.read(self.folder + key)


def _tensor(
    storage: tuple[np.dtype, bytes],
    offset: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    requires_grad: bool,
    hooks: Any,
) -> np.ndarray:
    """The arguments of `torch._utils._rebuild_tensor_v2`; one that is conjugated or negated has more."""
    dtype, content = storage
    size = dtype.itemsize
    return np.ndarray(shape, dtype, content, offset * size, [size * each for each in strides])
