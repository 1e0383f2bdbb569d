"""Fitting a Decision on validation: thresholds or costs, a promise, a prevalence, an abstention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from anmok.core.errors import UsageError
from anmok.core.types import Predictions, Task
from anmok.evaluate.abstain import abstain_below
from anmok.evaluate.calibrate import Calibration
from anmok.evaluate.costs import ErrorCosts, cost_matrix, costs_of_labels
from anmok.evaluate.decision import Decision, Prior
from anmok.evaluate.fitting import fitting_rows
from anmok.evaluate.guarantee import DELTA, Promise, at_least
from anmok.evaluate.prior import class_shares, full_prior, image_weights, reweigh
from anmok.evaluate.rows import Rows
from anmok.evaluate.thresholds import cheapest_threshold, label_scores


def fit_decision(
    p: Predictions, *, costs: ErrorCosts | Mapping[str, ErrorCosts] | np.ndarray | None = None,
    positive: str | None = None, precision: float | None = None, recall: float | None = None, delta: float = DELTA,
    prevalence: Mapping[str, float] | None = None, abstain: float | None = None,
    calibration: Calibration | None = None, temperature: float = 1.0,
) -> Decision:  # fmt: skip
    """A decision fitted on the labelled rows of validation.

    costs: of a false alarm and a miss (binary: of `positive`, by default classes[1]; multi-label: of every label, or by
    label; multi-class: of `positive` against the rest), or float[K, K].  precision, recall: promises that at most a
    share delta of all validation sets makes and breaks (see `guarantee`), for `positive` or of a multi-label task for
    each label (then delta is shared among labels).  prevalence: of classes where the model will be used.  abstain: the
    share of images left to a person.  calibration: one that is not in the model (isotonic); temperature: the one that
    is in these probabilities already.

    A label for which no promise can be given keeps a threshold above every probability, so that it raises no alarm
    that was not promised (of a recall: 0, so that it misses nothing); `promises` says why and how many are needed.
    UsageError: costs and promises at once, a promise of precision for another prevalence, or of one class where no
    `positive` is named.  DataError: see `fitting_rows`.
    """
    rows = fitting_rows(p)
    if calibration is not None:
        rows = rows._replace(probs=calibration.apply(rows.probs))
    source = class_shares(rows.targets, len(rows.classes), rows.known)
    target = full_prior(prevalence or {}, rows.classes, source, rows.task)
    promised = precision is not None or recall is not None
    if promised and costs is not None:
        raise UsageError("costs and a promise cannot both set a threshold.", where="decide", code="setting")
    if precision is not None and prevalence:
        raise UsageError(
            "a precision cannot be promised for another prevalence than that of the images.", where="prevalence",
            remedy="Name costs instead, or promise a recall, which the prevalence does not change.", code="setting",
        )  # fmt: skip
    moved = rows._replace(probs=reweigh(rows.probs, source, target, rows.task)) if prevalence else rows
    weights = image_weights(rows.targets, source, target) if prevalence and rows.targets.ndim == 1 else None
    thresholds, matrix, promises = None, None, None
    if isinstance(costs, np.ndarray):
        if rows.task == "multilabel":
            raise UsageError("a multi-label task has costs of each label, no matrix.", where="cost", code="setting")
        matrix = cost_matrix(costs, rows.classes)
    elif costs is not None:
        thresholds = _thresholds(moved, costs_of_labels(costs, _labels(rows, positive, costs)), source, target, weights)
    elif promised:
        labels = _labels(rows, positive, None)
        found = {
            c: at_least(*label_scores(moved, c), precision=precision, recall=recall, delta=delta / len(labels))
            for c in labels
        }  # fmt: skip
        thresholds = {c: _threshold_of(one, precision is None) for c, one in found.items()}
        promises = {c: one.to_dict() for c, one in found.items()}
    decision = Decision(
        tuple(rows.classes), rows.task, temperature, thresholds,
        None if matrix is None else tuple(tuple(map(float, row)) for row in matrix),
        calibration, Prior(tuple(map(float, source)), tuple(map(float, target))) if prevalence else None,
        promises=promises,
    )  # fmt: skip
    if abstain is None:
        return decision
    return replace(decision, abstain_below=abstain_below(decision.sureness(moved.probs), abstain))


def _labels(rows: Rows, positive: str | None, costs: ErrorCosts | Mapping[str, ErrorCosts] | None) -> list[str]:
    """The labels that get a threshold."""
    if positive is not None:
        label_scores(rows, positive)  # names the nearest class where there is no such
        return [positive]
    if rows.task == "multilabel":
        return list(rows.classes)
    if isinstance(costs, Mapping):
        return list(costs)
    if rows.task == "binary":
        return [rows.classes[1]]
    raise UsageError(
        "of which class are alarms meant? None is named.", where="positive", code="setting",
        remedy=f"Name one of {', '.join(rows.classes[:8])}, or give a cost matrix.",
    )  # fmt: skip


def _thresholds(
    rows: Rows, costs: dict[str, ErrorCosts], source: np.ndarray, target: np.ndarray, weights: np.ndarray | None
) -> dict[str, float]:
    out = {}
    for label, cost in costs.items():
        scores, positive = label_scores(rows, label)
        own = weights
        if rows.targets.ndim == 2 and not np.array_equal(source, target):
            k = rows.classes.index(label)
            own = np.where(positive, target[k] / max(source[k], 1e-300), (1 - target[k]) / max(1 - source[k], 1e-300))
        if positive.all() or not positive.any():
            out[label] = cost.bayes  # no image to place it by, so by the probabilities alone
        else:
            out[label] = cheapest_threshold(scores, positive, cost, weights=own)
    return out


def _threshold_of(promise: Promise, of_recall: bool) -> float:
    if promise.threshold is not None:
        return promise.threshold
    return 0.0 if of_recall else 2.0


def plain_decision(classes: list[str], task: Task) -> Decision:
    """What is decided before anybody has named costs: 0.5, or the most probable class."""
    named = {"binary": classes[1:], "multilabel": classes, "multiclass": []}[task]
    return Decision(tuple(classes), task, thresholds=dict.fromkeys(named, 0.5) or None)
