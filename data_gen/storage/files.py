"""Files and folders that are whole whenever somebody looks, and folders that one process at a time writes to."""

import errno
import fcntl
import glob
import json
import math
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TextIO

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
        temporary.write_text(text, encoding="utf-8")


def read_json(path: Path, *keys: str) -> dict[str, Any]:
    """A JSON object that `write_text` wrote, and that has these keys.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file; if it is empty, cut off, or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: it is no JSON ({error})") from None
    missing = [key for key in keys if key not in content] if isinstance(content, dict) else ["an object"]
    if missing:
        raise ValueError(f"{path} is damaged, or another program's: it lacks {', '.join(missing)}")
    return content


def to_json(content: Any, otherwise: Callable[[float], Any] = lambda _: None, **options: Any) -> str:
    """Plain data as JSON, which knows no number that is not finite: such a one becomes what `otherwise` makes of it."""

    def finite(value: Any) -> Any:
        if isinstance(value, float) and not math.isfinite(value):
            return otherwise(value)
        if isinstance(value, dict):
            return {key: finite(each) for key, each in value.items()}
        return [finite(each) for each in value] if isinstance(value, list | tuple) else value

    return json.dumps(finite(content), allow_nan=False, **options)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Be the only process that writes to a file until the block ends.

    Raises
    ------
    FileExistsError
        If another process is about it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_name(f".{path.name}.lock"), path):
        yield


def leftovers(folder: Path) -> list[Path]:
    """Temporary files in a folder that nobody else writes to, also those of earlier versions."""
    return [*folder.glob(f".*.{PARTIAL}*"), *folder.glob(".*.tmp")]


@contextmanager
def locked(lock: Path, what: Path | None = None, wait: bool = False) -> Iterator[None]:
    """Hold the file `lock`, which is made, so that its folder is this process's alone until the block ends.

    Parameters
    ----------
    lock : Path
    what : Path, optional
        What is this process's alone, where that is not the folder; then nothing is left of `lock` in the end.
    wait : bool
        Whether to wait while another process holds it.

    Raises
    ------
    FileExistsError
        If another process holds it, and it is not waited for.
    """
    with ExitStack() as stack:
        while not _took(stack.enter_context(lock.open("w")), lock, wait):
            if not wait:
                raise FileExistsError(
                    f"{what or lock.parent} is in use by another process: try again when it has ended"
                )
        if what is not None:
            stack.callback(lock.unlink, missing_ok=True)
        yield


def _took(stream: TextIO, lock: Path, wait: bool) -> bool:
    """Whether an open file is this process's alone now, and still that lock: who held it may have removed it."""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(stream.fileno()), lock.stat())
    except (BlockingIOError, FileNotFoundError):
        return False


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
