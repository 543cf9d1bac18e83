"""What is there is whole; what a dead process left goes; a folder has one holder."""

import fcntl
import platform
import subprocess
import sys
from contextlib import ExitStack

import pytest

from data_gen.storage import atomic, leftovers, locked, write_text


@pytest.fixture
def dead():
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.fixture
def living():
    """The number of another process, which runs."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process.pid
    process.communicate(b"\n")


def test_only_what_dead_processes_of_this_machine_left_of_this_file_goes(tmp_path, dead, living):
    here = platform.node()
    left = {
        f".d[1].{here}-{dead}.partial.txt": False,
        f".d[1].{here}-{living}.partial.txt": True,
        f".d[1].{here}-2-{dead}.partial.txt": True,  # of a machine whose name begins like this one's
        f".d[1].elsewhere-{dead}.partial.txt": True,
        f".e.{here}-{dead}.partial.txt": True,
        f".d[1].{here}-{dead}.partial.csv": True,
    }
    for name in left:
        (tmp_path / name).write_text("half")
    write_text(tmp_path / "d[1].txt", "whole")
    assert (tmp_path / "d[1].txt").read_text() == "whole"
    assert {name: (tmp_path / name).exists() for name in left} == left
    (tmp_path / ".d.hdf5.123.tmp").write_text("half, of an earlier version")
    assert {path.name for path in leftovers(tmp_path)} == {name for name in left if left[name]} | {".d.hdf5.123.tmp"}


@pytest.mark.parametrize("scratch", [None, "scratch"])
def test_a_block_that_raises_leaves_the_old_file_alone(tmp_path, scratch):
    path, folder = tmp_path / "d.txt", tmp_path / (scratch or "")
    folder.mkdir(exist_ok=True)
    write_text(path, "old")

    def interrupted():
        with atomic(path, folder) as temporary:
            temporary.write_text("ne")
            assert (temporary.parent, temporary.suffix) == (folder, ".txt")
            assert leftovers(folder) == [temporary]
            assert path.read_text() == "old"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [path]


def test_a_lock_has_one_holder(tmp_path):
    attempt = "from data_gen.storage import locked; import pathlib, sys\nwith locked(pathlib.Path(sys.argv[1])): pass"
    command = [sys.executable, "-c", attempt, tmp_path / "lock"]
    with locked(tmp_path / "lock"):
        second = subprocess.run(command, capture_output=True, text=True, check=False)
        said = f"FileExistsError: {tmp_path} is in use by another process: try again when it has ended"
        assert second.stderr.splitlines()[-1] == said
        with pytest.raises(FileExistsError, match="in use"), locked(tmp_path / "lock"):
            pass
    assert subprocess.run(command, check=False).returncode == 0


@pytest.mark.parametrize("what", ["file", None])
def test_who_waits_for_a_lock_has_it_next_be_it_removed_or_not(tmp_path, monkeypatch, what):
    lock, flock, before = tmp_path / "lock", fcntl.flock, ExitStack()
    what = what and tmp_path / what
    before.enter_context(locked(lock, what))

    def meanwhile(stream, how):
        if not how & fcntl.LOCK_NB:
            before.close()
        flock(stream, how)

    monkeypatch.setattr(fcntl, "flock", meanwhile)
    with locked(lock, what, wait=True), pytest.raises(FileExistsError, match="in use"), locked(lock, what):
        pass
    assert lock.exists() == (what is None)


def test_a_folder_is_there_whole_or_not_at_all(tmp_path, dead):
    left = tmp_path / f".d.{platform.node()}-{dead}.partial"
    left.mkdir()
    (left / "half").write_text("half")

    def written(interrupted):
        with atomic(tmp_path / "d") as temporary:
            temporary.mkdir()
            (temporary / "a").write_text("whole")
            if interrupted:
                assert not (tmp_path / "d").exists()
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        written(True)
    assert not list(tmp_path.iterdir())
    written(False)
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == ["d", "d/a"]
    with pytest.raises(OSError, match="not empty"):
        written(False)
    assert list(tmp_path.iterdir()) == [tmp_path / "d"]
