"""Progress on the terminal: a bar where somebody watches, a line now and then in a log, nothing when asked."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from anmok.core.text import printable

console = Console(stderr=True, soft_wrap=True)


def say(text: str, style: str | None = None) -> None:
    """Tell the user one thing, on standard error; text is never read as markup."""
    if not quiet():
        console.print(printable(text), style=style, markup=False, highlight=False)


def warn(text: str) -> None:
    """Tell the user something that deserves attention."""
    say(f"warning: {text}", style="yellow")


def quiet() -> bool:
    """Whether ANMOK_QUIET asks for silence, or this is one of several processes, of which the first speaks."""
    return bool(os.environ.get("ANMOK_QUIET")) or (
        os.environ.get("RANK", "0") != "0" and os.environ.get("WORLD_SIZE", "1") != "1"
    )


class Bar:
    """A bar with a free text behind it; in a log, one line every 30 s."""

    def __init__(self, title: str, total: int, live: Progress | None):
        self.title, self.total, self.done, self.text, self._live = title, total, 0, "", live
        self._task = live.add_task(title, total=total, text="") if live else None
        self._said = time.monotonic()

    def advance(self, n: int = 1, text: str | None = None) -> None:
        """Count n more; `text` (loss, images/s, …) stands behind the bar."""
        self.done += n
        self.text = self.text if text is None else text
        if self._live is not None and self._task is not None:
            self._live.update(self._task, advance=n, text=self.text)
        elif not quiet() and time.monotonic() - self._said > 30:
            self._said = time.monotonic()
            say(f"{self.title} {self.done}/{self.total} {self.text}")


@contextlib.contextmanager
def bar(title: str, total: int) -> Iterator[Bar]:
    """A progress bar for the length of the block; it leaves nothing behind."""
    if quiet() or not sys.stderr.isatty():
        yield Bar(title, total, None)
        return
    columns = (
        TextColumn("{task.description}"), BarColumn(bar_width=30), MofNCompleteColumn(),
        TextColumn("{task.fields[text]}"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True) as live:
        yield Bar(title, total, live)
