"""What `anmok auto` has done so far, and where its time went: one line of auto.jsonl a step, from which it goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from anmok.core.events import Events, read_events

FILE = "auto.jsonl"


class Diary:
    """The steps that are done, and the time that is left.

    began: time.monotonic() of this process's start; the seconds of the processes before it are those of their steps,
    so that what an interrupted step took does not count. stop: whether a signal asked to end.
    """

    def __init__(self, folder: Path, minutes: float, began: float, stop: Callable[[], bool]):
        self.folder, self.total, self.began, self.stop = folder, 60 * minutes, began, stop
        self.events = Events(folder / FILE)
        self.done = list(read_events(folder / FILE))
        self.before = sum(event.get("seconds", 0.0) for event in self.done)

    @property
    def spent(self) -> float:
        """Seconds since the start."""
        return self.before + time.monotonic() - self.began

    @property
    def left(self) -> float:
        """Seconds of the whole time that are not gone."""
        return self.total - self.spent

    def of(self, step: str, **which: Any) -> dict[str, Any] | None:
        """What was logged of a step of these facts, None where it is still to do."""
        for event in self.done:
            if event["event"] == step and all(event.get(name) == value for name, value in which.items()):
                return event
        return None

    @contextmanager
    def step(self, name: str, **facts: Any) -> Iterator[dict[str, Any]]:
        """Do a step inside, add facts of it to what is given, and log it with its seconds once it is done."""
        began = time.monotonic()
        found = dict(facts)
        yield found
        event = {**found, "seconds": round(time.monotonic() - began, 3)}
        self.events.log(name, **event)
        self.events.sync()
        self.done.append({"event": name, **event})


def account(folder: Path) -> list[tuple[str, float]]:
    """(step, seconds) of everything that was done, those of a name added up, in the order in which they began."""
    out: dict[str, float] = {}
    for event in read_events(folder / FILE):
        if event["event"] != "end":
            out[event["event"]] = out.get(event["event"], 0.0) + event.get("seconds", 0.0)
    return list(out.items())
