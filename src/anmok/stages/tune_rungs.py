"""The arithmetic of successive halving: which candidates a rung has, on how many images, and which of them go on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from anmok.augment.draws import uniform
from anmok.data.table import Table
from anmok.stages.pick import class_of

LEAST_IMAGES = 200  # of a rung, where there are as many: on fewer, policies cannot be told apart
LEAST_EACH = 2  # of a class, where it has as many


class Trial(NamedTuple):
    """A candidate's training in a rung, and how it was scored on the whole validation split.

    rung: from 1 on; images, epochs: trained on, for; planned: epochs that there was thought to be time for; seconds: of
    everything it took; metric: the score's name; low, high: its 95 % interval; loss: log loss, which decides between
    equal scores; error: why there is no score, else ''.
    """

    rung: int
    candidate: str
    images: int
    epochs: int
    planned: int
    seconds: float
    metric: str = ""
    score: float | None = None
    low: float | None = None
    high: float | None = None
    loss: float | None = None
    error: str = ""


class Cost(NamedTuple):
    """Seconds that a trial takes before it trains, an image of an epoch, and the validation at its end."""

    set_up: float
    image: float
    validate: float

    def epoch(self, images: int) -> float:
        """Seconds of the shortest trial there is, of one epoch of so many images."""
        return self.set_up + self.image * images + self.validate


def rung_sizes(candidates: int, rungs: int, keep: int) -> list[int]:
    """How many candidates each rung has: all, then one in `keep` of the rung before, rounded up; no rung has one alone.

    Successive halving: Jamieson & Talwalkar 2016, arXiv:1502.07943, algorithm 1.
    """
    sizes = [candidates]
    while len(sizes) < rungs and sizes[-1] > 2:
        sizes.append(max(2, math.ceil(sizes[-1] / keep)))
    return sizes


def rung_fractions(fraction: float, rungs: int, images: int) -> list[float]:
    """The share of the training images in each rung: from `fraction` to all of them by equal factors.

    None below LEAST_IMAGES of the `images` there are; of a single rung it is `fraction`.
    """
    least = min(1.0, LEAST_IMAGES / max(1, images))
    if rungs == 1:
        return [max(least, fraction)]
    return [max(least, fraction ** (1 - rung / (rungs - 1))) for rung in range(rungs)]


def stratified(table: Table, fraction: float, seed: int) -> np.ndarray:
    """int64[M]: rows that are a share of each class, drawn by the seed, in the table's order.

    The rows of a smaller share are among those of a larger one. Of each class there is the share rounded half up, at
    least LEAST_EACH; an image of several labels counts as one of the first.
    """
    place = class_of(table)
    order = np.lexsort((uniform(table.rows["id"].to_list(), 0, seed, 1)[:, 0], place))
    counts = np.bincount(place, minlength=1)
    wanted = np.minimum(counts, np.maximum(LEAST_EACH, np.floor(counts * fraction + 0.5).astype(np.int64)))
    rank = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.sort(order[rank < wanted[place[order]]])


def affordable(candidates: int, seconds: float, cost: Cost, images: int) -> int:
    """How many of the candidates can have a trial of one epoch at least within the seconds."""
    return min(candidates, int(seconds / cost.epoch(images) + 1e-9))


def images_within(seconds: float, cost: Cost) -> int:
    """The training images of an epoch that a trial of so many seconds can have, 0 at least."""
    return max(0, int((seconds - cost.set_up - cost.validate) / cost.image))


def ranked(trials: Sequence[Trial]) -> list[Trial]:
    """Those that have a score, best first: by it, then by the loss, then in their order. A log loss is best low."""
    scored = [trial for trial in trials if trial.score is not None]
    return sorted(scored, key=lambda trial: (-better(trial), trial.loss if trial.loss is not None else math.inf))


def reasons(failed: Iterable[tuple[str, str]]) -> str:
    """'lenet: why. resnet18: another why.' of (candidate, error): each error once, with the first who met it."""
    first: dict[str, str] = {}
    for name, error in failed:
        first.setdefault(error, name)
    return " ".join(f"{name}: {error}" for error, name in first.items())


def better(trial: Trial) -> float:
    """The score so that higher is better."""
    assert trial.score is not None
    return -trial.score if trial.metric == "log_loss" else trial.score


def apart(first: Trial, second: Trial) -> bool:
    """Whether the intervals of two trials have no value in common."""
    bounds = (first.low, first.high, second.low, second.high)
    if None in bounds:
        return False
    low, high, other_low, other_high = (float(b) for b in bounds if b is not None)
    return low > other_high or other_low > high


def from_event(event: dict[str, Any]) -> Trial:
    """The trial that a line of trials.jsonl tells of."""
    return Trial(**{name: event[name] for name in Trial._fields if name in event})
