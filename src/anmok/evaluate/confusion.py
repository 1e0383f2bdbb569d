"""Counts of right and wrong, and every score that is a function of them.

tp, support, predicted: counts[..., K], true positives, images of the class, images called the class.  Leading axes are
resamples, so that one definition gives a score and its bootstrap distribution.  Undefined is NaN, never 0.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Counts(NamedTuple):
    """Per-class counts float64[..., K] of n images; a multi-label image counts once in each of its labels."""

    tp: np.ndarray
    support: np.ndarray
    predicted: np.ndarray
    n: int


def confusion_counts(targets: np.ndarray, predicted: np.ndarray, k: int) -> np.ndarray:
    """int64[K, K]: rows true class, columns predicted class.  targets, predicted int64[N]."""
    from sklearn.metrics import confusion_matrix

    return confusion_matrix(targets, predicted, labels=np.arange(k)).astype(np.int64)


def multilabel_counts(targets: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """int64[K, 2, 2]: for each label [[TN, FP], [FN, TP]].  targets, predicted bool[N, K]."""
    from sklearn.metrics import multilabel_confusion_matrix

    # a single column would be read as a binary task, and the absent class as a label of its own
    labels = np.arange(targets.shape[1])
    if len(labels) == 1:
        return confusion_counts(targets[:, 0].astype(np.int64), predicted[:, 0].astype(np.int64), 2)[None]
    matrices = multilabel_confusion_matrix(targets.astype(np.int8), predicted.astype(np.int8), labels=labels)
    return matrices.astype(np.int64)


def counts_of(matrix: np.ndarray) -> Counts:
    """Counts from a confusion matrix [K, K]."""
    matrix = matrix.astype(np.float64)
    return Counts(np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0), int(matrix.sum()))


def counts_of_labels(matrices: np.ndarray) -> Counts:
    """Counts from the 2×2 matrices [K, 2, 2] of a multi-label task."""
    m = matrices.astype(np.float64)
    return Counts(m[:, 1, 1], m[:, 1].sum(axis=1), m[:, :, 1].sum(axis=1), int(m[0].sum()))


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


def f1(c: Counts) -> np.ndarray:
    """2 TP / (2 TP + FP + FN) [..., K]; NaN for a class neither present nor predicted."""
    return ratio(2 * c.tp, c.support + c.predicted)


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


def averages(c: Counts) -> dict[str, np.ndarray]:
    """Micro, macro and weighted precision, recall and F1, each [...]."""
    per_class = {"f1": f1(c), "precision": precision(c), "recall": recall(c)}
    total = Counts(c.tp.sum(axis=-1), c.support.sum(axis=-1), c.predicted.sum(axis=-1), c.n)
    micro = {"f1": f1(total), "precision": precision(total), "recall": recall(total)}
    out = {f"macro_{name}": macro(values) for name, values in per_class.items()}
    out |= {f"micro_{name}": value for name, value in micro.items()}
    return out | {f"weighted_{name}": weighted(values, c.support) for name, values in per_class.items()}
