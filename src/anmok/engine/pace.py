"""Keeping to a time: how many steps still fit, decided again as the run shows its speed."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from anmok.core.events import Events
from anmok.core.progress import say
from anmok.engine.growth import Growth
from anmok.engine.runtime import Runtime
from anmok.engine.state import State

CLOSE = 0.03  # a forecast within this share of the time is left as it is
ROUGH = 0.25  # the same, of the very first steps, which tell little
EARLY = 10  # steps before the first, rough look
LOOKS = 20  # at the speed, over a course
FINISH = (1.5, 2.0)  # validations, and seconds besides, that the work after the last step takes


@dataclass(frozen=True)
class Budget:
    """seconds: of the whole run, its making ready and the last validation included; gone: of them before the first
    step; val_s: what a validation is believed to take until one was measured.
    """

    seconds: float
    gone: float = 0.0
    val_s: float = 0.0


def fill(left: float, step_s: float, val_s: float, batch: int, per_epoch: int) -> int:
    """Steps that `left` seconds hold, from batch `batch` of an epoch on.

    Each epoch ends in a validation of val_s seconds, the last one too, which may be cut short.
    """
    step_s = max(step_s, 1e-9)
    first, epoch_s = per_epoch - batch, per_epoch * step_s + val_s
    if left < first * step_s + val_s:
        return max(0, math.floor((left - val_s) / step_s))
    left -= first * step_s + val_s
    epochs = math.floor(left / epoch_s)
    rest = left - epochs * epoch_s
    return first + epochs * per_epoch + max(0, math.floor((rest - val_s) / step_s))


def near_whole(step: int, steps: int, per_epoch: int, slack: float) -> int:
    """`steps` from `step` on, moved to the nearest end of an epoch if that is within `slack` steps."""
    whole = round((step + steps) / per_epoch) * per_epoch - step
    return whole if whole > 0 and abs(whole - steps) <= slack else steps


def reserve(val_s: float, seconds: float) -> float:
    """Seconds kept for the end of a run: its last validation, the model folder and the report."""
    return min(FINISH[0] * val_s + FINISH[1], seconds / 10)


def position(state: State) -> float:
    """Where in the schedule a step is, in steps of the course as it was first laid out.

    The course between the last decision and the end is stretched or pressed; the learning rate does not jump.
    """
    if state.total == state.first:
        return state.step
    done = (state.step - state.anchor) / max(1, state.total - state.anchor)
    return state.anchored + done * (state.first - state.anchored)


def epochs_of(state: State, length: int) -> int:
    """Epochs of the course, begun ones counted, where the present one and those to come have `length` batches."""
    return state.epoch + -(-(state.total - state.step + state.batch) // length)


class Pace:
    """Watches the clock over a course; without a budget it only counts the seconds of the run.

    Over several ranks all decide by their mean, at the same steps. per_epoch: batches of an epoch of all images;
    length: of the present one. growth: how images grow, so that what was measured of small ones is not taken for all.
    """

    def __init__(
        self, budget: Budget | None, state: State, per_epoch: int, runtime: Runtime, growth: Growth | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ):  # fmt: skip
        self.budget, self.per_epoch, self.length, self.runtime = budget, per_epoch, per_epoch, runtime
        self.growth, self.clock = growth, clock
        if budget and not state.spent:
            state.spent = budget.gone
        self.began, self.base = clock(), state.spent
        self.restart(state)

    def restart(self, state: State) -> None:
        """Measure the speed anew from this step on."""
        self.mark, self.mark_step, self.outside = self.clock(), state.step, 0.0

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """What is done inside is no step."""
        began = self.clock()
        yield
        self.outside += self.clock() - began

    def spent(self) -> float:
        """Seconds of the run so far, over all its sittings."""
        return self.base + self.clock() - self.began

    def due(self, state: State) -> bool:
        """Whether to look at the speed after this step."""
        if self.budget is None:
            return False
        steps = state.step - self.mark_step
        return state.step == EARLY or steps >= max(1, state.total // LOOKS)

    def settle(self, state: State, events: Events) -> bool:
        """Decide anew how many steps the course has, if the forecast misses the time; whether that was so.

        The state remembers what was decided.
        """
        state.spent = self.spent()
        steps = state.step - self.mark_step
        if self.budget is None or not steps:
            return False
        world = self.runtime.world
        step_s = self.runtime.sum((self.clock() - self.mark - self.outside) / steps) / world
        spent = self.runtime.sum(state.spent) / world
        val_s = self.budget.val_s if state.val_s is None else self.runtime.sum(state.val_s) / world
        self.restart(state)
        seconds, rest = self.budget.seconds, state.total - state.step
        if self.growth is not None:
            done = position(state) / state.first
            step_s *= self.growth.ahead(done, self.per_epoch, state.first, state.side)
        ends = epochs_of(state, self.length) - state.epoch
        left = seconds - reserve(val_s, seconds) - spent
        forecast = rest * step_s + ends * val_s
        if abs(left - forecast) <= (ROUGH if state.step <= EARLY else CLOSE) * seconds:
            return False
        steps = fill(left, step_s, val_s, state.batch, self.length)
        steps = near_whole(state.batch, steps, self.length, CLOSE * seconds / max(step_s, 1e-9))
        if steps == rest:
            return False
        state.anchored, state.anchor = position(state), state.step
        before, state.total = state.total, state.step + steps
        events.log(
            "pace", step=state.step, total=state.total, before=before, step_s=step_s, val_s=val_s, spent=spent,
        )  # fmt: skip
        say(
            f"a step takes {step_s:.3g} s{' in the mean from here on' if self.growth else ''}: "
            f"{state.total / self.per_epoch:.3g} epochs fit the time, not {before / self.per_epoch:.3g}"
        )
        return True
