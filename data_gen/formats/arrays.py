"""Named arrays: ``.npz``, ``.npy`` files side by side, and any HDF5, MATLAB or PyTorch file of arrays.

As written, all that our schema says of samples is there: ``a`` (N, inputs, n, m), ``u`` (N, outputs, n, m) or, in time,
(N, times, outputs, n, m), ``t``, ``x``, ``y``, ``split_NAME`` (indices), and words: ``grid``, ``lengths``, ``fields``.
"""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from data_gen.formats.assembled import assemble
from data_gen.formats.foreign import Foreign, Source, Told, Values, plain_attributes
from data_gen.formats.selection import Selection
from data_gen.problem import Field

SUFFIXES = (".npz", ".npy")
SPLIT = "split_"


def read(source: Source) -> Foreign | None:
    """A file or a folder of named arrays; a ``.npy`` is itself the input. None for a file that holds none.

    Raises
    ------
    ValueError
        If it is damaged, or does not say what is what, see `data_gen.formats.assembled`.
    """
    path, file = source.path, source.file
    if file is not None:
        arrays, attributes = of_hdf5(file), plain_attributes(file.attrs)
        units = {name: file[name].attrs["units"] for name in arrays if "units" in file[name].attrs}
        attributes |= {f"units of {name}": each for name, each in plain_attributes(units).items()}
    elif path.is_dir() or path.suffix in SUFFIXES:
        arrays, attributes = (_of_npz(path) if path.suffix == ".npz" and path.is_file() else _of_npy(path)), {}
    else:
        return None
    told = source.told
    if path.suffix == ".npy" and told.outputs and not told.inputs and path.stem not in told.outputs:
        source = replace(source, told=replace(told, inputs=(path.stem,)))
    return of_arrays(source, arrays, attributes)


def of_arrays(source: Source, arrays: Mapping[str, Values], attributes: Mapping[str, Any]) -> Foreign:
    """Named arrays, and what stands beside them where `write` has written them.

    Raises
    ------
    ValueError
        If they do not say what is what, or other fields than there are channels.
    """
    if source.told or "fields" not in arrays or arrays["fields"].dtype.kind != "U":
        return assemble(source, arrays, attributes=attributes)
    axes = "scxy,stcxy" if "t" in arrays else "scxy"
    foreign = assemble(replace(source, told=Told(("a",), ("u",), axes)), arrays, kind=_word(arrays, "grid"))
    said = json.loads(str(_word(arrays, "fields")))
    inputs, outputs = (tuple(Field(**each) for each in said[name]) for name in ("inputs", "outputs"))
    if (len(inputs), len(outputs)) != (len(foreign.inputs), len(foreign.outputs)):
        raise ValueError(f"{source.path} names {len(inputs)} inputs and {len(outputs)} outputs, and holds others")
    splits = {name.removeprefix(SPLIT): np.asarray(arrays[name][...]) for name in arrays if name.startswith(SPLIT)}
    return replace(foreign, inputs=inputs, outputs=outputs, signs=True, splits=splits, notes=())


def _word(arrays: Mapping[str, Values], name: str) -> Any:
    return np.asarray(arrays[name][...]).reshape(-1)[0].item() if name in arrays else None


def _of_npz(path: Path) -> dict[str, Values]:
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is no .npz file of plain arrays, or a truncated one: {error}") from error


def _of_npy(path: Path) -> dict[str, Values]:
    """The ``.npy`` files of a folder, or those beside a file, by their stems; read where they lie."""
    files = sorted((path if path.is_dir() else path.parent).glob("*.npy"))
    arrays: dict[str, Values] = {}
    for each in files:
        try:
            arrays[each.stem] = np.lib.format.open_memmap(each, mode="r")
        except (OSError, ValueError) as error:
            raise ValueError(f"{each} is no .npy file of a plain array, or a truncated one: {error}") from error
    return arrays


class Reversed:
    """A dataset of MATLAB's version 7.3, which has its axes in the other order."""

    def __init__(self, dataset: h5py.Dataset) -> None:
        self.dataset, self.shape = dataset, dataset.shape[::-1]
        self.dtype = np.dtype(bool) if dataset.attrs.get("MATLAB_class") == b"logical" else dataset.dtype

    def __getitem__(self, index: Any) -> np.ndarray:
        if index is Ellipsis:
            return self.dataset[()].T
        index = index if isinstance(index, tuple) else (index,)
        whole = index + (slice(None),) * (len(self.shape) - len(index))
        return self.dataset[whole[::-1]].T.astype(self.dtype)


def of_hdf5(file: h5py.File) -> dict[str, Values]:
    """The datasets of an HDF5 file by their paths; those of MATLAB with the axes that it has."""
    arrays: dict[str, Values] = {}
    matlab = file.userblock_size == 512

    def add(name: str, item: h5py.Dataset | h5py.Group) -> None:
        if isinstance(item, h5py.Dataset) and item.shape is not None:
            arrays[name] = Reversed(item) if matlab or "MATLAB_class" in item.attrs else item

    file.visititems(add)
    return arrays


def write(data: Selection, path: Path) -> None:
    """All that our schema says of samples, in one ``.npz``."""
    a, u = data.arrays()
    info = data.info
    said = {name: [each._asdict() for each in getattr(info, name)] for name in ("inputs", "outputs")}
    arrays: dict[str, Any] = {
        "a": a.astype(bool) if data.indicator else a,
        "u": u if info.times else u[:, 0],
        "x": data.x,
        "y": data.y,
        "grid": np.array(info.grid.kind),
        "fields": np.array(json.dumps(said)),
        **({"t": np.array(info.times)} if info.times else {}),
        **{SPLIT + name: indices for name, indices in data.splits().items()},
    }
    with path.open("wb") as stream:
        np.savez(stream, **arrays)
