"""Two numbers that mend a label's probabilities: a slope and a shift of its logit."""

from __future__ import annotations

import numpy as np

from anmok.evaluate.calibrate import logits_of

PULL = 1.0  # images' worth of belief in slope 1 and shift 0: separable images have no finite optimum


def fit_platt(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray | None = None) -> tuple[float, float]:
    """(slope, shift) of the logit under which the images are most likely (Platt 1999); the loss is convex.

    scores float[N] in [0, 1], positive bool[N], weights float[N] (default 1).
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    z, w = logits_of(scores, "multilabel"), np.ones(len(scores)) if weights is None else weights

    def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
        logit, away = x[0] * z + x[1], x - [1.0, 0.0]
        error = w * (expit(logit) - positive)
        value = float(w @ (np.logaddexp(0, logit) - positive * logit))
        return value + PULL / 2 * float(away @ away), np.array([error @ z, error.sum()]) + PULL * away

    slope, shift = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B").x
    return float(slope), float(shift)


def score_of(probability: float, slope: float, shift: float) -> float:
    """The score that reads as this probability once mended, in (0, 1); the same where a higher score means less."""
    if slope <= 0:
        return probability
    logit = (np.log(probability) - np.log1p(-probability) - shift) / slope
    return float(1 / (1 + np.exp(-np.clip(logit, -30, 30))))
