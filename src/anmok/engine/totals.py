"""Sums of an epoch, kept on the device."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

import torch

from anmok.core.errors import DataError
from anmok.core.events import Events
from anmok.core.text import visible
from anmok.core.types import Batch
from anmok.engine.account import Account
from anmok.engine.ranks import summed
from anmok.engine.state import State

RECENT = 4096  # parts of batches whose losses are remembered one by one, to name the images of the first bad one
SHOWN = 3  # of their names in the error


class Waits(Protocol):
    """What is asked of a loader here: the seconds for which the loop waited for it."""

    wait_s: float


class Totals:
    """Sums of an epoch, kept on the device and read back only to be shown or stored; and where its time went."""

    def __init__(
        self, state: State, batches: Waits, device: torch.device, forgiving: bool = False, rank: int = 0,
        world: int = 1, events: Events | None = None,
    ):  # fmt: skip
        self.state, self.batches, self.forgiving, self.world = state, batches, forgiving, world
        self.events = events
        self._recent: deque[tuple[int, Sequence[str], torch.Tensor]] = deque(maxlen=RECENT)
        dtype = torch.float32 if device.type == "mps" else torch.float64
        before = state if rank == 0 else State()  # the sum over ranks is to hold it once
        self.loss = torch.tensor(before.loss, dtype=dtype, device=device)
        self.correct = torch.tensor(before.correct, dtype=dtype, device=device)
        self.images, self._text, self._shown = before.images, "", time.perf_counter()
        self.account = Account(device)
        self.restart()

    def add(self, outcome: Any, part: Batch, weight: float | torch.Tensor) -> None:
        """Take in the outcome of a part of a batch, whose mean loss is that of `weight` images."""
        loss = outcome.loss.detach()
        if self.forgiving:  # fp16 overflows now and then; its step is left out, and so is its loss
            loss = torch.where(loss.isfinite(), loss, 0.0)
        else:
            self._recent.append((self.state.step + 1, part.ids, loss))
        self.loss += loss * weight
        if "correct" in outcome.logs:
            self.correct += outcome.logs["correct"]
        self.images += len(part)

    def restart(self) -> None:
        """Start the clock again: what happened since `store` was no training."""
        self.began, self.waited = time.perf_counter(), self.batches.wait_s

    def store(self) -> None:
        """Bring the totals, over all ranks, into the state.  DataError if the loss is not finite."""
        state = self.state
        own = [float(self.loss), float(self.correct), self.images]
        state.loss, state.correct, images = summed(own, self.world)
        state.images = int(images)
        state.seconds += time.perf_counter() - self.began
        state.wait += self.batches.wait_s - self.waited
        state.book(self.account.read())
        self.restart()
        if not math.isfinite(state.loss):
            raise not_finite(f"step {state.step}", self._first_bad())
        self._recent.clear()

    def _first_bad(self) -> str:
        """Where the loss was not finite first, in words, its images in an event; '' where that was on another rank."""
        for step, ids, loss in self._recent:
            if not bool(loss.isfinite()):
                if self.events is not None:
                    self.events.log("not-finite", step=step, epoch=self.state.epoch + 1, ids=list(ids))
                    self.events.sync()
                names = ", ".join(visible(i) for i in ids[:SHOWN])
                more = ", …; events.jsonl has all" if len(ids) > SHOWN else ""
                return f" It was first not in step {step}, whose images are {names}{more}."
        return ""

    def text(self) -> str:
        """Loss and speed, read from the device at most once a second."""
        now = time.perf_counter()
        if now - self._shown > 1:
            self._shown = now
            seconds = self.state.seconds + now - self.began
            self._text = f"loss {float(self.loss) / max(1, self.images):.4f}  {self.images / seconds:.0f} images/s"
        return self._text


def not_finite(where: str, first: str = "") -> DataError:
    """The error of a loss that is no number any more; first: a sentence on where that began."""
    return DataError(
        f"the loss is not finite at {where}.{first}",
        remedy="Lower --optim.lr, or set --optim.clip 1; the last checkpoint is from before.", code="nan-loss",
    )  # fmt: skip
