"""Scores of the probabilities: log loss, Brier score, expected calibration error, and where the true class ranks."""

from __future__ import annotations

import numpy as np

from anmok.evaluate.rows import blocks

EPS = float(np.finfo(np.float64).eps)
BINS = 15


def log_losses(probs: np.ndarray, targets: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
    """Natural-log loss of each image float64[N]; a probability of 0 counts as 2.2e-16, as in scikit-learn.

    targets int64[N]: -log of the true class's probability; bool[N, K] (multi-label): mean binary cross-entropy over K,
    or over the labels that are known (bool[N, K]).
    """
    if targets.ndim == 1:
        return -np.log(np.clip(probs[np.arange(len(probs)), targets].astype(np.float64), EPS, 1 - EPS))
    chosen = np.where(targets, probs, 1 - probs.astype(np.float64))
    return label_means(-np.log(np.clip(chosen, EPS, 1 - EPS)), known)


def label_means(values: np.ndarray, known: np.ndarray | None) -> np.ndarray:
    """The mean of each image's labels float64[N], over those that are known; values float[N, K]."""
    if known is None:
        return values.mean(axis=1)
    return np.where(known, values, 0.0).sum(axis=1) / known.sum(axis=1)


def brier_scores(probs: np.ndarray, targets: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
    """Squared error of each image's probabilities float64[N] (Brier 1950): in [0, 2], for two classes halved to [0, 1].

    targets int64[N]; bool[N, K] (multi-label): the mean over the (known) labels, in [0, 1].  scikit-learn's
    scale_by_half="auto".
    """
    n, k = probs.shape
    out = np.empty(n)
    for part in blocks(n, k):
        block = probs[part].astype(np.float64)
        if targets.ndim == 2:
            out[part] = label_means((block - targets[part]) ** 2, None if known is None else known[part])
            continue
        block[np.arange(len(block)), targets[part]] -= 1
        out[part] = np.einsum("ij,ij->i", block, block)
    return out / 2 if targets.ndim == 1 and k == 2 else out


def true_ranks(probs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """How many classes stand before the true one, int64[N], 0 where it is the answer.

    Of equally probable classes the first in class order stands first, as in argmax: so rank 0 is what accuracy counts.
    """
    n, k = probs.shape
    out = np.empty(n, np.int64)
    for part in blocks(n, k):
        block, truth = probs[part], targets[part, None]
        own = np.take_along_axis(block, truth, axis=1)
        ahead = block > own
        tied = block == own
        tied &= np.arange(k) < truth
        out[part] = np.count_nonzero(ahead, axis=1) + np.count_nonzero(tied, axis=1)
    return out


def bin_gaps(probs: np.ndarray, targets: np.ndarray, bins: int = BINS, known: np.ndarray | None = None) -> np.ndarray:
    """Confidence minus correctness of each image in its bin, float64[N, bins]; ECE is a function of its sums.

    Equal-width bins (b/bins, (b+1)/bins].  Multi-label: every (image, label) pair that is known has a confidence,
    its probability.
    """
    n = len(probs)
    if targets.ndim == 1:
        confidence = probs.max(axis=1).astype(np.float64)
        gap, row = confidence - (probs.argmax(axis=1) == targets), np.arange(n)
    else:
        confidence = probs.astype(np.float64).ravel()
        gap, row = confidence - targets.ravel(), np.repeat(np.arange(n), targets.shape[1])
        gap = gap if known is None else np.where(known.ravel(), gap, 0.0)
    index = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    return np.bincount(row * bins + index, weights=gap, minlength=n * bins).reshape(n, bins)


def ece(probs: np.ndarray, targets: np.ndarray, bins: int = BINS) -> float:
    """Expected calibration error (Guo et al. 2017, arXiv:1706.04599, eq. 3), in [0, 1].

    probs float[N, K]; targets int64[N], or bool[N, K] for multi-label (then over all (image, label) pairs).
    """
    return float(np.abs(bin_gaps(probs, targets, bins).sum(axis=0)).sum() / targets.size)
