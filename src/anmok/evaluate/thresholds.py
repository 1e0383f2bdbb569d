"""The probability from which an alarm is worth raising, for one label, fitted on validation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from anmok.core.errors import DataError, UsageError, did_you_mean
from anmok.core.types import Predictions
from anmok.evaluate.costs import ErrorCosts
from anmok.evaluate.fitting import fitting_rows
from anmok.evaluate.platt import fit_platt, score_of
from anmok.evaluate.rows import Rows


class Sweep(NamedTuple):
    """Alarms at every threshold that makes a difference, from all images to none.

    thresholds float64[M], rising: probs >= threshold raises one, the last is above every score.  tp, fp float64[M].
    """

    thresholds: np.ndarray
    tp: np.ndarray
    fp: np.ndarray


def label_scores(rows: Rows, label: str) -> tuple[np.ndarray, np.ndarray]:
    """(scores float64[N], positive bool[N]) of one class against the rest, of the images of which it is known.

    UsageError: no such class.
    """
    if label not in rows.classes:
        raise UsageError(
            f"no such class as {label}.", where="positive", remedy=did_you_mean(label, rows.classes), code="setting"
        )
    k = rows.classes.index(label)
    if rows.known is not None:
        own = rows.known[:, k]
        return rows.probs[own, k].astype(np.float64), rows.targets[own, k]
    return rows.probs[:, k].astype(np.float64), rows.targets[:, k] if rows.targets.ndim == 2 else rows.targets == k


def sweep(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray | None = None) -> Sweep:
    """Count alarms at every threshold.  scores float[N], positive bool[N], weights float[N] (default 1)."""
    w = np.ones(len(scores)) if weights is None else weights
    values, code = np.unique(scores, return_inverse=True)
    of = [np.bincount(code, weights=w * kind, minlength=len(values)) for kind in (positive, ~positive)]
    tp, fp = (np.r_[np.cumsum(counts[::-1])[::-1], 0.0] for counts in of)
    # halfway to the next lower score, so that a score that differs in its last digit is decided alike
    between = (values[1:] + values[:-1]) / 2 if len(values) > 1 else np.zeros(0)
    first = values[0] / 2 if values[0] > 0 else 0.0
    return Sweep(np.r_[first, between, (values[-1] + max(1.0, values[-1])) / 2 + 1e-9], tp, fp)


def cheapest_threshold(
    scores: np.ndarray, positive: np.ndarray, costs: ErrorCosts, *, weights: np.ndarray | None = None,
    slack: float = 2.0,
) -> float:  # fmt: skip
    """The threshold whose alarms and misses cost least on these images.

    Of all thresholds whose cost is within `slack` standard errors (of the paired difference to the least) the one is
    taken that is nearest to where the probability, mended by a slope and a shift of its logit, is fp / (fp + fn):
    Bayes' rule, as a few positives alone place a threshold badly.  slack=0: the least cost on these images whatever it
    be worth.  scores float[N] in [0, 1], positive bool[N]; weights: see `prior.image_weights`.  DataError: one kind of
    image only.
    """
    if positive.all() or not positive.any():
        kind = "positive" if positive.any() else "negative"
        raise DataError(
            f"all {len(positive):,} images are {kind}: a threshold needs both kinds.",
            where="threshold",
            code="one-class",
        )
    w = np.ones(len(scores)) if weights is None else np.asarray(weights, np.float64)
    found = sweep(scores, positive, w)
    missed = (w * positive).sum() - found.tp
    spent = costs.fp * found.fp + costs.fn * missed
    best = int(spent.argmin())
    if slack == 0:
        close = np.flatnonzero(spent <= spent[best] * (1 + 1e-12))
    else:
        close = np.flatnonzero(spent - spent[best] <= slack * _errors(scores, positive, costs, w, found, best) + 1e-12)
    thresholds = np.minimum(found.thresholds, 1.0)
    wanted = _logit(score_of(costs.bayes, *fit_platt(scores, positive, w)))
    return float(found.thresholds[close[np.abs(_logit(thresholds[close]) - wanted).argmin()]])


def fit_threshold(
    p: Predictions, label: str, costs: ErrorCosts, *, weights: np.ndarray | None = None, slack: float = 2.0
) -> float:  # fmt: skip
    """`cheapest_threshold` of one label on the labelled rows of validation.  DataError: see `fitting_rows`."""
    scores, positive = label_scores(fitting_rows(p), label)
    return cheapest_threshold(scores, positive, costs, weights=weights, slack=slack)


def _errors(
    scores: np.ndarray, positive: np.ndarray, costs: ErrorCosts, w: np.ndarray, found: Sweep, best: int
) -> np.ndarray:  # fmt: skip
    """Standard error of the total cost at each threshold less that at the best, float64[M].

    Between two thresholds an image changes the cost by fp or fn or not at all, so sums of squares are counts.
    """
    squares = sweep(scores, positive, w**2)
    changed = costs.fp**2 * np.abs(squares.fp - squares.fp[best]) + costs.fn**2 * np.abs(squares.tp - squares.tp[best])
    mean = (costs.fp * (found.fp - found.fp[best]) - costs.fn * (found.tp - found.tp[best])) / len(scores)
    return np.sqrt(np.maximum(changed - len(scores) * mean**2, 0))


def _logit(p: np.ndarray | float) -> np.ndarray:
    clipped = np.clip(p, 1e-12, 1 - 1e-12)
    return np.log(clipped) - np.log1p(-clipped)
