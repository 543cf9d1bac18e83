"""A name stands for one object; a user's own file is executed once as long as it stays the same."""

import hashlib
from pathlib import Path

import pytest

from data_gen.lookup import find, source_sha256

KNOWN = {"known": 3, "later": "math:pi"}


def test_registered_names_and_names_in_modules():
    assert find("known", KNOWN, "thing") == 3
    assert find("later", KNOWN, "thing") == find("math:pi", {}, "thing") == pytest.approx(3.14159, abs=1e-5)
    assert source_sha256("known", KNOWN) is None
    assert source_sha256("sys:path", {}) is None
    source = Path(hashlib.__file__).read_bytes()
    assert source_sha256("hashlib:sha256", {}) == hashlib.sha256(source).hexdigest()


def test_an_edited_file_is_executed_anew(tmp_path):
    path, log = tmp_path / "mine.py", tmp_path / "log"
    text = f"with open({str(log)!r}, 'a') as log:\n    log.write('x')\nvalue = 1\n"
    checksums = []
    for content in (text, text.replace("= 1", "= 2"), text):  # of one length, and within one tick of the clock
        path.write_text(content)
        for _ in range(2):
            assert f"value = {find(f'{path}:value', {}, 'thing')}" in content
        checksums.append(source_sha256(f"{path}:value", {}))
        assert checksums[-1] == hashlib.sha256(content.encode()).hexdigest()
    assert checksums[0] == checksums[2] != checksums[1]
    assert log.read_text() == "xx"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["log", "mine.py"]


def test_a_dataclass_with_postponed_annotations(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\nfrom typing import ClassVar\n"
        "@dataclass\nclass Mine:\n    shared: ClassVar[int] = 1\n    own: int = 2\n"
    )
    mine = find(f"{path}:Mine", {}, "thing")
    assert vars(mine(own=5)) == {"own": 5}


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        ("", "nothing", r"thing 'nothing' is unknown: use known, later, module:name or file\.py:name"),
        ("", "no_such_module:x", "no module named 'no_such_module'"),
        ("", "none.py:x", r"there is no file none\.py"),
        ("", "mine.py:x", r"mine\.py has no x"),
        ("", "math:x", "math has no x"),
        ("x = (", "mine.py:x", "SyntaxError: "),
        ("raise SystemExit('enough')", "mine.py:x", "SystemExit: enough"),
        ("x = 1 / 0", "mine.py:x", "ZeroDivisionError: "),
        ("import no_such_module", "mine.py:x", "no module named 'no_such_module'"),
        ("x = open('data.txt')", "mine.py:x", r"FileNotFoundError: .*data\.txt"),
    ],
)
def test_what_cannot_be_found_is_said_in_one_line(tmp_path, monkeypatch, content, name, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(content)
    for _ in range(2):
        with pytest.raises(ValueError, match=message) as caught:
            find(name, KNOWN, "thing")
        assert str(caught.value).startswith(f"thing {name!r}")
        assert "\n" not in str(caught.value)
