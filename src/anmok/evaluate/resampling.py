"""The bootstrap on sufficient statistics: cells of the confusion matrix, sums over groups, moments; not on images.

Images are drawn within their true class, as a stratified split draws them, so that no draw loses a class.  Where images
come in groups, whole groups are drawn.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from anmok.evaluate.confusion import Counts
from anmok.evaluate.groups import by_group

RESAMPLES = 1000
LEAST = 200  # fewer draws than this place a 2.5 % quantile too badly to print it
CELL_DRAWS = 100_000_000
MOST_ROWS = 20_000  # rows up to which each is drawn; a sum over more is normal
BLOCK = 8_000_000  # numbers held at a time


class Cells(NamedTuple):
    """Draws of a confusion matrix: its Counts [R, K], and for each cost matrix the total cost [R]."""

    counts: Counts
    costs: list[np.ndarray]


def resample_cells(
    matrix: np.ndarray, rng: np.random.Generator, resamples: int = RESAMPLES, costs: tuple[np.ndarray, ...] = ()
) -> Cells:
    """Bootstrap over the images of a confusion matrix int64[K, K], each class by itself.

    Drawing a class's n images with replacement is one multinomial draw over its row's cells, so the cost depends on the
    number of cells that hold an image, not on n.  costs: float[K, K] each, what an image in a cell costs.
    """
    k, n = len(matrix), int(matrix.sum())
    filled = int(np.count_nonzero(matrix))
    r = max(min(resamples, LEAST), min(resamples, CELL_DRAWS // max(1, filled)))
    support = matrix.sum(axis=1)
    tp, called, spent = np.zeros((r, k)), np.zeros((r, k)), [np.zeros(r) for _ in costs]
    for true in np.flatnonzero(support):
        columns = np.flatnonzero(matrix[true])
        draws = rng.multinomial(support[true], matrix[true, columns] / support[true], size=r)
        called[:, columns] += draws
        if matrix[true, true]:
            tp[:, true] = draws[:, np.searchsorted(columns, true)]
        for total, cost in zip(spent, costs, strict=True):
            total += draws @ cost[true, columns]
    return Cells(Counts(tp, np.tile(support.astype(np.float64), (r, 1)), called, n), spent)


def resample_sums(
    features: np.ndarray, rng: np.random.Generator, resamples: int = RESAMPLES, *, strata: np.ndarray | None = None,
    groups: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """Sums of features float[N, S] over N images drawn with replacement, float64[R, S].

    strata int64[N]: images are drawn within their own. groups int64[N]: whole groups are drawn instead, and sums scaled
    to N images. Of more rows than 20,000 the sums are drawn from the normal distribution that the bootstrap's has
    become by then, with its mean and covariance.
    """
    n = len(features)
    if groups is not None:
        sums = resample_sums(
            np.column_stack([by_group(features, groups), by_group(np.ones(n), groups)]), rng, resamples
        )
        return sums[:, :-1] * (n / np.maximum(sums[:, -1:], 1))
    if n > MOST_ROWS:
        return _normal_sums(features, rng, resamples, strata)
    features = features.astype(np.float64, copy=False)
    first, size = _places(n, strata)
    order = None if strata is None else np.argsort(strata, kind="stable")
    ordered = features if order is None else features[order]
    out = np.empty((resamples, features.shape[1]))
    step = max(1, BLOCK // n)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = first + (rng.random((rows, n)) * size).astype(np.int64)
        drawn += n * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n)
        out[start : start + rows] = times.astype(np.float64) @ ordered
    return out


def _places(n: int, strata: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Of each of n places, sorted by stratum: where its stratum begins, and how many images that has."""
    if strata is None:
        return np.zeros(n, np.int64), np.full(n, n)
    _, counts = np.unique(strata, return_counts=True)
    return np.repeat(np.cumsum(counts) - counts, counts), np.repeat(counts, counts)


def _normal_sums(
    features: np.ndarray, rng: np.random.Generator, resamples: int, strata: np.ndarray | None
) -> np.ndarray:
    total = features.sum(axis=0, dtype=np.float64)
    if strata is None:
        centred = features - total / len(features)
    else:
        _, code, counts = np.unique(strata, return_inverse=True, return_counts=True)
        means = by_group(features, code) / counts[:, None]
        centred = features - means[code]
    covariance = centred.T @ centred
    values, vectors = np.linalg.eigh(covariance)  # some features are sums of others: no Cholesky
    root = vectors * np.sqrt(np.maximum(values, 0))
    return total + rng.standard_normal((resamples, len(total))) @ root.T
