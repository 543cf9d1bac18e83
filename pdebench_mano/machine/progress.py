"""How far long work is: a bar on stderr, with rate and remaining time.

Whatever takes long has a parameter `progress` and calls it as ``progress(done, total)``, or as
``progress(done, total, note)`` with a word on where it stands; `silent` shows nothing.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Display
from rich.text import Text

Progress = Callable[..., None]

console = Console(stderr=True, markup=False, emoji=False)
"""Where people are told what happens: what is printed here stands above a bar."""


def silent(done: int, total: int, note: str = "") -> None:
    """Show nothing."""


class RateColumn(ProgressColumn):
    """Steps per second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.3g}/s" if task.speed else "")


@contextmanager
def bar(what: str, shown: bool = True) -> Iterator[Progress]:
    """A bar to be moved by calls; it shows on a terminal only, from the first call on, and leaves nothing there.

    Parameters
    ----------
    what : str
        What it is called where a call has no note.
    shown : bool
        Whether to show it at all.
    """
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(20),
        MofNCompleteColumn(),
        RateColumn(),
        TimeRemainingColumn(),
    )
    display = Display(*columns, console=console, transient=True, disable=not (shown and console.is_terminal))
    task = display.add_task(what, total=None)

    def progress(done: int, total: int, note: str = "") -> None:
        if done < display.tasks[0].completed:
            display.reset(task)
        display.start()
        display.update(task, completed=done, total=total, description=note or what)

    try:
        yield progress
    finally:
        display.stop()
