"""Balanced sampling: how often each row is drawn in an epoch, as a pure function of (weights, seed, epoch)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from anmok.core.balance import BETA, class_weights
from anmok.core.errors import DataError, UsageError

_DIGITS = 9  # behind the point, of expected counts: what sums of floats leave behind is not a share of an image


def sampling_weights(counts: Sequence[int] | np.ndarray, how: str, beta: float = BETA) -> np.ndarray:
    """float64[K], in proportion to which one image of each class is drawn: none, balanced (1 / n), sqrt (1 / √n), or
    effective ((1 − β) / (1 − β^n), Cui et al. 2019, arXiv:1901.05555); see `core.balance.class_weights`.
    """
    return class_weights(counts, how, beta)


def row_weights(targets: np.ndarray, how: str, classes: int, beta: float = BETA) -> np.ndarray:
    """float64[N], the weight of each row by its targets, int64[N] or float32[N, K] of 0/1, as a Table gives them.

    A row with several labels has the weight of the rarest of them; rows with none of the labels are a class of their
    own, counted as such. An unlabelled row (-1, or all NaN) has weight 0, so it is not drawn: what balances labels has
    no say about rows without.
    """
    if targets.ndim == 1:
        labelled = targets >= 0
        weights = sampling_weights(np.bincount(targets[labelled], minlength=classes), how, beta)
        return np.where(labelled, weights[np.where(labelled, targets, 0)], 0.0)
    known = ~np.isnan(targets).all(1)
    has = (targets > 0) & known[:, None]
    bare = known & ~has.any(1)
    weights = sampling_weights([*has.sum(0), int(bare.sum())], how, beta)
    rarest = np.where(has, weights[:-1], 0.0).max(1, initial=0.0)
    return np.where(bare, weights[-1], rarest)


def weighted_order(weights_per_row: np.ndarray, n: int, seed: int, epoch: int) -> np.ndarray:
    """int64[n]: the rows of an epoch in their order, drawn in proportion to weights float[N], those of 0 never.

    Systematic resampling (Kitagawa 1996): one random offset, then n equal steps along the cumulated weights. A row
    comes up as often as it should, rounded down or up, and so do rows of one weight together, a class as a rule. Draws
    that are independent of each other (a multinomial) would leave out 37 % of the rows of an epoch even where all
    weigh the same, and give a class that is due 10 draws anything from 4 to 17. The result is shuffled.

    UsageError for a weight that is negative or not finite, or n below 0; DataError where all weights are 0.
    """
    weights = np.asarray(weights_per_row, np.float64)
    if n < 0 or not (np.isfinite(weights) & (weights >= 0)).all():
        raise UsageError("weights are finite and at least 0, and so is the number of draws.", code="setting")
    if not weights.any():
        raise DataError("no row can be drawn: all weigh 0.", remedy="Balance needs labelled rows.", code="empty-table")
    rng = np.random.Generator(np.random.Philox(key=np.array([seed % 2**64, epoch], np.uint64)))
    # Rows of one weight stand together, in an order that is new each epoch: so each has its turn at being rounded up.
    rows = rng.permutation(len(weights))
    rows = rows[np.argsort(weights[rows], kind="stable")]
    sums = np.cumsum(weights[rows])
    ends = np.round(sums / sums[-1] * n, _DIGITS)
    drawn = np.diff(np.ceil(ends - rng.random()), prepend=0.0).astype(np.int64)
    return rng.permutation(np.repeat(rows, drawn))
