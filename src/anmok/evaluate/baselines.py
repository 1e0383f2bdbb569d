"""Two scores to stand beside the model's, so that a number means something.

`majority` looks at no image; `nearest_neighbour` looks at pixels and learns nothing.
"""

from __future__ import annotations

import numpy as np

from anmok.core.errors import DataError

BLOCK = 4096  # training images compared at a time: 4,096 × 16 × 16 × 3 in float32 is 13 MB


def _labelled(targets: np.ndarray) -> np.ndarray:
    keep = ~np.isnan(targets).all(axis=1) if targets.ndim == 2 else targets >= 0
    if not keep.any():
        raise DataError("no labelled training image to take a baseline from.", where="baseline", code="unlabelled")
    return keep


def majority(train_targets: np.ndarray, n: int, classes: int) -> np.ndarray:
    """The training split's class frequencies for each of n images, float32[n, K]; its argmax is the majority class.

    train_targets int64[M] (-1: unlabelled), or float[M, K] for multi-label (NaN: unknown): each label's share.
    DataError: no labelled row.
    """
    known = train_targets[_labelled(train_targets)]
    share = _label_shares(known) if known.ndim == 2 else np.bincount(known, minlength=classes) / len(known)
    return np.tile(share.astype(np.float32), (n, 1))


def _label_shares(targets: np.ndarray) -> np.ndarray:
    """Share of each label among the images of which it is known, float64[K]; 0 where it is of none."""
    known = ~np.isnan(targets)
    return np.where(known, targets, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)


def nearest_neighbour(
    train_pixels: np.ndarray, train_targets: np.ndarray, pixels: np.ndarray, classes: int
) -> np.ndarray:
    """The label of the most similar training image, as probabilities of 0 and 1, float32[N, K].

    Euclidean distance of pixels, each z-scored by the training images.  train_pixels uint8[M, h, w, C] and pixels
    uint8[N, h, w, C], small (16 × 16, say); train_targets as in `majority`.  Memory is bounded by blocks, time is
    O(N · M).  Of equally near images the first counts.  DataError: no labelled row.
    """
    from sklearn.metrics import pairwise_distances_argmin_min

    keep = np.flatnonzero(_labelled(train_targets))
    mean, scale = _moments(train_pixels, keep)

    def standard(block: np.ndarray) -> np.ndarray:
        return (block.reshape(len(block), -1).astype(np.float32) - mean) / scale

    nearest = np.zeros(len(pixels), np.int64)
    for first in range(0, len(pixels), BLOCK):
        queries = standard(pixels[first : first + BLOCK])
        best = np.full(len(queries), np.inf)
        for start in range(0, len(keep), BLOCK):
            index = keep[start : start + BLOCK]
            found, distance = pairwise_distances_argmin_min(queries, standard(train_pixels[index]))
            nearer = distance < best
            best[nearer] = distance[nearer]
            nearest[first : first + BLOCK][nearer] = index[found[nearer]]
    if train_targets.ndim == 2:  # what is unknown of the neighbour is guessed by the label's share
        found = train_targets[nearest]
        return np.where(np.isnan(found), _label_shares(train_targets[keep]), found).astype(np.float32)
    return np.eye(classes, dtype=np.float32)[train_targets[nearest]]


def _moments(pixels: np.ndarray, keep: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each pixel, float32[h·w·C]; 1 where a pixel is constant."""
    total = np.zeros(int(np.prod(pixels.shape[1:])))
    squares = total.copy()
    for start in range(0, len(keep), BLOCK):
        block = pixels[keep[start : start + BLOCK]].reshape(-1, len(total)).astype(np.float64)
        total += block.sum(axis=0)
        squares += (block**2).sum(axis=0)
    mean = total / len(keep)
    deviation = np.sqrt(np.maximum(squares / len(keep) - mean**2, 0))
    return mean.astype(np.float32), np.where(deviation < 1e-3, 1, deviation).astype(np.float32)
