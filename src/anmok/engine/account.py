"""Where the time of a run goes: forward, backward, optimizer, evaluation, saving, data."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

SAMPLED = 16  # on a GPU one step in so many is timed


class Account:
    """Seconds by phase, gathered over steps.

    On the CPU every step is timed with the clock. A GPU works behind the host's back: there one step in `every` is
    marked by events in its own queue, which are read at the end and scaled up, so that nothing waits for it. mark() and
    between(a, b) -> seconds take the place of both.
    """

    def __init__(
        self, device: torch.device, every: int | None = None, mark: Callable[[], Any] | None = None,
        between: Callable[[Any, Any], float] | None = None,
    ):  # fmt: skip
        own_mark, own_between = _marks(device)
        self.mark, self.between = mark or own_mark, between or own_between
        self.every = every or (1 if device.type == "cpu" else SAMPLED)
        self.steps = self.sampled = 0
        self.timing = False
        self._marks: list[tuple[str, Any, Any]] = []

    def step(self) -> None:
        """A step begins."""
        self.timing = self.steps % self.every == 0
        self.steps += 1
        self.sampled += self.timing

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """What is done inside is booked under the name, if this step is one that is timed."""
        if not self.timing:
            yield
            return
        began = self.mark()
        yield
        self._marks.append((name, began, self.mark()))

    def read(self) -> dict[str, float]:
        """Seconds by phase since the last reading, for all steps; the account begins anew."""
        out: dict[str, float] = {}
        scale = self.steps / max(1, self.sampled)
        for name, began, ended in self._marks:
            out[name] = out.get(name, 0.0) + self.between(began, ended) * scale
        self._marks.clear()
        self.steps = self.sampled = 0
        return out


def _marks(device: torch.device) -> tuple[Callable[[], Any], Callable[[Any, Any], float]]:
    if device.type == "cuda":
        return lambda: _event(device), _between_events
    if device.type == "mps":
        return _after_mps, lambda a, b: b - a
    return time.perf_counter, lambda a, b: b - a


def _event(device: torch.device) -> Any:
    import torch

    event = torch.cuda.Event(enable_timing=True)
    event.record(torch.cuda.current_stream(device))
    return event


def _between_events(began: Any, ended: Any) -> float:
    ended.synchronize()
    return float(began.elapsed_time(ended)) / 1000


def _after_mps() -> float:
    import torch

    torch.mps.synchronize()  # in sampled steps only
    return time.perf_counter()


@contextlib.contextmanager
def timed(book: Callable[[dict[str, float]], None], name: str) -> Iterator[None]:
    """Book the wall time of what is done inside."""
    began = time.perf_counter()
    try:
        yield
    finally:
        book({name: time.perf_counter() - began})


def epoch_account(seconds: Mapping[str, float], training: float, wait: float) -> dict[str, float]:
    """The account of an epoch: its phases, the wait for data, and what is left of the training's seconds as 'other'."""
    inside = sum(seconds.get(name, 0.0) for name in ("forward", "backward", "optimizer"))
    whole = {"data": wait, **seconds, "other": max(0.0, training - wait - inside)}
    return {name: round(value, 4) for name, value in whole.items()}


def told(seconds: Mapping[str, float]) -> str:
    """The shares of an account, largest first: '61 % backward, 30 % forward, 9 % data'."""
    whole = sum(seconds.values())
    if not whole:
        return ""
    shares = sorted(((value / whole, name) for name, value in seconds.items()), reverse=True)
    return ", ".join(f"{share:.0%} {name}" for share, name in shares if share >= 0.005)
