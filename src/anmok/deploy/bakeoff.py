"""Measure, then choose, for use: every way to run a model on this machine, timed and held against torch float32.

A form is taken only where it gives the same answers on images of the validation split, at the batch it will run at.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from anmok.core.errors import AnmokError
from anmok.core.types import Task
from anmok.deploy.runtimes import EAGER, Answer, Form

BATCHES = (1, 32)
Open = Callable[[Form, int], Answer]  # a form, for batches of so many


@dataclass(frozen=True)
class Bounds:
    """What a form must keep to.

    agreement: the share of images with the same answer as in torch float32, by dtype; accuracy: by how much the
    accuracy on labelled images may be lower, of any dtype, in [0, 1].
    """

    fp32: float = 0.995
    bf16: float = 0.995
    int8: float = 0.97
    accuracy: float = 0.005

    def agreement(self, dtype: str) -> float:
        """The least share of equal answers of a dtype."""
        return {"fp32": self.fp32, "bf16": self.bf16, "int8": self.int8}[dtype]


@dataclass(frozen=True)
class Gate:
    """The images on which forms must agree: uint8[N, S, S, C]; what torch float32 says of them, float32[N, K]; their
    targets, or None; whether they are images at all, and not random pixels.
    """

    images: np.ndarray
    wanted: np.ndarray
    task: Task
    targets: np.ndarray | None = None
    real: bool = True


@dataclass(frozen=True)
class Row:
    """One form at one batch: milliseconds a batch (the median), images a second, how many times as fast as torch
    float32, the share of equal answers, the largest difference of a probability, accuracy where there are targets.

    why: why it is not taken, '' where it may be; chosen: whether it is the fastest of its batch that may be.
    """

    runtime: str
    dtype: str
    layout: str
    batch: int
    ms: float | None = None
    images_per_s: float | None = None
    ratio: float | None = None
    agreement: float | None = None
    difference: float | None = None
    accuracy: float | None = None
    why: str = ""
    chosen: bool = False

    @property
    def form(self) -> Form:
        """The form that was measured."""
        return Form(self.runtime, self.dtype, self.layout)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def bake_off(
    candidates: Mapping[Form, str], open_form: Open, gate: Gate, *, batches: Sequence[int] = BATCHES,
    bounds: Bounds | None = None, seconds: float = 0.4, rounds: int = 5,
    step: Callable[[str], None] = lambda text: None, clock: Callable[[], float] = time.perf_counter,
) -> list[Row]:  # fmt: skip
    """A row for every candidate at every batch; the fastest of each batch that keeps to the bounds is `chosen`.

    candidates: forms, torch float32 among them, each with why it cannot be had ('' where it can). Of each batch all
    forms are warmed up and then timed in `rounds` turns of about `seconds`, so that a machine that slows down slows
    all of them; `step` hears what is being done.
    """
    rows: list[Row] = []
    for batch in batches:
        rows += _at_batch(candidates, open_form, gate, batch, bounds or Bounds(), seconds, rounds, step, clock)
    return rows


def _at_batch(
    candidates: Mapping[Form, str], open_form: Open, gate: Gate, batch: int, bounds: Bounds, seconds: float,
    rounds: int, step: Callable[[str], None], clock: Callable[[], float],
) -> list[Row]:  # fmt: skip
    images = sample(gate.images, batch)
    found: dict[Form, Row] = {}
    opened: dict[Form, Answer] = {}
    for form, why in candidates.items():
        found[form] = Row(*form, batch, why=why)
        if why:
            continue
        step(f"{form}, batch {batch}: the same answers?")
        try:
            answer = open_form(form, batch)
            found[form] = judged(found[form], answer, gate, bounds)
        except AnmokError as error:
            found[form] = replace(found[form], why=error.message)
            continue
        opened[form] = answer
    times = timed(opened, images, seconds, rounds, lambda form: step(f"{form}, batch {batch}"), clock)
    for form, taken in times.items():
        ms = 1000 * statistics.median(taken)
        found[form] = replace(found[form], ms=ms, images_per_s=1000 * batch / ms)
    return chosen([with_ratio(row, found.get(EAGER)) for row in found.values()])


def judged(row: Row, answer: Answer, gate: Gate, bounds: Bounds) -> Row:
    """A row with what the form answers to the gate's images, in batches of its own size, and why it is not taken."""
    got = np.concatenate([answer(gate.images[i : i + row.batch]) for i in range(0, len(gate.images), row.batch)])
    if not np.isfinite(got).all():
        return replace(row, agreement=0.0, why="some of its probabilities are no numbers")
    agreement = float(equal_answers(got, gate.wanted, gate.task))
    row = replace(row, agreement=agreement, difference=float(np.abs(got - gate.wanted).max()))
    least = bounds.agreement(row.dtype)
    if agreement < least:
        return replace(row, why=f"it agrees on {agreement:.2%} of the images, {least:.2%} are asked for")
    if gate.targets is None:
        return row
    own, reference = accuracy(got, gate.targets, gate.task), accuracy(gate.wanted, gate.targets, gate.task)
    row = replace(row, accuracy=own)
    if reference - own > bounds.accuracy + 1e-9:
        points = 100 * (reference - own)
        return replace(row, why=f"its accuracy is {points:.1f} points lower, {100 * bounds.accuracy:.1f} are allowed")
    return row


def timed(
    opened: Mapping[Form, Answer], images: np.ndarray, seconds: float, rounds: int, step: Callable[[Form], None],
    clock: Callable[[], float],
) -> dict[Form, list[float]]:  # fmt: skip
    """Seconds of every call, of each form, in turns; the calls before the first turn are not counted."""
    times: dict[Form, list[float]] = {form: [] for form in opened}
    for turn in range(rounds + 1):
        for form, answer in opened.items():
            step(form)
            until = clock() + (seconds if turn else seconds / 2)
            answer(images)  # its threads, asleep while others ran, wake up
            while True:
                began = clock()
                answer(images)
                now = clock()
                if turn:
                    times[form].append(now - began)
                if now >= until:
                    break
    return times


def chosen(rows: list[Row]) -> list[Row]:
    """The rows of a batch, the fastest one that may be taken marked."""
    good = [row for row in rows if row.ms is not None and not row.why]
    best = min(good, key=lambda row: row.ms or 0.0, default=None)
    return [replace(row, chosen=row is best) for row in rows]


def with_ratio(row: Row, eager: Row | None) -> Row:
    """A row with how many times as fast it is as torch float32."""
    if row.ms is None or eager is None or eager.ms is None:
        return row
    return replace(row, ratio=eager.ms / row.ms)


def sample(images: np.ndarray, batch: int) -> np.ndarray:
    """`batch` of the images, again from the first one where there are fewer."""
    return np.ascontiguousarray(images[np.arange(batch) % len(images)])


def equal_answers(probs: np.ndarray, wanted: np.ndarray, task: Task) -> float:
    """The share of equal answers: of images by their first class, of multi-label by each label at 0.5."""
    if task == "multilabel":
        return float(((probs >= 0.5) == (wanted >= 0.5)).mean())
    return float((probs.argmax(axis=1) == wanted.argmax(axis=1)).mean())


def accuracy(probs: np.ndarray, targets: np.ndarray, task: Task) -> float:
    """The share of right answers among the labelled: of multi-label, of labels at 0.5."""
    if task == "multilabel":
        known = ~np.isnan(targets)
        return float(((probs >= 0.5) == (targets > 0.5))[known].mean()) if known.any() else float("nan")
    known = targets >= 0
    return float((probs.argmax(axis=1) == targets)[known].mean()) if known.any() else float("nan")
