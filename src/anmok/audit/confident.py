"""Confident learning: how many labels of each class are wrong, and which (Northcutt, Jiang & Chuang 2021, JAIR 70).

The equations are those of arXiv:1911.00068. targets: int64[N] in [0, K), the given labels; probs: float[N, K], of
models that did not learn from the image (out of fold). Both without unlabelled images and without NaN.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

TIE = 1e-6  # probabilities this near are equal: float32 holds no more of a mean
ROWS = 65536  # images at a time, so that memory stays flat where N × K is large


class Joint(NamedTuple):
    """Given label against true label. counts: int64[K, K], the confident joint C of eq. 1 (images whose true label is
    clear); calibrated: float64[K, K], its estimate of the whole set's counts (N times eq. 3), rows sum to the images of
    each label; guess: int64[N], the confident class of each image, -1 where none is clear.
    """

    counts: np.ndarray
    calibrated: np.ndarray
    guess: np.ndarray

    @property
    def noise_rate(self) -> float:
        """The estimated share of wrong labels, in [0, 1]."""
        total = self.calibrated.sum()
        return float(1 - np.trace(self.calibrated) / total) if total else 0.0


def thresholds(targets: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """float64[K]: the mean probability of a class over the images that carry its label (eq. 2); inf where none does."""
    k = probs.shape[1]
    images = np.bincount(targets, minlength=k)
    total = np.bincount(targets, weights=_own(targets, probs), minlength=k)
    return np.where(images > 0, total / np.maximum(images, 1), np.inf)


def joint(targets: np.ndarray, probs: np.ndarray) -> Joint:
    """Count each image whose probability of some class reaches that class's threshold: eq. 1 and 3.

    Of several such classes the most probable one counts. A label keeps one image at least as right, so that a class
    whose images all look like another is not lost whole.
    """
    n, k = probs.shape
    limits, guess = thresholds(targets, probs) - TIE, np.full(n, -1, np.int64)
    for rows in _chunks(n):
        some = np.where(probs[rows] >= limits, probs[rows], -1)
        best = some.argmax(axis=1)
        guess[rows] = np.where(some[np.arange(len(some)), best] >= 0, best, -1)
    clear = guess >= 0
    counts = np.bincount(targets[clear] * k + guess[clear], minlength=k * k).reshape(k, k)
    return Joint(counts, calibrate(counts, np.bincount(targets, minlength=k)), guess)


def calibrate(counts: np.ndarray, images: np.ndarray) -> np.ndarray:
    """float64[K, K]: each row of the confident joint scaled to the images of its label (int64[K])."""
    sure = counts.astype(np.float64)
    np.fill_diagonal(sure, np.maximum(np.diag(sure), 1))
    return sure / sure.sum(axis=1, keepdims=True) * images[:, None]


def whole_counts(calibrated: np.ndarray) -> np.ndarray:
    """int64[K, K]: the estimate in whole images; row sums stay (largest remainders are rounded up), and every label
    that has images keeps one as right.
    """
    out = np.floor(calibrated + 1e-9).astype(np.int64)
    owed = np.rint(calibrated.sum(axis=1)).astype(np.int64) - out.sum(axis=1)
    order = np.argsort(-(calibrated - out), axis=1, kind="stable")
    for row, n in enumerate(owed.tolist()):
        out[row, order[row, :n]] += 1
    for row in np.flatnonzero((np.diag(out) == 0) & (out.sum(axis=1) > 0)).tolist():
        out[row, out[row].argmax()] -= 1
        out[row, row] = 1
    return out


def by_confident_joint(targets: np.ndarray, found: Joint) -> np.ndarray:
    """bool[N]: images counted off the diagonal of the confident joint (the paper's method 2)."""
    return (found.guess >= 0) & (found.guess != targets)


def by_class(targets: np.ndarray, probs: np.ndarray, found: Joint) -> np.ndarray:
    """bool[N]: of each label as many images as are estimated wrong, those of least self-confidence (method 3)."""
    counts, own = whole_counts(found.calibrated), _own(targets, probs)
    out = np.zeros(len(targets), bool)
    for label, rows in _members(targets):
        wrong = len(rows) - counts[label, label]
        out[rows[np.argsort(own[rows], kind="stable")[:wrong]]] = True
    return out


def by_noise_rate(targets: np.ndarray, probs: np.ndarray, found: Joint) -> np.ndarray:
    """bool[N]: of each label i as many as are estimated to be j, those of largest margin p_j - p_i (method 4)."""
    counts, out = whole_counts(found.calibrated), np.zeros(len(targets), bool)
    for label, rows in _members(targets):
        for other in np.flatnonzero(counts[label]):
            if other != label:
                margin = probs[rows, other] - probs[rows, label]
                out[rows[np.argsort(-margin, kind="stable")[: counts[label, other]]]] = True
    return out


def _own(targets: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """float64[N]: self-confidence, the probability of the given label."""
    return probs[np.arange(len(targets)), targets].astype(np.float64)


def _members(targets: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Each label that has images, with their rows."""
    order, images = np.argsort(targets, kind="stable"), np.bincount(targets)
    ends = np.cumsum(images)
    for label in np.flatnonzero(images).tolist():
        yield label, order[ends[label] - images[label] : ends[label]]


def _chunks(n: int) -> Iterator[slice]:
    return (slice(low, low + ROWS) for low in range(0, n, ROWS))
