"""A course keeps to its time, whatever its steps cost, and its learning rate does not jump."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from anmok.core.events import Events, read_events
from anmok.core.types import Batch
from anmok.engine import loop, pace
from anmok.engine.config import ScheduleConfig
from anmok.engine.loop import Course, Hooks, State, fit
from anmok.engine.pace import Budget, fill, near_whole, position, reserve
from anmok.engine.runtime import Runtime
from anmok.engine.schedule import factor

CPU = Runtime(torch.device("cpu"))
PER_EPOCH = 30


@given(st.floats(0, 500), st.floats(0.01, 3), st.floats(0, 20), st.integers(0, 9))
def test_steps_fill_the_time_and_no_more(left: float, step_s: float, val_s: float, batch: int) -> None:
    steps = fill(left, step_s, val_s, batch, 10)

    def cost(n: int) -> float:
        return n * step_s + -(-(batch + n) // 10) * val_s

    assert steps == 0 or cost(steps) <= left + 1e-6
    # one step more does not fit; nor would it with the validation of an epoch that it begins
    assert cost(steps + 1) > left - 1e-6


def test_steps_by_hand() -> None:
    assert fill(100, 1, 0, 0, 10) == 100
    assert fill(100, 1, 10, 0, 10) == 50  # five epochs of ten steps and a validation of ten
    assert fill(36, 1, 10, 0, 10) == 16  # the second epoch is cut short
    assert fill(12, 1, 10, 0, 10) == 2
    assert fill(3, 1, 10, 0, 10) == 0
    assert near_whole(0, 48, 10, 3) == 50
    assert near_whole(0, 45, 10, 3) == 45
    assert near_whole(7, 48, 10, 6) == 53  # the end is that of an epoch
    assert reserve(2, 1000) == 5
    assert reserve(100, 100) == 10


def test_the_rate_does_not_jump_where_the_course_is_settled_anew() -> None:
    state = State(total=100, first=100)
    assert [position(State(step=s, total=100, first=100)) for s in (0, 7, 100)] == [0, 7, 100]
    state.step = 40
    before = position(state)
    state.anchored, state.anchor, state.total = before, 40, 60  # a third of the steps that were left
    assert position(state) == before
    state.step = 50
    assert position(state) == 70
    state.step = 60
    assert position(state) == 100
    shares = []
    for state.step in range(40, 60):
        shares.append(factor(ScheduleConfig(name="cosine", end=0), position(state), 100, 10))
    assert shares[0] == factor(ScheduleConfig(name="cosine", end=0), 40, 100, 10)
    assert all(a > b for a, b in itertools.pairwise(shares))
    assert shares[-1] < 0.01


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Timed(nn.Module):
    """A learner whose step takes as long as `cost` says, by a clock that only it and validation move."""

    def __init__(self, clock: Clock, cost: Any):
        super().__init__()
        self.layer, self.clock, self.cost, self.steps = nn.Linear(12, 2), clock, cost, 0

    def forward(self, batch: Batch) -> Any:
        self.clock.now += self.cost(self.steps)
        self.steps += 1
        loss = nn.functional.cross_entropy(self.layer(batch.images.flatten(1).float()), batch.targets)
        return type("Outcome", (), {"loss": loss, "logs": {}})()


class Batches:
    wait_s = 0.0

    def __len__(self) -> int:
        return PER_EPOCH

    def epoch(self, epoch: int, start: int) -> Iterator[Batch]:
        one = Batch(np.zeros((2, 2, 2, 3), np.uint8), np.array([0, 1]), ["a", "b"])
        return itertools.repeat(one, PER_EPOCH - start)


def budgeted(
    cost: Any, seconds: float, steps: int, path: Path, monkeypatch: pytest.MonkeyPatch, val_s: float = 4.0,
    state: State | None = None, **hooks: Any,
) -> tuple[float, State]:  # fmt: skip
    """(seconds that it took, where it came to)."""
    clock = Clock()
    monkeypatch.setattr(loop, "Pace", lambda *a: pace.Pace(*a, clock=clock))

    def validate() -> dict[str, float]:
        clock.now += val_s
        return {"loss": 1.0}

    learner, events, state = Timed(clock, cost), Events(path), state or State()
    optimizer = torch.optim.SGD([{"params": learner.parameters(), "peak": 0.0}], lr=0.0)
    course = Course(-(-steps // PER_EPOCH), ScheduleConfig(), steps=steps, budget=Budget(seconds, gone=10, val_s=val_s))
    usual: dict[str, Any] = {
        "validate": validate, "keep_best": lambda s: None, "due": lambda s: False, "save": lambda s: None,
        "stop": lambda: False,
    }  # fmt: skip
    try:
        fit(learner, optimizer, Batches(), CPU, course, state, Hooks(**usual | hooks), events)
    finally:
        events.close()
    return clock.now - 1000.0, state


@pytest.mark.parametrize(
    "cost",
    [lambda n: 1.0, lambda n: 2.5, lambda n: 0.3, lambda n: 1.0 if n < 200 else 3.0, lambda n: 9.0 if n < 3 else 1.0],
)
def test_a_run_takes_its_time_within_a_tenth(cost: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = 600.0
    took, state = budgeted(cost, seconds, 500, tmp_path / "e.jsonl", monkeypatch)  # of one second each, as believed
    took += 10 + reserve(4.0, seconds)
    assert took == pytest.approx(seconds, rel=0.1)
    assert state.step == state.total
    assert state.spent > 0


def test_a_time_too_small_for_an_epoch_is_part_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[int] = []
    took, state = budgeted(
        lambda n: 1.0, 30.0, 16, tmp_path / "e.jsonl", monkeypatch, val_s=1.0, save=lambda s: saved.append(s.step)
    )
    assert (state.step, state.epoch) == (16, 1)  # of 30 seconds 10 are gone and 3 kept; a validation takes one
    assert took == 17
    assert saved == [16]  # nothing of it is lost
    assert next(read_events(tmp_path / "e.jsonl", "epoch"))["step"] == 16


def test_what_was_decided_is_kept_at_once_and_stays_when_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[dict[str, Any]] = []
    _, state = budgeted(
        lambda n: 2.5, 600.0, 500, tmp_path / "a.jsonl", monkeypatch, save=lambda s: saved.append(s.to_dict())
    )
    decided = list(read_events(tmp_path / "a.jsonl", "pace"))
    assert decided[0]["step"] == 10
    assert [(s["step"], s["total"]) for s in saved[:1]] == [(decided[0]["step"], decided[0]["total"])]
    took, again = budgeted(lambda n: 2.5, 600.0, 500, tmp_path / "b.jsonl", monkeypatch, state=State(**saved[0]))
    assert again.total == state.total
    assert again.val_losses == state.val_losses
    assert saved[0]["spent"] + took + reserve(4.0, 600) == pytest.approx(600, rel=0.1)
