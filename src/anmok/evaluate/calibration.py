"""Scores of the probabilities: log loss and expected calibration error, and both over resamples of the images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

EPS = float(np.finfo(np.float64).eps)
BINS = 15


def log_losses(probs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Natural-log loss of each image float64[N]; a probability of 0 counts as 2.2e-16, as in scikit-learn.

    targets int64[N]: -log of the true class's probability; bool[N, K] (multi-label): mean binary cross-entropy over K.
    """
    if targets.ndim == 1:
        return -np.log(np.clip(probs[np.arange(len(probs)), targets].astype(np.float64), EPS, 1 - EPS))
    chosen = np.where(targets, probs, 1 - probs.astype(np.float64))
    return -np.log(np.clip(chosen, EPS, 1 - EPS)).mean(axis=1)


def bin_gaps(probs: np.ndarray, targets: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Confidence minus correctness of each image in its bin, float64[N, bins]; ECE is a function of its sums.

    Equal-width bins (b/bins, (b+1)/bins].  Multi-label: every (image, label) pair has a confidence, its probability.
    """
    n = len(probs)
    if targets.ndim == 1:
        confidence = probs.max(axis=1).astype(np.float64)
        gap, row = confidence - (probs.argmax(axis=1) == targets), np.arange(n)
    else:
        confidence = probs.astype(np.float64).ravel()
        gap, row = confidence - targets.ravel(), np.repeat(np.arange(n), targets.shape[1])
    index = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    return np.bincount(row * bins + index, weights=gap, minlength=n * bins).reshape(n, bins)


def ece(probs: np.ndarray, targets: np.ndarray, bins: int = BINS) -> float:
    """Expected calibration error (Guo et al. 2017, arXiv:1706.04599, eq. 3), in [0, 1].

    probs float[N, K]; targets int64[N], or bool[N, K] for multi-label (then over all (image, label) pairs).
    """
    return float(np.abs(bin_gaps(probs, targets, bins).sum(axis=0)).sum() / targets.size)


def calibration_draws(probs: np.ndarray, targets: np.ndarray) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """A statistic for `resample_rows`: log_loss and ece, [R] each."""
    labels = targets.size // len(targets)
    features = np.column_stack([log_losses(probs, targets), bin_gaps(probs, targets) / labels])

    def statistic(weights: np.ndarray) -> dict[str, np.ndarray]:
        sums = weights @ features / len(features)
        return {"log_loss": sums[:, 0], "ece": np.abs(sums[:, 1:]).sum(axis=1)}

    return statistic
