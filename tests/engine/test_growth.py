"""Growing images: their side as a function of the course, their pixels, and a course that still keeps to its time."""

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
from PIL import Image
from torch import nn

from anmok.core.events import Events, read_events
from anmok.core.types import Batch
from anmok.engine import loop, pace
from anmok.engine.config import ScheduleConfig
from anmok.engine.growth import Growth, shrunk
from anmok.engine.loop import Course, Hooks, State, fit
from anmok.engine.pace import Budget, epochs_of, reserve
from anmok.engine.runtime import Runtime

CPU = Runtime(torch.device("cpu"))
PER_EPOCH, SIZE = 30, 32
GROWTH = Growth(0.5, "60%", SIZE)


def test_sides_by_hand() -> None:
    sides = [GROWTH.side(epoch / 10, 100, 1000) for epoch in range(10)]
    # 16 + 16 * (0, 1/6, 2/6, …), to multiples of 4 (ties to the even one); from 60 % on the size itself
    assert sides == [16, 20, 20, 24, 28, 28, 32, 32, 32, 32]
    assert Growth(0.5, "3 epochs", 30).side(0.3, 100, 1000) == 30  # no multiple of 4, and yet the size
    assert [Growth(0.5, "300 steps", 30).side(d, 100, 1000) for d in (0, 0.29, 0.3)] == [16, 28, 30]
    assert Growth(0.4, "50%", 96, multiple=32).side(0.0, 10, 100) == 32


@given(st.floats(0.05, 0.99), st.integers(16, 512), st.sampled_from([4, 12, 32]), st.integers(1, 100))
def test_sides_never_shrink_and_end_at_the_size(share: float, size: int, multiple: int, until: int) -> None:
    growth = Growth(share, f"{until}%", size, multiple)
    sides = [growth.side(done / 50, 20, 1000) for done in range(51)]
    assert sides == sorted(sides)
    assert sides[-1] == size
    assert all(side == size or (side % multiple == 0 and 0 < side <= size) for side in sides)


def test_what_is_ahead_costs_its_pixels() -> None:
    # by the integral of (0.5 + 0.5 x / 0.6)² over 0.6, and 1 over the rest; sides are rounded, so about
    whole = 0.6 * (1 - 0.5**3) / (3 * 0.5) + 0.4
    assert GROWTH.ahead(0, 100, 1000) == pytest.approx(whole, rel=0.02)
    assert GROWTH.ahead(0, 100, 1000, side=16) == pytest.approx(4 * whole, rel=0.02)
    assert GROWTH.ahead(0.7, 100, 1000) == 1
    assert GROWTH.ahead(0.7, 100, 1000, side=16) == 4


@pytest.mark.parametrize("depth", [1, 3])
def test_pixels_are_pillows(depth: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, depth), np.uint8)
    made = shrunk(Batch(images, np.arange(5), list("abcde")), 20)
    assert made.images.dtype == torch.uint8
    assert made.images.shape == (5, 20, 20, depth)
    assert made.ids == list("abcde")
    for image, small in zip(images, made.images.numpy(), strict=True):
        for c in range(depth):
            theirs = np.asarray(Image.fromarray(image[..., c]).resize((20, 20), Image.Resampling.BILINEAR))
            assert np.abs(theirs.astype(int) - small[..., c]).max() <= 1
    assert shrunk(Batch(images, np.arange(5), []), None).images is images
    whole = Batch(images, np.arange(5), list("abcde"))
    assert shrunk(whole, 32) is whole


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Timed(nn.Module):
    """A learner whose step takes 1.6 seconds at 32 px, partly whatever the side."""

    def __init__(self, clock: Clock):
        super().__init__()
        self.weight, self.clock, self.sides = nn.Parameter(torch.zeros(2)), clock, []

    def forward(self, batch: Batch) -> Any:
        side = batch.images.shape[1]
        self.sides.append(side)
        self.clock.now += 0.2 + 1.4 * (side / SIZE) ** 2
        loss = (batch.images.float().mean() / 255 - self.weight).square().sum()
        return type("Outcome", (), {"loss": loss, "logs": {}})()


class Batches:
    wait_s = 0.0

    def __len__(self) -> int:
        return PER_EPOCH

    def epoch(self, epoch: int, start: int) -> Iterator[Batch]:
        one = Batch(np.full((2, SIZE, SIZE, 3), 128, np.uint8), np.array([0, 1]), ["a", "b"])
        return itertools.repeat(one, PER_EPOCH - start)


def grown(course: Course, path: Path, state: State, clock: Clock, **hooks: Any) -> Timed:
    learner, events = Timed(clock), Events(path)
    optimizer = torch.optim.SGD([{"params": learner.parameters(), "peak": 0.1}], lr=0.0)
    usual: dict[str, Any] = {
        "validate": lambda: {"loss": 1.0}, "keep_best": lambda s: None, "due": lambda s: False,
        "save": lambda s: None, "stop": lambda: False,
    }  # fmt: skip
    try:
        fit(learner, optimizer, Batches(), CPU, course, state, Hooks(**usual | hooks), events)
    finally:
        events.close()
    return learner


def test_each_epoch_has_its_side_and_says_so(tmp_path: Path) -> None:
    state = State()
    learner = grown(Course(10, ScheduleConfig(), growth=GROWTH), tmp_path / "e.jsonl", state, Clock())
    sides = [16, 20, 20, 24, 28, 28, 32, 32, 32, 32]
    assert learner.sides == [side for side in sides for _ in range(PER_EPOCH)]
    assert [e["side"] for e in read_events(tmp_path / "e.jsonl", "epoch")] == sides


def test_taken_up_within_an_epoch_it_goes_on_at_its_side(tmp_path: Path) -> None:
    saved: list[dict[str, Any]] = []
    course = Course(10, ScheduleConfig(), growth=GROWTH)
    whole = grown(
        course,
        tmp_path / "a.jsonl",
        State(),
        Clock(),
        due=lambda s: s.step == 104,
        save=lambda s: saved.append(s.to_dict()),
    )
    assert saved[0]["side"] == 24
    rest = grown(course, tmp_path / "b.jsonl", State(**saved[0]), Clock())
    assert rest.sides == whole.sides[104:]


@pytest.mark.parametrize("steps", [250, 600])
def test_a_time_is_kept_to_though_the_first_epochs_are_faster(
    steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, seconds = Clock(), 600.0
    monkeypatch.setattr(loop, "Pace", lambda *a: pace.Pace(*a, clock=clock))
    course = Course(-(-steps // PER_EPOCH), ScheduleConfig(), steps=steps, budget=Budget(seconds), growth=GROWTH)
    state = State()
    learner = grown(course, tmp_path / "e.jsonl", state, clock)
    assert clock.now - 1000 + reserve(0, seconds) == pytest.approx(seconds, rel=0.05)
    small = sum(side < SIZE for side in learner.sides) / len(learner.sides)
    assert small == pytest.approx(0.6, abs=0.12)  # of the steps, in whole epochs
    assert learner.sides == sorted(learner.sides)


def test_epochs_of_a_course() -> None:
    assert epochs_of(State(total=95), 10) == 10
    assert epochs_of(State(total=100, step=25, epoch=2, batch=5), 10) == 10
    assert epochs_of(State(total=18 + 7 * 8, step=21, epoch=2, batch=3), 7) == 10  # two epochs of nine batches before
