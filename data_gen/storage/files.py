"""Files and folders that are whole whenever somebody looks, and folders that one process at a time writes to."""

import errno
import fcntl
import glob
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DISK_FULL = tuple(map(os.strerror, (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)))
PARTIAL = "partial"


@contextmanager
def atomic(path: Path, scratch: Path | None = None) -> Iterator[Path]:
    """A temporary path that becomes `path`, on the disk, when the block ends well, and vanishes when it does not.

    The block makes a file of it, or a folder of files. What a killed process has left of it is removed on the way.

    Parameters
    ----------
    path : Path
        Where the complete file shall be, or the folder, where no other is but an empty one.
    scratch : Path, optional
        Folder of the temporary file, on the same file system; that of `path` by default.

    Raises
    ------
    OSError
        If the disk is full; nothing is left half-written.
    """
    folder = scratch or path.parent
    before, after = f".{path.stem}.{platform.node()}-", f".{PARTIAL}{path.suffix}"
    for leftover in folder.glob(f"{glob.escape(before)}*{glob.escape(after)}"):
        process = leftover.name.removeprefix(before).removesuffix(after)
        if process.isdecimal() and not _is_alive(int(process)):
            _remove(leftover)
    temporary = folder / f"{before}{os.getpid()}{after}"
    try:
        yield temporary
        for each in (*temporary.glob("*"), temporary):
            _sync(each)
        temporary.replace(path)
        _sync(path.parent)
    except OSError as error:
        for reason in DISK_FULL:
            if reason in str(error):
                raise OSError(f"{path} could not be written: {reason.lower()}; nothing is left half-written") from error
        raise
    finally:
        _remove(temporary)


def flush_early(path: Path) -> None:
    """Let the system begin to write what it holds of a file, so that the wait for the disk at the end is short."""
    if hasattr(os, "posix_fadvise"):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path`, in one piece."""
    with atomic(path) as temporary:
        temporary.write_text(text)


def leftovers(folder: Path) -> list[Path]:
    """Temporary files in a folder that nobody else writes to, also those of earlier versions."""
    return [*folder.glob(f".*.{PARTIAL}*"), *folder.glob(".*.tmp")]


@contextmanager
def locked(lock: Path) -> Iterator[None]:
    """Hold the file `lock`, which is made, so that its folder is this process's alone until the block ends.

    Raises
    ------
    FileExistsError
        If another process holds it.
    """
    with lock.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FileExistsError(f"{lock.parent} is in use by another process") from None
        yield


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
