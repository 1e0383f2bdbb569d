"""Thresholds that keep a promise: precision, or recall, at least so much, but for a share delta of validation sets.

The promise is about images that come like those of validation.  Delta is a share of all the validation sets that could
be drawn, those included that make no promise: at most that share makes one that is broken.  Of the sets that do make a
promise a larger share may be broken, where few do: from 200 images a precision is seldom promised, and rightly so.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from anmok.core.errors import UsageError
from anmok.core.types import Predictions
from anmok.evaluate.fitting import fitting_rows
from anmok.evaluate.thresholds import label_scores

DELTA = 0.1
STARTS = 4  # places at which a sequence of tests begins; delta is shared among them
STEPS = 200  # thresholds tried at most


class Promise(NamedTuple):
    """threshold: alarms are probs >= threshold; None where no promise can be given, and `reason` says why.

    needed: images of validation that would probably be enough, where there are too few; None where more will not help.
    """

    threshold: float | None
    reason: str
    needed: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return dict(self._asdict())


def fit_at_least(
    p: Predictions, label: str, *, precision: float | None = None, recall: float | None = None, delta: float = DELTA
) -> Promise:  # fmt: skip
    """`at_least` of one label on the labelled rows of validation.  DataError: see `fitting_rows`."""
    scores, positive = label_scores(fitting_rows(p), label)
    return at_least(scores, positive, precision=precision, recall=recall, delta=delta)


def at_least(
    scores: np.ndarray, positive: np.ndarray, *, precision: float | None = None, recall: float | None = None,
    delta: float = DELTA,
) -> Promise:  # fmt: skip
    """The threshold that promises a precision (with as much recall as can be) or a recall (with as much precision).

    delta: the largest share, of all validation sets that could be drawn, which makes a promise that is broken.
    Both together share delta, and the threshold is the lowest that keeps both.  scores float[N], positive bool[N];
    precision, recall and delta in (0, 1).  UsageError: none is asked for, or one outside.
    """
    for name, value in (("precision", precision), ("recall", recall), ("delta", delta)):
        if value is not None and not 0 < value < 1:
            raise UsageError(f"{name} must lie between 0 and 1, found {value}.", where=name, code="setting")
    if precision is None and recall is None:
        raise UsageError("neither precision nor recall is asked for.", where="at-least", code="setting")
    if precision is None:
        return recall_at_least(scores, positive, float(recall or 0), delta)
    if recall is None:
        return precision_at_least(scores, positive, precision, delta)
    lower = precision_at_least(scores, positive, precision, delta / 2)
    upper = recall_at_least(scores, positive, recall, delta / 2)
    for one in (lower, upper):
        if one.threshold is None:
            return one
    assert lower.threshold is not None
    assert upper.threshold is not None
    if lower.threshold <= upper.threshold:
        return Promise(lower.threshold, f"{lower.reason}; {upper.reason}")
    return Promise(
        None, f"precision needs a threshold of {lower.threshold:.4g} or more, recall one of {upper.threshold:.4g} or "
        "less: this model cannot keep both promises",
    )  # fmt: skip


def recall_at_least(scores: np.ndarray, positive: np.ndarray, recall: float, delta: float = DELTA) -> Promise:
    """The highest threshold with P(recall < `recall`) <= delta: an order statistic of the positives' scores.

    The one-sided tolerance limit of Wilks (1941), exact whatever the scores' distribution.
    """
    from scipy.stats import binom

    own = np.sort(scores[positive])
    n, least = len(own), math.ceil(math.log(delta) / math.log(recall))
    # the j-th lowest misleads where fewer than j positives fall into the share 1 - recall that may be missed
    passed = int(binom.ppf(delta, n, 1 - recall)) if n else 0
    while passed > 0 and binom.cdf(passed - 1, n, 1 - recall) > delta:
        passed -= 1
    if n == 0 or passed == 0:
        share = n / len(scores) if n else 0.0
        return Promise(
            None, f"{n:,} positive images cannot promise a recall of {recall:g}, at least {least:,} are needed",
            math.ceil(least / share) if share else None,
        )  # fmt: skip
    return Promise(float(own[passed - 1]), f"recall at least {recall:g} (delta {delta:g}, from {n:,} positive images)")


def precision_at_least(scores: np.ndarray, positive: np.ndarray, precision: float, delta: float = DELTA) -> Promise:
    """The lowest threshold with P(precision < `precision`) <= delta: Learn then Test (Angelopoulos et al. 2021,
    arXiv:2110.01052) with fixed sequences from several starts.

    The thresholds tried are order statistics of the scores, chosen without a look at the labels; given one, the images
    above it are a fresh sample of those above it, so their positives are binomial. From each start tests go on to ever
    more alarms as long as the promise passes (Clopper–Pearson at delta / starts).
    """
    from scipy.stats import binom

    n = len(scores)
    least = math.ceil(math.log(delta / STARTS) / math.log(precision))  # alarms, all right, that could pass
    values, counts = np.unique(scores, return_counts=True)
    above = np.r_[np.cumsum(counts[::-1])[::-1][1:], 0]  # images strictly above each value
    hits = _hits_above(scores, positive, values)
    usable = np.flatnonzero(above >= least)[::-1]  # from few alarms to many
    if not len(usable):
        return Promise(
            None, f"{n:,} images cannot promise a precision of {precision:g}: {least:,} alarms, all right, are needed",
            _images_needed(positive, scores, precision, delta),
        )  # fmt: skip
    grid = usable[np.unique(np.geomspace(1, len(usable), min(STEPS, len(usable))).astype(np.int64) - 1)]
    passes = binom.sf(hits[grid] - 1, above[grid], precision) <= delta / STARTS
    starts = np.unique(np.searchsorted(above[grid], np.geomspace(least, above[grid[-1]], STARTS + 1)[:-1]))
    reached = -1
    for start in starts:
        end = int(start)
        while end < len(grid) and passes[end]:
            reached = max(reached, end)
            end += 1
    if reached < 0:
        needed = _images_needed(positive, scores, precision, delta)
        best = float((hits[grid] / above[grid]).max())
        return Promise(
            None, f"no threshold promises a precision of {precision:g} (the best here has {best:.3f} of "
            f"{int(above[grid[(hits[grid] / above[grid]).argmax()]]):,} alarms)", needed,
        )  # fmt: skip
    at = grid[reached]
    said = f"precision at least {precision:g} (delta {delta:g}, {int(hits[at]):,} of {int(above[at]):,} alarms right)"
    return Promise(float(np.nextafter(np.float32(values[at]), np.float32(2))), said)


def _hits_above(scores: np.ndarray, positive: np.ndarray, values: np.ndarray) -> np.ndarray:
    own = np.sort(scores[positive])
    return len(own) - np.searchsorted(own, values, side="right")


def _images_needed(positive: np.ndarray, scores: np.ndarray, precision: float, delta: float) -> int | None:
    """Images at which the best threshold here would pass, were its precision the true one; None where it is too low."""
    from scipy.stats import norm

    order = np.argsort(-scores, kind="stable")
    alarms = np.arange(1, len(scores) + 1)
    # half an image of doubt each way, or a few lucky ones at the top would promise the world
    shrunk = (np.cumsum(positive[order]) + 0.5) / (alarms + 1)
    good = shrunk > precision
    if not good.any():
        return None
    z = norm.ppf(1 - delta / STARTS)
    wanted = z**2 * precision * (1 - precision) / (shrunk[good] - precision) ** 2
    least = math.log(delta / STARTS) / math.log(precision)
    return math.ceil(float((np.maximum(wanted, least) / (alarms[good] / len(scores))).min()))
