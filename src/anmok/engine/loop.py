"""The training loop: one screen, and what it has to remember to go on exactly where it stopped."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import torch
from torch import nn

from anmok.core.errors import DataError, Interrupted, MachineError
from anmok.core.events import Events
from anmok.core.progress import bar, say, warn
from anmok.core.types import Batch
from anmok.engine.config import ScheduleConfig
from anmok.engine.optim import set_lr
from anmok.engine.runtime import Runtime, micro_batches
from anmok.engine.schedule import factor


class Batches(Protocol):
    """What the loop asks of a loader."""

    wait_s: float

    def __len__(self) -> int:
        """Batches of an epoch."""

    def epoch(self, epoch: int, start: int) -> Iterator[Batch]:
        """Batches of an epoch from `start` on."""


class Average(Protocol):
    """What the loop asks of a moving average of the weights."""

    def update(self, module: nn.Module) -> None:
        """Take in the present weights."""


@dataclass
class State:
    """Where a run is: the epoch, the batch in it, totals of the epoch so far, what validation said before."""

    step: int = 0
    epoch: int = 0
    batch: int = 0
    images: int = 0
    loss: float = 0.0
    correct: float = 0.0
    lr: float = 0.0
    seconds: float = 0.0
    wait: float = 0.0
    best: float | None = None
    best_epoch: int | None = None
    val_losses: list[float] = field(default_factory=list)
    stopped_early: bool = False
    parts: int = 1  # that a batch went in when memory was last short

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        return asdict(self)


@dataclass(frozen=True)
class Course:
    """What is fixed before the first step."""

    epochs: int
    schedule: ScheduleConfig
    accumulate: int = 1
    clip: float | None = None
    early_stop: int | None = None


@dataclass(frozen=True)
class Hooks:
    """What the stage does at the loop's joints.

    validate() gives {'loss', 'select', …}, select: higher is better; {} without a validation split. keep_best() stores
    the weights just validated; due(state) says whether a checkpoint is due, save(state) writes it; stop() says whether
    a signal asked to end; begin(epoch) settles what learns in an epoch, also in one that is gone on with.
    """

    validate: Callable[[], dict[str, float]]
    keep_best: Callable[[State], None]
    due: Callable[[State], bool]
    save: Callable[[State], None]
    stop: Callable[[], bool]
    begin: Callable[[int], None] = lambda epoch: None


def fit(
    learner: nn.Module, optimizer: torch.optim.Optimizer, batches: Batches, runtime: Runtime, course: Course,
    state: State, hooks: Hooks, events: Events, average: Average | None = None,
) -> None:  # fmt: skip
    """Train from `state` to the end of the course.  Interrupted (resumable) when asked to stop; DataError on a NaN."""
    per_epoch, module = len(batches), getattr(learner, "module", learner)
    total = course.epochs * per_epoch
    while state.epoch < course.epochs and not state.stopped_early:
        totals = Totals(state, batches, runtime.device)
        with bar(f"epoch {state.epoch + 1}/{course.epochs}", per_epoch) as progress:
            progress.advance(state.batch)
            hooks.begin(state.epoch)
            learner.train()
            for batch in runtime.fed(batches.epoch(state.epoch, state.batch)):
                state.lr = set_lr(optimizer, factor(course.schedule, state.step, total, per_epoch, state.val_losses))
                images = runtime.sum(len(batch))
                if images:
                    state.parts = _gradients(learner, optimizer, batch, images, runtime, course, state, totals, events)
                    runtime.update(optimizer, course.clip)
                if average is not None:
                    average.update(module)
                state.step, state.batch = state.step + 1, state.batch + 1
                progress.advance(1, totals.text())
                if (stop := hooks.stop()) or hooks.due(state):
                    totals.store()
                    hooks.save(state)
                    totals.restart()
                if stop:
                    raise Interrupted(f"stopped after step {state.step}, as asked.", remedy="Go on with --resume.")
        totals.store()
        _end_epoch(state, course, hooks, events)


def _gradients(
    learner: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch, images: float, runtime: Runtime,
    course: Course, state: State, totals: Totals, events: Events,
) -> int:  # fmt: skip
    """Gradients of a global batch of `images`, of which this is the rank's share; in how many parts it went.

    Where the device's memory does not hold a part, the parts are halved and the batch begins anew: the step stays the
    same, it takes longer.
    """
    parts = max(course.accumulate, state.parts)
    while True:
        outcomes = []
        try:
            # Parts of two images at least, as one has no batch statistics; no part where every image was rejected.
            for micro, last in micro_batches(batch, parts, least=2):
                with runtime.sync(learner, when=last):
                    with runtime.autocast():
                        outcome = learner(runtime.to_device(micro))
                    runtime.backward(outcome.loss * (len(micro) / images))  # every image weighs the same
                outcomes.append((outcome, len(micro)))
        except torch.OutOfMemoryError as error:
            if runtime.world > 1 or len(batch) < 4 * parts:
                raise MachineError(
                    f"the device's memory does not hold {-(-len(batch) // parts)} images of this model.", code="memory",
                    where="--batch-size", remedy="Lower --batch-size or --image-size, or raise --optim.accumulate.",
                ) from error  # fmt: skip
            optimizer.zero_grad(set_to_none=True)
            outcomes.clear()
            parts *= 2
            events.log("memory", step=state.step, parts=parts, images=-(-len(batch) // parts))
            warn(f"out of memory on the device: a batch now goes in {parts} parts, its gradient is the same")
            continue
        for outcome, n in outcomes:
            totals.add(outcome, n)
        return parts


class Totals:
    """Sums of an epoch, kept on the device and read back only to be shown or stored."""

    def __init__(self, state: State, batches: Batches, device: torch.device):
        self.state, self.batches = state, batches
        dtype = torch.float32 if device.type == "mps" else torch.float64
        self.loss = torch.tensor(state.loss, dtype=dtype, device=device)
        self.correct = torch.tensor(state.correct, dtype=dtype, device=device)
        self.images, self._text, self._shown = state.images, "", time.perf_counter()
        self.restart()

    def add(self, outcome: Any, n: int) -> None:
        """Take in the outcome of n images."""
        self.loss += outcome.loss.detach() * n
        if "correct" in outcome.logs:
            self.correct += outcome.logs["correct"]
        self.images += n

    def restart(self) -> None:
        """Start the clock again: what happened since `store` was no training."""
        self.began, self.waited = time.perf_counter(), self.batches.wait_s

    def store(self) -> None:
        """Bring the totals into the state.  DataError if the loss is not finite."""
        state = self.state
        state.loss, state.correct, state.images = float(self.loss), float(self.correct), self.images
        state.seconds += time.perf_counter() - self.began
        state.wait += self.batches.wait_s - self.waited
        self.restart()
        if not math.isfinite(state.loss):
            raise _not_finite(f"step {state.step}")

    def text(self) -> str:
        """Loss and speed, read from the device at most once a second."""
        now = time.perf_counter()
        if now - self._shown > 1:
            self._shown = now
            seconds = self.state.seconds + now - self.began
            self._text = f"loss {float(self.loss) / max(1, self.images):.4f}  {self.images / seconds:.0f} images/s"
        return self._text


def _not_finite(where: str) -> DataError:
    return DataError(
        f"the loss is not finite at {where}.",
        remedy="Lower --optim.lr, or set --optim.clip 1; the last checkpoint is from before.", code="nan-loss",
    )  # fmt: skip


def _end_epoch(state: State, course: Course, hooks: Hooks, events: Events) -> None:
    """Validate, log, keep the best, decide about stopping, and close the epoch's books."""
    images = max(1, state.images)
    loss, speed = state.loss / images, state.images / max(1e-9, state.seconds)
    val = dict(hooks.validate())
    if not all(math.isfinite(v) for v in val.values()):
        raise _not_finite(f"validation of epoch {state.epoch + 1}")
    select = val.pop("select", -loss)
    wait = state.wait / max(1e-9, state.seconds)
    events.log(
        "epoch", epoch=state.epoch + 1, step=state.step, loss=loss, accuracy=state.correct / images, lr=state.lr,
        images_per_s=speed, wait_share=wait, seconds=state.seconds, val=val,
    )  # fmt: skip
    shown = "  ".join(f"{k} {v:.4f}" for k, v in val.items())
    say(
        f"epoch {state.epoch + 1}/{course.epochs}  loss {loss:.4f}  val {shown or '-'}  {speed:.0f} images/s, "
        f"{wait:.0%} of the time waiting for data"
    )
    if state.best is None or select > state.best:
        state.best, state.best_epoch = select, state.epoch + 1
        hooks.keep_best(state)
    state.val_losses.append(val.get("loss", loss))
    if course.early_stop and state.epoch + 1 - (state.best_epoch or 0) >= course.early_stop:
        state.stopped_early = True
        events.log("early_stop", epoch=state.epoch + 1, best_epoch=state.best_epoch)
    state.epoch, state.batch, state.images = state.epoch + 1, 0, 0
    state.loss = state.correct = state.seconds = state.wait = 0.0
    if hooks.due(state):
        hooks.save(state)
