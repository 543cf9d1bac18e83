"""How far long work is: a bar on stderr, with rate and remaining time; a line now and then where that is no terminal.

Whatever takes long has a parameter `progress` and calls it as ``progress(done, total)``, or as
``progress(done, total, note)`` with a word on where it stands, which ends with what is counted; `silent` shows nothing.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Display
from rich.text import Text

Progress = Callable[..., None]

console = Console(stderr=True, markup=False, emoji=False, quiet=os.environ.get("RANK", "0") != "0")
"""Where people are told what happens, by one of the processes of ``torchrun``: what is printed stands above a bar."""

LINE_SECONDS = 60
"""Longest silence of work where no bar shows it."""


def silent(done: int, total: int, note: str = "") -> None:
    """Show nothing."""


class RateColumn(ProgressColumn):
    """Steps per second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.3g}/s" if task.speed else "")


@contextmanager
def bar(what: str, shown: bool = True) -> Iterator[Progress]:
    """A bar to be moved by calls; it shows on a terminal, from the first call on, and leaves nothing there.

    Elsewhere, as in the log of a batch job, a line says where things stand every `LINE_SECONDS`.

    Parameters
    ----------
    what : str
        What is counted, in words, where a call has no note.
    shown : bool
        Whether to show it at all.
    """
    columns = (
        BarColumn(20),
        TextColumn("{task.description}", markup=False),
        MofNCompleteColumn(),
        RateColumn(),
        TimeRemainingColumn(),
    )
    display = Display(*columns, console=console, transient=True, disable=not (shown and console.is_terminal))
    task = display.add_task(what, total=None)
    told = time.monotonic()

    def progress(done: int, total: int, note: str = "") -> None:
        nonlocal told
        if shown and not console.is_terminal and time.monotonic() - told > LINE_SECONDS:
            console.print(f"{note or what} {done}/{total}", highlight=False, soft_wrap=True)
            told = time.monotonic()
        if done < display.tasks[0].completed:
            display.reset(task)
        display.start()
        display.update(task, completed=done, total=total, description=note or what)

    try:
        yield progress
    finally:
        display.stop()
