"""Areas under the ROC and precision–recall curves, one class against the rest, with intervals.

Their uncertainty is the infinitesimal jackknife's: how each area answers to the weight of each image (for ROC-AUC this
is DeLong's estimate, DeLong et al. 1988).  One sort of the scores gives areas and answers, so no image is resampled,
and a mean over classes keeps the dependence between classes that share their images.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from anmok.evaluate.groups import by_group
from anmok.evaluate.intervals import effective, logit_normal

AREAS = ("roc_auc", "average_precision")


class Area(NamedTuple):
    """An area in [0, 1] and its derivative by the weight of each image, float64[N], scaled for small samples."""

    value: float
    influence: np.ndarray


def class_areas(scores: np.ndarray, positive: np.ndarray) -> dict[str, Area]:
    """roc_auc and average_precision (as scikit-learn's: ties count half, steps are not interpolated).

    scores float[N], positive bool[N] with both kinds present.
    """
    order = np.argsort(-scores, kind="stable")
    y = positive[order].astype(np.float64)
    new = np.r_[True, np.diff(scores[order]) != 0]
    first, tie = np.flatnonzero(new), np.cumsum(new) - 1
    pos, neg = np.add.reduceat(y, first), np.add.reduceat(1 - y, first)
    above, below = np.cumsum(pos), np.cumsum(neg)
    p, q = above[-1], below[-1]

    beaten = (q - below + neg / 2) / q  # share of negatives a positive of this tie stands above
    beating = (above - pos / 2) / p  # share of positives above a negative of this tie
    auc = float(pos @ beaten / p)
    auc_influence = np.where(y == 1, _small(beaten[tie] - auc, p, auc), _small(beating[tie] - auc, q, auc))

    called = above + below
    precision = above / called
    ap = float(pos @ precision / p)
    helped = np.cumsum((pos / called)[::-1])[::-1][tie]  # over this tie and all below it
    diluted = np.cumsum((pos * above / called**2)[::-1])[::-1][tie]
    ap_influence = (y * (precision[tie] - ap + helped) - diluted) / p
    ap_influence *= np.sqrt(p / (p - 1)) if p > 1 else 1
    if p == 1:
        ap_influence = np.where(y == 1, np.sqrt(ap * (1 - ap)), ap_influence)

    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    return {"roc_auc": Area(auc, auc_influence[back]), "average_precision": Area(ap, ap_influence[back])}


def _small(deviation: np.ndarray, n: float, value: float) -> np.ndarray:
    """Influence of n images with the n - 1 correction; one image alone gets the widest spread a share can have."""
    if n > 1:
        return deviation / np.sqrt(n * (n - 1))
    return np.full(len(deviation), np.sqrt(value * (1 - value)))


def areas(
    probs: np.ndarray, positives: np.ndarray, binary: bool = False, groups: np.ndarray | None = None,
    known: np.ndarray | None = None,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:  # fmt: skip
    """(metrics of the task, metrics of each class): {area: {value, low, high} or n/a}.

    probs float[N, K], positives bool[N, K].  The task's area is the mean over the classes where it is defined, for a
    binary task that of the second class.  groups int64[N]: images of a group answer together.  known
    bool[N, K]: what counts, None for all.
    """
    n, k = probs.shape
    count = positives.sum(axis=0)
    sizes = np.minimum(count, (n if known is None else known.sum(axis=0)) - count)
    each: list[dict[str, Any]] = []
    mean, influence = dict.fromkeys(AREAS, 0.0), {name: np.zeros(n) for name in AREAS}
    defined = int((sizes > 0).sum())
    for c in range(k):
        if sizes[c] == 0:
            reason = "no image of any other class" if count[c] else "no image of this class"
            each.append({name: {"value": None, "reason": reason} for name in AREAS})
            continue
        found = class_areas(probs[:, c], positives[:, c]) if known is None else _of_known(probs, positives, known, c)
        each.append({name: _metric(area.value, area.influence, sizes[c], groups) for name, area in found.items()})
        for name, area in found.items():
            mean[name] += area.value / defined
            influence[name] += area.influence / defined
    if defined == 0:
        return {name: {"value": None, "reason": "one class only"} for name in AREAS}, each
    if binary:
        return {name: dict(metric) for name, metric in each[-1].items()}, each
    task = {name: _metric(mean[name], influence[name], effective(sizes), groups) for name in AREAS}
    if defined < k:
        for metric in task.values():
            metric["note"] = f"mean over {defined} of {k} classes; undefined for classes without images here"
    return task, each


def _of_known(probs: np.ndarray, positives: np.ndarray, known: np.ndarray, c: int) -> dict[str, Area]:
    """The areas of class c over the images of which it is known; the others have no influence."""
    own = known[:, c]
    found = class_areas(probs[own, c], positives[own, c])
    out = {}
    for name, area in found.items():
        influence = np.zeros(len(probs))
        influence[own] = area.influence
        out[name] = Area(area.value, influence)
    return out


def _metric(value: float, influence: np.ndarray, n: float, groups: np.ndarray | None) -> dict[str, Any]:
    value = min(1.0, max(0.0, value))
    if groups is not None:
        influence = by_group(influence, groups)
        count = len(influence)
        influence, n = influence * np.sqrt(count / max(1, count - 1)), min(n, count)
    return logit_normal(value, float(np.sqrt((influence**2).sum())), n)
