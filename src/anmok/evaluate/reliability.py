"""Is a model that says 80 % right 80 times of 100? The data of a reliability diagram, and its one number."""

from __future__ import annotations

from typing import Any

import numpy as np

from anmok.evaluate.calibration import BINS
from anmok.evaluate.intervals import wilson


def confidences(probs: np.ndarray, targets: np.ndarray, label: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """(confidence float64, right bool) to compare: of the answer of each image, or of one class's probability.

    probs float[N, K], targets int64[N], or bool[N, K]: multi-label, then over all (image, label) pairs.
    """
    if label is not None:
        truth = targets[:, label] if targets.ndim == 2 else targets == label
        return probs[:, label].astype(np.float64), truth
    if targets.ndim == 2:
        return probs.astype(np.float64).ravel(), targets.ravel()
    return probs.max(axis=1).astype(np.float64), probs.argmax(axis=1) == targets


def bin_of(confidence: np.ndarray, bins: int, equal_mass: bool) -> np.ndarray:
    """The bin of each confidence, int64[N]: equally wide (b/bins, (b+1)/bins], or of equally many images.

    Equal confidences never part, so bins of equal mass may be fewer or uneven.
    """
    if not equal_mass:
        return np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    values, code, counts = np.unique(confidence, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts + 1) / 2  # rank of the middle image of each value, from 0 on
    return np.minimum((middle * bins / len(confidence)).astype(np.int64), bins - 1)[code] if len(values) else code


def reliability(
    probs: np.ndarray, targets: np.ndarray, bins: int = BINS, *, equal_mass: bool = False, label: int | None = None
) -> list[dict[str, Any]]:
    """The bins that hold images, from low to high: {low, high, n, confidence, accuracy: {value, low, high}}.

    low and high: the bin's edges, of bins of equal mass the least and greatest confidence in it.  accuracy has Wilson's
    interval.  Arguments: see `confidences`.
    """
    confidence, right = confidences(probs, targets, label)
    index = bin_of(confidence, bins, equal_mass)
    out = []
    for b in np.unique(index):
        inside = index == b
        n, hits = int(inside.sum()), int(right[inside].sum())
        low, high = wilson(hits, n)
        values = confidence[inside]
        out.append({
            "low": float(values.min()) if equal_mass else float(b / bins),
            "high": float(values.max()) if equal_mass else float((b + 1) / bins),
            "n": n, "confidence": float(values.mean()),
            "accuracy": {"value": hits / n, "low": low, "high": high},
        })  # fmt: skip
    return out


def binned_error(
    probs: np.ndarray, targets: np.ndarray, bins: int = BINS, *, equal_mass: bool = False, label: int | None = None
) -> float:
    """Expected calibration error in [0, 1], Σ n_b / N · |confidence - accuracy| (Guo et al. 2017, eq. 3).

    equal_mass: bins of equally many images (Nguyen & O'Connor 2015; `ace` of Nixon et al. 2019), which a few confident
    bins do not decide.  Arguments: see `confidences`.
    """
    confidence, right = confidences(probs, targets, label)
    index = bin_of(confidence, bins, equal_mass)
    return float(np.abs(np.bincount(index, weights=confidence - right, minlength=bins)).sum() / len(confidence))
