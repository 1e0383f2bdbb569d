"""Deployment is rarer, or more frequent, than the data: probabilities for another prevalence of the classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from anmok.core.errors import DataError, UsageError, did_you_mean
from anmok.core.types import Task


def class_shares(targets: np.ndarray, k: int, known: np.ndarray | None = None) -> np.ndarray:
    """The prevalence of each class among labelled rows, float64[K].  targets int64[N] or bool[N, K].

    known bool[N, K]: what counts of multi-label targets, None for all.
    """
    if known is not None:
        return targets.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return targets.mean(axis=0) if targets.ndim == 2 else np.bincount(targets, minlength=k) / len(targets)


def full_prior(given: Mapping[str, float], classes: Sequence[str], source: np.ndarray, task: Task) -> np.ndarray:
    """The prevalence of every class from that of some, float64[K]; the others keep their proportions among themselves.

    Multi-label: labels are independent, those not named keep theirs.  UsageError: no such class, a share outside
    (0, 1), shares of more than 1 together.
    """
    out = np.array(source, np.float64)
    for name, value in given.items():
        if name not in classes:
            remedy = did_you_mean(name, classes)
            raise UsageError(f"no such class as {name}.", where="prevalence", remedy=remedy, code="setting")
        if not 0 < value < 1:
            raise UsageError(
                f"the prevalence of {name} must lie between 0 and 1, found {value}.", where="prevalence", code="setting"
            )
        out[classes.index(name)] = value
    if task == "multilabel":
        return out
    named = np.array([c in given for c in classes])
    rest, left = out[~named].sum(), 1 - out[named].sum()
    if left < -1e-9 or (named.all() and abs(left) > 1e-6) or (not named.all() and (left <= 0 or rest == 0)):
        raise UsageError(
            f"the prevalences sum to {out[named].sum():g}; all classes together make 1.", where="prevalence",
            code="setting",
        )  # fmt: skip
    if not named.all():
        out[~named] *= left / rest
    return out


def reweigh(probs: np.ndarray, source: np.ndarray, target: np.ndarray, task: Task = "multiclass") -> np.ndarray:
    """Probabilities where classes have the prevalence `target` instead of `source`, float64[N, K].

    Saerens, Latinne & Decaestecker (2002), eq. 2.4: each probability times target / source, then divided by the row's
    sum; multi-label: the odds of each label.  Right for calibrated probabilities, if what changes is how frequent the
    classes are and not how they look.  DataError: a class without images is to be frequent.
    """
    p = np.asarray(probs, np.float64)
    _require_known(source, target)
    ratio = np.divide(target, source, out=np.zeros(len(source)), where=source > 0)
    if task == "multilabel":
        other = np.divide(1 - target, 1 - source, out=np.zeros(len(source)), where=source < 1)
        positive, negative = p * ratio, (1 - p) * other
        return np.divide(positive, positive + negative, out=p.copy(), where=positive + negative > 0)
    weighted = p * ratio
    total = weighted.sum(axis=1, keepdims=True)
    return np.divide(weighted, total, out=p.copy(), where=total > 0)


def image_weights(targets: np.ndarray, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """What each image counts for, float64[N], so that the classes have the prevalence `target`; mean 1.

    targets int64[N].  DataError: see `reweigh`.
    """
    _require_known(source, target)
    ratio = np.divide(target, source, out=np.zeros(len(source)), where=source > 0)[targets]
    return ratio / ratio.mean()


def estimate_prior(
    probs: np.ndarray, source: np.ndarray, *, tolerance: float = 1e-8, most: int = 1000
) -> tuple[np.ndarray, np.ndarray]:
    """(prevalence float64[K], probabilities float64[N, K] for it) of unlabelled images.

    Expectation-maximisation of Saerens et al. (2002), § 2.2: the most likely prevalence for probabilities that are
    calibrated at the prevalence `source`.  One label per image.
    """
    prior = np.array(source, np.float64)
    for _ in range(most):
        adjusted = reweigh(probs, source, prior)
        new = adjusted.mean(axis=0)
        done = float(np.abs(new - prior).max()) < tolerance
        prior = new
        if done:
            break
    return prior, reweigh(probs, source, prior)


def _require_known(source: np.ndarray, target: np.ndarray) -> None:
    unknown = (source <= 0) & (target > 0)
    if unknown.any():
        raise DataError(
            f"class number {int(unknown.argmax())} has no image in the data, so no prevalence can be given to it.",
            where="prevalence", code="one-class",
        )  # fmt: skip
