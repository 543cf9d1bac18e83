"""Ways in which a file can be another than the one that was written."""

import io
import json
from pathlib import Path

import h5py
import numpy as np

KINDS = ["missing", "empty", "half", "noise", "text", "json", "list", "hdf5", "zip", "folder", "circle"]

SPOILED = ["-nu", "-tensor", "-quality", "-x-coordinate", "nu~nan", "nu~-1", "tensor~inf", "tensor~7", "x-coordinate~7"]
SPOILED += ['schema:"x"', "schema_version:9", "beta:NaN", 'grid:"left"', 'recipe:"{}"', 'recipe:"["', 'equation:"x"']
"""Changes of a dataset file, see `damaged`."""

FOUND = [kind for kind in SPOILED if "~" in kind or kind.startswith(("-x", "beta", "grid", "equation"))]
"""Those that leave a file which can be read, and are found by what was sealed."""


def damaged(path: Path, kind: str) -> None:
    """Make a file what it should not be: of one of `KINDS`, with other TEXT (``=TEXT``), or with another value.

    Of a JSON file ``a.b:VALUE`` sets a value, of an HDF5 file ``name:VALUE`` an attribute; ``-name`` removes a dataset,
    and ``name~VALUE`` overwrites its middle, each without a new seal.
    """
    content = path.read_bytes() if path.is_file() else b""
    if kind in KINDS or kind.startswith("="):
        path.unlink(missing_ok=True)
    if kind == "folder":
        path.mkdir()
    elif kind == "circle":
        path.symlink_to(path)
    elif kind in KINDS or kind.startswith("="):
        if kind != "missing":
            path.write_bytes(other(content, kind))
    elif content.startswith(b"\x89HDF"):
        spoil_hdf5(path, kind)
    else:
        path.write_text(spoiled_json(content.decode(), kind))


def other(content: bytes, kind: str) -> bytes:
    """What lies there instead of a file's content."""
    if kind == "half":
        return content[: len(content) // 2]
    stream = io.BytesIO()
    if kind == "hdf5":
        with h5py.File(stream, "w") as file:
            file["x"] = np.ones(3)
    elif kind == "zip":
        np.savez(stream, x=np.ones(3))
    elif kind == "noise":
        stream.write(np.random.default_rng(0).bytes(max(64, len(content))))
    else:
        texts = {"empty": "", "text": "this is no such file\n", "json": '{"a": [1, 2, {}], "b": null}', "list": "[]"}
        stream.write(texts.get(kind, kind[1:]).encode())
    return stream.getvalue()


def spoiled_json(text: str, kind: str) -> str:
    """JSON with the value of ``a.b:VALUE``."""
    keys, _, value = kind.partition(":")
    whole = part = json.loads(text)
    *above, last = keys.split(".")
    for key in above:
        part = part[int(key) if key.isdecimal() else key]
    part[last] = json.loads(value)
    return json.dumps(whole)


def spoil_hdf5(path: Path, kind: str) -> None:
    """Change an HDF5 file as `damaged` says."""
    with h5py.File(path, "r+") as file:
        if kind.startswith("-"):
            del file[kind[1:]]
        elif "~" in kind:
            name, _, value = kind.partition("~")
            file[name][tuple(n // 2 for n in file[name].shape)] = float(value)
        else:
            name, _, value = kind.partition(":")
            file.attrs[name] = json.loads(value)
