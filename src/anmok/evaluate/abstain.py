"""Answering only where the model is sure: risk against coverage, and the confidence below which a person is asked."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from anmok.core.errors import UsageError
from anmok.core.types import Predictions
from anmok.evaluate.averages import share
from anmok.evaluate.costs import expected_costs
from anmok.evaluate.fitting import fitting_rows


class RiskCoverage(NamedTuple):
    """At every confidence that makes a difference, from the surest image on.

    coverage: share of images that are answered; risk: mean loss among them; confidence: the least that is answered;
    float64[M] each.  aurc: area under the curve; excess: what it is above that of a perfect order.
    """

    coverage: np.ndarray
    risk: np.ndarray
    confidence: np.ndarray
    aurc: float
    excess: float


def sureness(probs: np.ndarray, *, costs: np.ndarray | None = None, limits: np.ndarray | None = None) -> np.ndarray:
    """How sure the model is of each image, float64[N], higher is surer: the probability of its answer.

    costs float[K, K]: minus the expected cost of the cheapest decision instead.  limits float[K]: the thresholds that
    decide, NaN where a class has none: 1 less the doubt of the most doubtful label, which is 1 at its threshold and 0
    where its probability is 0 or 1.  A threshold t says that a miss costs (1 - t) / t times a false alarm, and doubt is
    what the decision is then expected to cost.
    """
    p = np.asarray(probs, np.float64)
    if costs is not None:
        return -expected_costs(p, costs).min(axis=1)
    if limits is None:
        return p.max(axis=1)
    used = (limits > 0) & (limits < 1)  # of another nothing is in doubt
    t, q = limits[used], p[:, used]
    doubt = np.minimum(q / t, (1 - q) / (1 - t))
    return 1 - doubt.max(axis=1, initial=0.0)


def risk_coverage(confidence: np.ndarray, losses: np.ndarray) -> RiskCoverage:
    """The curve of losses float[N] (1 for a mistake, or a cost) by confidence (El-Yaniv & Wiener 2010).

    aurc is the mean over k of the risk of the k surest (Geifman & El-Yaniv 2017, arXiv:1705.08500); images of equal
    confidence stand for their mean, in whatever order they are in.  ValueError: no images.
    """
    n = len(losses)
    if n == 0:
        raise ValueError("no images")
    values, code, counts = np.unique(-confidence, return_inverse=True, return_counts=True)
    lost = np.bincount(code, weights=losses, minlength=len(values))
    answered = np.cumsum(counts)
    risk = np.cumsum(lost) / answered
    spread = (lost / counts)[code][np.argsort(code, kind="stable")]  # each image its tie's mean loss
    along = np.arange(1, n + 1)
    aurc = float((np.cumsum(spread) / along).mean())
    perfect = float((np.cumsum(np.sort(losses)) / along).mean())
    return RiskCoverage(answered / n, risk, -values, aurc, aurc - perfect)


def abstain_below(confidence: np.ndarray, share: float) -> float:
    """The confidence below which the `share` least sure images fall: at most that share, float.

    confidence float[N] of validation.  UsageError: a share outside [0, 1).
    """
    if not 0 <= share < 1:
        raise UsageError(f"the share must be at least 0 and below 1, found {share}.", where="abstain", code="setting")
    ordered = np.sort(confidence)
    return float(ordered[int(np.floor(share * len(ordered) + 1e-9))])


def fit_abstain(p: Predictions, share: float) -> float:
    """`abstain_below` on the labelled rows of validation, whose answer is the most probable class (multi-label: all
    labels at 0.5 or above).  DataError: see `fitting_rows`."""
    rows = fitting_rows(p, "an abstention")
    limits = np.full(len(rows.classes), 0.5) if rows.task == "multilabel" else None
    return abstain_below(sureness(rows.probs, limits=limits), share)


def answered(confidence: np.ndarray, wrong: np.ndarray, below: float) -> dict[str, Any]:
    """What abstaining below a confidence does to these images: {asked, coverage, risk, risk_of_all}.

    asked: images left to a person; each other {value, low, high} with Wilson's interval, n/a where nothing is answered.
    wrong bool[N].
    """
    keep = confidence >= below
    return {
        "asked": int((~keep).sum()),
        "coverage": share(int(keep.sum()), len(keep), ""),
        "risk": share(int(wrong[keep].sum()), int(keep.sum()), "no image is answered"),
        "risk_of_all": share(int(wrong.sum()), len(wrong), ""),
    }
