"""What an alarm from a threshold on does to each label, at up to 1,001 thresholds: the data of a slider.

Counts of images at or above each threshold, never the images themselves, so that a million predictions stay small.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from anmok.evaluate.groups import images_worth
from anmok.evaluate.intervals import wilsons
from anmok.evaluate.thresholds import sweep

MOST = 1001  # thresholds of a label
BUDGET = 12_000  # thresholds of all labels together
LEAST = 64  # of each label, however many there are
DIGITS = 7  # significant digits of a threshold: counts are taken at the rounded one, so what is shown is exact
WORTH = 24  # thresholds at which images of groups are weighed; those between take the nearest


class Shares(NamedTuple):
    """A proportion at each threshold with its 95 % Wilson interval, float64[M] each; NaN where undefined."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


class Alarms(NamedTuple):
    """One label against the rest.

    thresholds float64[M], rising: an image whose probability is at least that is an alarm.  tp, fp int64[M]: alarms
    that are right and false; positives and n: images of the label, and all.  precision, recall: see `Shares`.
    marks: {name: index} of thresholds that mean something.
    """

    thresholds: np.ndarray
    tp: np.ndarray
    fp: np.ndarray
    positives: int
    n: int
    precision: Shares
    recall: Shares
    marks: dict[str, int]


def alarms(
    scores: np.ndarray, positive: np.ndarray, marks: dict[str, float] | None = None, *, most: int = MOST,
    groups: np.ndarray | None = None,
) -> Alarms:  # fmt: skip
    """Count alarms at the thresholds that make a difference, or at `most` of them where there are more.

    scores float[N] in [0, 1], positive bool[N]; marks {name: threshold}, each counted at exactly that threshold;
    groups int64[N]: images of a group are not independent.  ValueError: no image.
    """
    if len(scores) == 0:
        raise ValueError("no images")
    scores = np.asarray(scores, np.float64)
    named = dict(marks or {})
    every = sweep(scores, positive).thresholds
    room = max(2, most - len(named))
    chosen = every if len(every) <= room else _some(every, scores[positive], room)
    thresholds = np.unique(np.r_[rounded(chosen), list(named.values())])
    right, wrong = np.sort(scores[positive]), np.sort(scores[~positive])
    tp, fp = (len(s) - np.searchsorted(s, thresholds, side="left") for s in (right, wrong))
    size = _worth(scores, positive, thresholds, groups)
    return Alarms(
        thresholds, tp, fp, len(right), len(scores), _shares(tp, tp + fp, size[0]),
        _shares(tp, np.full(len(tp), len(right)), size[1]),
        {name: int(np.searchsorted(thresholds, t)) for name, t in named.items()},
    )  # fmt: skip


def thresholds_each(labels: int) -> int:
    """How many thresholds each of so many labels gets."""
    return min(MOST, max(LEAST, BUDGET // max(1, labels)))


def rounded(values: np.ndarray) -> np.ndarray:
    """Numbers to `DIGITS` significant digits, those that fall together once, rising."""
    return np.unique([float(f"{v:.{DIGITS}g}") for v in values])


def _some(every: np.ndarray, positives: np.ndarray, most: int) -> np.ndarray:
    """The ends, and a third each: spread evenly over thresholds, over probabilities, over the label's own images."""
    third = max(1, (most - 2) // 3)
    even = np.linspace(0, len(every) - 1, third).astype(np.int64)
    over = np.linspace(every[0], every[-1], third)
    own = np.quantile(positives, np.linspace(0, 1, third)) if len(positives) else over
    index = np.unique(np.r_[0, even, np.searchsorted(every, np.r_[over, own]), len(every) - 1]).clip(0, len(every) - 1)
    return every[index]


def _shares(part: np.ndarray, whole: np.ndarray, factor: np.ndarray) -> Shares:
    value = np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
    size = whole * factor
    low, high = wilsons(np.nan_to_num(value) * size, size)
    return Shares(value, np.fmin(low, value), np.fmax(high, value))


def _worth(
    scores: np.ndarray, positive: np.ndarray, thresholds: np.ndarray, groups: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Independent images per image that precision and recall rest on at each threshold, float64[M] in (0, 1] each."""
    ones = np.ones(len(thresholds))
    if groups is None:
        return ones, ones
    at = np.unique(np.linspace(0, len(thresholds) - 1, WORTH).astype(np.int64))
    nearest = np.abs(np.arange(len(thresholds))[:, None] - at).argmin(axis=1)
    found = []
    for t in thresholds[at]:
        alarm = scores >= t
        found.append((_factor(positive, alarm, groups), _factor(alarm, positive, groups)))
    both = np.array(found)[nearest]
    return both[:, 0], both[:, 1]


def _factor(hits: np.ndarray, among: np.ndarray, groups: np.ndarray) -> float:
    if not among.any():
        return 1.0
    codes = np.unique(groups[among], return_inverse=True)[1]
    return images_worth(hits[among], codes) / int(among.sum())


def chosen_labels(f1: Sequence[float | None], n: int, most: int = 100, scores: int = 20_000_000) -> list[int]:
    """The classes, in order, that get a slider and curves: all, or the worst by F1 where they would cost too much.

    f1: of each class, None where undefined (taken last); at most `most`, and N times their number at most `scores`.
    """
    room = min(most, max(1, scores // max(1, n)))
    order = sorted(range(len(f1)), key=lambda k: (f1[k] is None, f1[k] if f1[k] is not None else 0.0))
    return sorted(order[:room])
