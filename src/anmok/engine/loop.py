"""The training loop: one screen, and what it has to remember to go on exactly where it stopped."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from anmok.core.errors import DataError, Interrupted
from anmok.core.events import Events
from anmok.core.progress import bar, say, warn
from anmok.core.types import Batch
from anmok.engine.account import epoch_account, timed, told
from anmok.engine.config import ScheduleConfig
from anmok.engine.gradients import gradients, meaning
from anmok.engine.growth import Growth, shrunk
from anmok.engine.optim import set_lr
from anmok.engine.pace import Budget, Pace, epochs_of, position
from anmok.engine.runtime import Runtime
from anmok.engine.schedule import factor
from anmok.engine.state import State
from anmok.engine.totals import Totals, not_finite

__all__ = ["Average", "Batches", "Course", "Hooks", "State", "fit"]


class Batches(Protocol):
    """What the loop asks of a loader; besides, where epochs differ, `share`: of all images, those of the epoch."""

    wait_s: float

    def __len__(self) -> int:
        """Batches of the present epoch; of every epoch, before the first has begun."""

    def epoch(self, epoch: int, start: int) -> Iterator[Batch]:
        """Batches of an epoch from `start` on."""


class Average(Protocol):
    """What the loop asks of a moving average of the weights, or of slow weights."""

    def update(self, module: nn.Module, done: float) -> None:
        """Take in the present weights; a share `done` of the course is behind."""


@dataclass(frozen=True)
class Course:
    """What is fixed before the first step.

    steps: of the course, where it does not end with an epoch; budget: the time it keeps to, by other steps if need be.
    growth: how images grow. uneven: whether epochs differ in their batches; the learning rate then goes by epochs.
    """

    epochs: int
    schedule: ScheduleConfig
    accumulate: int = 1
    clip: float | None = None
    early_stop: int | None = None
    steps: int | None = None
    budget: Budget | None = None
    growth: Growth | None = None
    uneven: bool = False


@dataclass(frozen=True)
class Hooks:
    """What the stage does at the loop's joints.

    validate() gives {'loss', 'select', …}, select: higher is better; {} without a validation split. keep_best() stores
    the weights just validated; due(state) says whether a checkpoint is due, save(state) writes it; stop() says whether
    a signal asked to end; begin(state) settles what an epoch learns, and from what, also of one that is gone on with.
    """

    validate: Callable[[], dict[str, float]]
    keep_best: Callable[[State], None]
    due: Callable[[State], bool]
    save: Callable[[State], None]
    stop: Callable[[], bool]
    begin: Callable[[State], None] = lambda state: None


def fit(
    learner: nn.Module, optimizer: torch.optim.Optimizer, batches: Batches, runtime: Runtime, course: Course,
    state: State, hooks: Hooks, events: Events, average: Average | None = None,
) -> None:  # fmt: skip
    """Train from `state` to the end of the course.  Interrupted (resumable) when asked to stop; DataError on a NaN."""
    per_epoch, module = len(batches), getattr(learner, "module", learner)
    if not state.total or (course.budget is None and not course.uneven):
        state.total = state.first = course.steps or course.epochs * per_epoch
    pace = Pace(course.budget, state, per_epoch, runtime, course.growth)
    while state.step < state.total and not state.stopped_early:
        forgiving, place = runtime.scaler is not None, (runtime.rank, runtime.world)
        totals = Totals(state, batches, runtime.device, forgiving, *place, events)
        _begin_epoch(state, course, hooks, batches, pace, per_epoch)
        with bar(f"epoch {state.epoch + 1}/{epochs_of(state, pace.length)}", pace.length) as progress:
            progress.advance(state.batch)
            learner.train()
            _say_parts(learner, course, state)
            for batch in runtime.fed(batches.epoch(state.epoch, state.batch)):
                share = factor(course.schedule, position(state), state.first, per_epoch, state.val_losses)
                state.lr = set_lr(optimizer, share)
                images = runtime.sum(len(batch))
                if images:
                    batch = shrunk(batch, state.side)
                    state.parts = gradients(
                        learner, optimizer, batch, images, runtime, course.accumulate, state, totals, events
                    )
                    with totals.account.phase("optimizer"):
                        done = runtime.update(optimizer, course.clip)
                    if not done:
                        state.skipped += 1
                        events.log("overflow", step=state.step)
                state.step, state.batch = state.step + 1, state.batch + 1
                if average is not None:
                    average.update(module, position(state) / state.first)
                progress.advance(1, totals.text())
                changed = pace.due(state) and pace.settle(state, events)
                if (stop := hooks.stop()) or hooks.due(state) or changed:
                    totals.store()
                    _save(state, hooks, pace)
                    totals.restart()
                if stop:
                    raise Interrupted(f"stopped after step {state.step}, as asked.", remedy="Go on with --resume.")
                if state.step >= state.total:
                    break
        totals.store()
        _end_epoch(state, course, hooks, events, pace, getattr(batches, "share", 1.0))
    state.close_account()
    events.log("account", seconds=state.before)
    if text := told(state.before):
        say(f"the time went to: {text}")


def _begin_epoch(
    state: State, course: Course, hooks: Hooks, batches: Batches, pace: Pace, per_epoch: int
) -> None:  # fmt: skip
    """Settle what the epoch learns from; where epochs differ in their batches, fit the rest of the course to these."""
    hooks.begin(state)
    pace.length = len(batches)
    if state.batch:
        return
    if course.growth is not None:
        state.side = course.growth.side(position(state) / state.first, per_epoch, state.first)
    if course.uneven and course.budget is None:
        state.anchor, state.anchored = state.step, float(state.epoch * per_epoch)
        state.total = state.step + pace.length * (course.epochs - state.epoch)


def _say_parts(learner: nn.Module, course: Course, state: State) -> None:
    """Once a sitting's first batch is taken in parts, what that means, if it is not the same."""
    parts = max(course.accumulate, state.parts)
    if parts > 1 and state.epoch == 0 and state.batch == 0 and (text := meaning(learner)).startswith("which"):
        warn(f"a batch goes in {parts} parts, {text}")


def _save(state: State, hooks: Hooks, pace: Pace) -> None:
    """A checkpoint, in its own time."""
    with ExitStack() as stack:
        stack.enter_context(pace.away())
        stack.enter_context(timed(state.book, "saving"))
        state.spent = pace.spent()
        hooks.save(state)


def _end_epoch(
    state: State, course: Course, hooks: Hooks, events: Events, pace: Pace, share: float
) -> None:  # fmt: skip
    """Validate, log, keep the best, decide about stopping, and close the epoch's books.

    share: of all images, those that the epoch saw; their loss is made up for the others', accuracy is theirs.
    """
    images = max(1, state.images)
    if state.skipped and state.skipped >= state.batch:
        raise DataError(
            f"every step of epoch {state.epoch + 1} overflowed in fp16.", code="nan-loss",
            remedy="Train with --runtime.dtype bf16 or fp32, or lower --optim.lr.",
        )  # fmt: skip
    loss, speed = share * state.loss / images, state.images / max(1e-9, state.seconds)
    began = pace.clock()
    with pace.away(), timed(state.book, "evaluation"):
        val = dict(hooks.validate())
    if not all(math.isfinite(v) for v in val.values()):
        raise not_finite(f"validation of epoch {state.epoch + 1}")
    select = val.pop("select", -loss)
    wait = state.wait / max(1e-9, state.seconds)
    events.log(
        "epoch", epoch=state.epoch + 1, step=state.step, loss=loss, accuracy=state.correct / images, lr=state.lr,
        images_per_s=speed, wait_share=wait, seconds=state.seconds, val=val,
        account=epoch_account(state.account, state.seconds, state.wait),
        **({"skipped": state.skipped} if state.skipped else {}), **({"side": state.side} if state.side else {}),
        **({"share": round(share, 4)} if course.uneven else {}),
    )  # fmt: skip
    shown = "  ".join(f"{k} {v:.4f}" for k, v in val.items())
    notes = [
        *([f"{state.skipped} overflowed steps skipped"] if state.skipped else []),
        *([f"at {state.side} px"] if state.side else []), *([f"{share:.0%} of the images"] if share < 1 else []),
    ]  # fmt: skip
    say(
        f"epoch {state.epoch + 1}/{epochs_of(state, pace.length)}  loss {loss:.4f}  val {shown or '-'}  "
        f"{speed:.0f} images/s, {wait:.0%} of the time waiting for data{''.join(f'  {note}' for note in notes)}"
    )
    state.account = epoch_account(state.account, state.seconds, state.wait)
    state.close_account()
    if state.best is None or select > state.best:
        state.best, state.best_epoch = select, state.epoch + 1
        with pace.away(), timed(state.book, "saving"):
            hooks.keep_best(state)
    state.val_losses.append(val.get("loss", loss))
    if course.early_stop and state.epoch + 1 - (state.best_epoch or 0) >= course.early_stop:
        state.stopped_early = True
        events.log("early_stop", epoch=state.epoch + 1, best_epoch=state.best_epoch)
    cut = state.batch < pace.length
    state.epoch, state.batch, state.images, state.skipped = state.epoch + 1, 0, 0, 0
    state.loss = state.correct = state.seconds = state.wait = 0.0
    state.val_s = pace.clock() - began
    changed = state.step < state.total and not state.stopped_early and pace.settle(state, events)
    if hooks.due(state) or changed or (state.step >= state.total and cut):
        _save(state, hooks, pace)
