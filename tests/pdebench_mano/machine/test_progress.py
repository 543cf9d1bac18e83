"""What long work says of itself where no bar can show."""

import re
from types import SimpleNamespace

import pytest

from pdebench_mano.machine import progress as module
from pdebench_mano.machine.progress import bar


def test_a_log_gets_a_line_now_and_then_that_says_of_what(monkeypatch, capsys):
    """It was empty for as long as the work took."""
    clock = iter([0, 10, 61, 61, 70, 130, 130])
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with bar("samples generated") as progress:
        for done in (10, 20, 30):
            progress(done, 100)
        progress(40, 100, "fno at 33², samples")
    assert capsys.readouterr().err.splitlines() == ["samples generated 20/100", "fno at 33², samples 40/100"]


def test_what_is_not_shown_is_not_logged_either(monkeypatch, capsys):
    monkeypatch.setattr(module, "LINE_SECONDS", -1)
    with bar("samples", shown=False) as progress:
        progress(1, 2)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("note", "said"), [("", "steps 4/60"), ("epoch 2, steps", "epoch 2, steps 4/60")])
def test_a_bar_says_what_it_counts(monkeypatch, capsys, note, said):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(module, "console", module.Console(stderr=True, force_terminal=True, width=100))
    with bar("steps") as progress:
        progress(4, 60, note)
    shown = re.sub(r"\x1b\[[\d;?]*\w", "", capsys.readouterr().err)
    assert said in " ".join(shown.split())
