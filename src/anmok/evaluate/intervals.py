"""Intervals that hold 95 times of 100: Wilson for a proportion, from bootstrap draws for the rest."""

from __future__ import annotations

from typing import Any

import numpy as np

from anmok.evaluate.resampling import LEAST

Z = 1.959963984540054  # the standard normal's 97.5 % point


def wilson(successes: float, n: float) -> tuple[float, float]:
    """Wilson score interval of a proportion (Wilson 1927), 95 %; (0, 1) for n = 0.  Holds the proportion itself."""
    if n <= 0:
        return 0.0, 1.0
    share = successes / n
    centre = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * np.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return max(0.0, min(share, float(centre - half))), min(1.0, max(share, float(centre + half)))


def mover(
    values: np.ndarray, low: np.ndarray, high: np.ndarray, weights: np.ndarray | None = None
) -> tuple[float, float]:
    """Bounds of a weighted mean of independent shares from their own bounds, by squares added (Zou & Donner 2008).

    values, low, high float[K], NaN where undefined; weights float[K], by default all alike.
    """
    known = ~np.isnan(values)
    weight = np.ones(known.sum()) if weights is None else weights[known]
    weight = weight / weight.sum()
    mean = float(weight @ values[known])
    below, above = (float(np.sqrt(((weight * (x[known] - values[known])) ** 2).sum())) for x in (low, high))
    return mean - below, mean + above


def widened(metric: dict[str, Any], low: float, high: float) -> dict[str, Any]:
    """The metric with bounds at least as wide as these: few images make a bootstrap too sure of itself."""
    if metric.get("value") is None:
        return metric
    return metric | {"low": min(metric.get("low", low), low), "high": max(metric.get("high", high), high)}


def of_mean(
    values: np.ndarray, draws: np.ndarray, worth: float, low: float = 0.0, high: float = np.inf
) -> dict[str, Any]:
    """{value, low, high} of the mean of values float[N], from its bootstrap and not narrower than Student's interval.

    worth: how many independent images they are (groups, where there are groups).  Without bounds for one image.
    """
    value = float(np.mean(values))
    if len(values) < 2 or worth < 2:
        return {"value": value}
    from scipy.stats import t

    half = float(t.ppf(0.975, worth - 1) * np.std(values, ddof=1) / np.sqrt(worth))
    return widened(percentile(value, draws, worth, low, high), max(low, value - half), min(high, value + half))


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


def wilsons(successes: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Wilson intervals of many proportions, float64[K] each; NaN, not (0, 1), where n is 0."""
    bounds = np.array([wilson(x, size) if size > 0 else (np.nan, np.nan) for x, size in zip(successes, n, strict=True)])
    return bounds[:, 0], bounds[:, 1]


def effective(sizes: np.ndarray) -> float:
    """Images that a mean over classes of these sizes is worth: K² / Σ 1/n, over classes with images (0 for none)."""
    sizes = np.asarray(sizes, np.float64)
    sizes = sizes[sizes > 0]
    return float(len(sizes) ** 2 / (1 / sizes).sum()) if len(sizes) else 0.0
