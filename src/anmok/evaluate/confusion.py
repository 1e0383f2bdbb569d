"""Counts of right and wrong, and every score that is a function of them.

tp, support, predicted: counts[..., K], true positives, images of the class, images called the class.  Leading axes are
resamples, so that one definition gives a score and its bootstrap distribution.  Undefined is NaN, never 0.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Counts(NamedTuple):
    """Per-class counts float64[..., K] of n images; a multi-label image counts once in each of its labels.

    n: float64[K] where of some images some labels are unknown: those of which each is known.
    """

    tp: np.ndarray
    support: np.ndarray
    predicted: np.ndarray
    n: int | np.ndarray


def confusion_counts(targets: np.ndarray, predicted: np.ndarray, k: int) -> np.ndarray:
    """int64[K, K]: rows true class, columns predicted class.  targets, predicted int64[N]."""
    return np.bincount(targets.astype(np.int64) * k + predicted, minlength=k * k).reshape(k, k)


def multilabel_counts(targets: np.ndarray, predicted: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
    """int64[K, 2, 2]: for each label [[TN, FP], [FN, TP]].  targets, predicted bool[N, K].

    known bool[N, K]: what counts; there targets and predicted are False where it is.
    """
    tp, support, called = (x.sum(axis=0, dtype=np.int64) for x in (targets & predicted, targets, predicted))
    fp, fn = called - tp, support - tp
    tn = (len(targets) if known is None else known.sum(axis=0, dtype=np.int64)) - tp - fp - fn
    return np.stack([np.stack([tn, fp], axis=-1), np.stack([fn, tp], axis=-1)], axis=1)


def counts_of(matrix: np.ndarray) -> Counts:
    """Counts from a confusion matrix [K, K]."""
    matrix = matrix.astype(np.float64)
    return Counts(np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0), int(matrix.sum()))


def counts_of_labels(matrices: np.ndarray) -> Counts:
    """Counts from the 2×2 matrices [K, 2, 2] of a multi-label task."""
    m = matrices.astype(np.float64)
    n = m.sum(axis=(1, 2))
    return Counts(
        m[:, 1, 1], m[:, 1].sum(axis=1), m[:, :, 1].sum(axis=1), int(n[0]) if (n == n[0]).all() else n
    )  # fmt: skip


def ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a / b, NaN where b is 0."""
    a, b = np.broadcast_arrays(np.asarray(a, np.float64), np.asarray(b, np.float64))
    return np.divide(a, b, out=np.full(a.shape, np.nan), where=b != 0)


def precision(c: Counts) -> np.ndarray:
    """TP / (TP + FP) [..., K]; NaN for a class that is never predicted."""
    return ratio(c.tp, c.predicted)


def recall(c: Counts) -> np.ndarray:
    """TP / (TP + FN) [..., K]; NaN for a class without images."""
    return ratio(c.tp, c.support)


def fbeta(c: Counts, beta: float = 1.0) -> np.ndarray:
    """(1 + β²) TP / ((1 + β²) TP + FP + β² FN) [..., K]; NaN for a class neither present nor predicted.

    Recall weighs β times as much as precision (van Rijsbergen 1979).
    """
    return ratio((1 + beta**2) * c.tp, beta**2 * c.support + c.predicted)


def f1(c: Counts) -> np.ndarray:
    """2 TP / (2 TP + FP + FN) [..., K]; NaN for a class neither present nor predicted."""
    return fbeta(c)


def specificity(c: Counts) -> np.ndarray:
    """TN / (TN + FP) [..., K]; NaN where every image is of the class."""
    negatives = c.n - c.support
    return ratio(negatives - (c.predicted - c.tp), negatives)


def macro(per_class: np.ndarray) -> np.ndarray:
    """Mean over the classes where the score is defined (scikit-learn's average='macro', zero_division=nan)."""
    defined = ~np.isnan(per_class)
    return ratio(np.where(defined, per_class, 0).sum(axis=-1), defined.sum(axis=-1))


def weighted(per_class: np.ndarray, support: np.ndarray) -> np.ndarray:
    """Mean weighted by support over the classes where the score is defined (average='weighted', zero_division=nan)."""
    weight = np.where(np.isnan(per_class), 0, support)
    return ratio((np.nan_to_num(per_class) * weight).sum(axis=-1), weight.sum(axis=-1))


def mcc(c: Counts) -> np.ndarray:
    """Matthews correlation of K classes (Gorodkin 2004), in [-1, 1]; NaN where truth or prediction is constant."""
    covariance = c.tp.sum(axis=-1) * c.n - (c.support * c.predicted).sum(axis=-1)
    spread = (c.n**2 - (c.support**2).sum(axis=-1)) * (c.n**2 - (c.predicted**2).sum(axis=-1))
    return ratio(covariance, np.sqrt(spread))


def kappa(c: Counts) -> np.ndarray:
    """Cohen's kappa (1960), in [-1, 1]: agreement beyond what the two margins would give by chance.

    NaN where truth and prediction are the same single class throughout.
    """
    chance = (c.support * c.predicted).sum(axis=-1) / c.n
    return ratio(c.tp.sum(axis=-1) - chance, c.n - chance)


def normalized(matrix: np.ndarray, over: str) -> np.ndarray:
    """Shares float64[K, K] of a confusion matrix: over='true' of each row, 'predicted' of each column, 'all' of n.

    A row or column without images is NaN.
    """
    axis = {"true": 1, "predicted": 0, "all": None}[over]
    return ratio(matrix, matrix.sum(axis=axis, keepdims=True))


def averages(c: Counts, beta: float | None = None) -> dict[str, np.ndarray]:
    """Micro, macro and weighted precision, recall and F1, and where β is given F-beta, each [...]."""
    total = Counts(c.tp.sum(axis=-1), c.support.sum(axis=-1), c.predicted.sum(axis=-1), c.n)
    per_class, micro = class_scores(c, beta), class_scores(total, beta)
    out = {f"macro_{name}": macro(values) for name, values in per_class.items()}
    out |= {f"micro_{name}": value for name, value in micro.items()}
    return out | {f"weighted_{name}": weighted(values, c.support) for name, values in per_class.items()}


def class_scores(c: Counts, beta: float | None = None) -> dict[str, np.ndarray]:
    """Precision, recall and F1 of each class [..., K], and where β is given F-beta, called f2 for β = 2."""
    scores = {"f1": f1(c), "precision": precision(c), "recall": recall(c)}
    return scores | ({} if beta is None else {f"f{beta:g}": fbeta(c, beta)})
