"""A polite end: the first SIGTERM or Ctrl-C asks, the second one forces."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from anmok.core.progress import warn


class Stop:
    """Whether a signal asked to end."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self) -> bool:
        return self.asked


@contextlib.contextmanager
def polite_stop() -> Iterator[Stop]:
    """Within the block, the first SIGINT or SIGTERM sets the flag; the second has its usual effect."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, frame: FrameType | None) -> None:
        stop.asked = True
        for s in before:
            signal.signal(s, signal.SIG_DFL if s == signal.SIGTERM else signal.default_int_handler)
        warn("stopping after this step and saving; once more ends at once")

    try:
        for s in before:
            signal.signal(s, ask)
        yield stop
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)
