"""Files that are whole whenever somebody looks, also after a kill."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to; what is there at the end takes the place of `path`, which never holds half of it.

    Parameters
    ----------
    path : Path
        In a folder that one process at a time writes to: the temporary file is always of the same name,
        so that the next attempt overwrites what a killed one has left.
    """
    temporary = path.with_name(f".{path.stem}.partial{path.suffix}")
    yield temporary
    descriptor = os.open(temporary, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.replace(path)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path`, in one piece."""
    with replacing(path) as temporary:
        temporary.write_text(text)
