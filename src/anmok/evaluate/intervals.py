"""Intervals that hold 95 times of 100: Wilson for a proportion, the bootstrap over images for the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from anmok.evaluate.confusion import Counts

Z = 1.959963984540054  # the standard normal's 97.5 % point
RESAMPLES = 1000
LEAST = 200  # fewer draws than this place a 2.5 % quantile too badly to print it
CELL_DRAWS = 50_000_000
ROW_DRAWS = 100_000_000


def wilson(successes: float, n: float) -> tuple[float, float]:
    """Wilson score interval of a proportion (Wilson 1927), 95 %; (0, 1) for n = 0.  Holds the proportion itself."""
    if n <= 0:
        return 0.0, 1.0
    share = successes / n
    centre = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * np.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return max(0.0, min(share, float(centre - half))), min(1.0, max(share, float(centre + half)))


def resample_cells(matrix: np.ndarray, rng: np.random.Generator, resamples: int = RESAMPLES) -> Counts:
    """Bootstrap over the images of a confusion matrix [K, K]: Counts [R, K].

    Drawing n images with replacement is one multinomial draw over the matrix's cells, so the cost depends on the number
    of cells that hold an image, not on n.
    """
    k, n = len(matrix), int(matrix.sum())
    true, called = np.nonzero(matrix)
    share = matrix[true, called] / n
    r = max(min(resamples, LEAST), min(resamples, CELL_DRAWS // len(share)))
    out = np.zeros((3, r, k))
    step = max(1, 4_000_000 // len(share))
    right = np.flatnonzero(true == called)
    for start in range(0, r, step):
        draws = rng.multinomial(n, share, size=min(step, r - start))
        rows = slice(start, start + len(draws))
        out[0, rows][:, true[right]] = draws[:, right]
        for axis, index in ((1, true), (2, called)):
            order = np.argsort(index, kind="stable")
            groups, first = np.unique(index[order], return_index=True)
            out[axis, rows][:, groups] = np.add.reduceat(draws[:, order], first, axis=1)
    return Counts(out[0], out[1], out[2], n)


def resample_rows(
    n: int,
    statistic: Callable[[np.ndarray], dict[str, np.ndarray]],
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> dict[str, np.ndarray]:
    """Bootstrap over n images: statistic(weights float64[r, n], how often each image was drawn) -> {name: [r, ...]}.

    Draws are made in blocks of bounded memory; their number falls with n, not below 200.
    """
    r = max(min(resamples, LEAST), min(resamples, ROW_DRAWS // n))
    step = max(1, 8_000_000 // n)
    blocks = []
    for start in range(0, r, step):
        size = min(step, r - start)
        weights = np.empty((size, n))
        for row in weights:
            row[:] = np.bincount(rng.integers(0, n, n), minlength=n)
        blocks.append(statistic(weights))
    return {name: np.concatenate([b[name] for b in blocks]) for name in blocks[0]}


def percentile(value: float, draws: np.ndarray, n: float, low: float = 0.0, high: float = 1.0) -> dict[str, Any]:
    """{value, low, high} from the 2.5 and 97.5 % points of bootstrap draws float[R] (NaN: undefined in that draw).

    The interval always holds the value. Where all draws agree (no mistake among few images) the bootstrap sees no
    uncertainty that is there: then Wilson's of n images on the metric's range stands instead. Without bounds if half of
    the draws are undefined.
    """
    draws = draws[np.isfinite(draws)]
    if len(draws) < LEAST / 2:
        return {"value": value}
    a, b = (float(q) for q in np.quantile(draws, [0.025, 0.975]))
    if b - a < 1e-12 and np.isfinite(high):
        share = min(1.0, max(0.0, (value - low) / (high - low)))
        a, b = (low + (high - low) * bound for bound in wilson(share * n, n))
    return {"value": value, "low": min(a, value), "high": max(b, value)}


def reflected(value: float, draws: np.ndarray, n: float) -> dict[str, Any]:
    """{value, low, high} of a score in [0, 1] that resampling pushes up: the basic bootstrap interval.

    Draws of a calibration error are biased upward by about as much as the value itself is, so their percentiles are
    mirrored about the value.
    """
    straight = percentile(value, draws, n)
    if "low" not in straight or np.ptp(draws) < 1e-12:
        return straight
    mirrored = 2 * value - np.quantile(draws[np.isfinite(draws)], [0.975, 0.025])
    return {
        "value": value,
        "low": max(0.0, min(value, float(mirrored[0]))),
        "high": min(1.0, max(value, float(mirrored[1]))),
    }


def logit_normal(value: float, error: float, n: float) -> dict[str, Any]:
    """{value, low, high} of an area in [0, 1] with standard error `error`: normal on the logit scale, so inside (0, 1).

    At 0 or 1, or where the error is 0, no uncertainty was seen: Wilson's interval of n images stands instead.
    """
    if error < 1e-12 or not 0 < value < 1:
        low, high = wilson(value * n, n)
    else:
        logit, half = np.log(value / (1 - value)), Z * error / (value * (1 - value))
        low, high = (float(1 / (1 + np.exp(-np.clip(logit + side * half, -700, 700)))) for side in (-1, 1))
    return {"value": value, "low": low, "high": high}


def effective(sizes: np.ndarray) -> float:
    """Images that a mean over classes of these sizes is worth: K² / Σ 1/n, over classes with images (0 for none)."""
    sizes = np.asarray(sizes, np.float64)
    sizes = sizes[sizes > 0]
    return float(len(sizes) ** 2 / (1 / sizes).sum()) if len(sizes) else 0.0
