"""Fitting a calibration on validation, and choosing among several by what they do to images that they have not seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from anmok.core.types import Predictions, Task
from anmok.evaluate.calibrate import Calibration, Kind, centred, logits_of, probs_of
from anmok.evaluate.calibration import log_losses
from anmok.evaluate.fitting import fitting_rows, folds
from anmok.evaluate.rows import Rows

KINDS: tuple[Kind, ...] = ("none", "temperature", "vector", "isotonic")  # the most cautious first
PULL = 1.0  # images' worth of belief in weight 1 and bias 0: without it, separable classes have no finite optimum
FOLDS = 5


class Chosen(NamedTuple):
    """The calibration, the mean log loss on held-out folds of each kind tried, and why it was chosen."""

    calibration: Calibration
    losses: dict[str, float]
    reason: str


def fit_calibration(p: Predictions, kind: Kind) -> Calibration:
    """One kind of calibration fitted on the labelled rows of validation.  DataError: see `fitting_rows`."""
    return fit_rows(fitting_rows(p, "a calibration"), kind)


def choose_calibration(p: Predictions, kinds: tuple[Kind, ...] = KINDS, *, seed: int = 0, parts: int = FOLDS) -> Chosen:
    """The kind with the lowest log loss over five folds of validation, fitted on all of it.

    A kind with more numbers is taken only where its loss on unseen images is lower by more than one standard error of
    the paired differences: few images flatter the richer one.  With fewer than 2 images a fold, none.  DataError: see
    `fitting_rows`.
    """
    rows = fitting_rows(p, "a calibration")
    nothing = Calibration("none", rows.task)
    n = len(rows.ids)
    if n < 2 * parts:
        return Chosen(nothing, {}, f"{n} labelled images are too few to choose by; probabilities stay as they are")
    fold = folds(rows.targets, parts, seed)
    held_out: dict[Kind, np.ndarray] = {}
    for kind in (k for k in KINDS if k in kinds):
        losses = np.empty(n)
        for part in range(parts):
            inside = fold == part
            fitted = fit_rows(rows.take(~inside), kind)
            held = rows.take(inside)
            losses[inside] = log_losses(fitted.apply(held.probs), held.targets, held.known)
        held_out[kind] = losses
    best: Kind = next(iter(held_out))
    for kind, losses in held_out.items():
        gain = held_out[best] - losses
        if gain.mean() > gain.std(ddof=1) / np.sqrt(n):
            best = kind
    means = {str(kind): float(losses.mean()) for kind, losses in held_out.items()}
    reason = f"lowest log loss on held-out folds of {n:,} images, {means[best]:.4f}"
    if best != min(means, key=lambda k: means[k]):
        reason = f"no richer one is better on held-out folds of {n:,} images by more than its noise"
    return Chosen(fit_rows(rows, best), means, reason)


def fit_rows(rows: Rows, kind: Kind) -> Calibration:
    """One kind of calibration of rows that have been checked."""
    fit: dict[Kind, Callable[[Rows], dict[str, Any]]] = {
        "none": lambda rows: {}, "temperature": _temperature, "vector": _vector, "isotonic": _isotonic,
    }  # fmt: skip
    return Calibration(kind, rows.task, **fit[kind](rows))


def _truth(rows: Rows) -> np.ndarray:
    return rows.targets.astype(np.float64) if rows.targets.ndim == 2 else np.eye(len(rows.classes))[rows.targets]


def _loss(logits: np.ndarray, truth: np.ndarray, task: Task, known: np.ndarray | None = None) -> float:
    """Summed log loss of logits float64[N, K]; for multi-label over all pairs that are known."""
    from scipy.special import logsumexp

    if known is not None:
        logits, truth = logits[known], truth[known]
    if task == "multilabel":
        return float(np.logaddexp(0, logits).sum() - (truth * logits).sum())
    return float(logsumexp(logits, axis=1).sum() - (truth * logits).sum())


def _temperature(rows: Rows) -> dict[str, Any]:
    """The loss is convex in 1 / T, so one bracket finds the optimum."""
    from scipy.optimize import minimize_scalar

    logits, truth = logits_of(rows.probs, rows.task), _truth(rows)
    found = minimize_scalar(
        lambda log: _loss(logits * np.exp(-log), truth, rows.task, rows.known), bounds=(np.log(0.05), np.log(20)),
        method="bounded", options={"xatol": 1e-7},
    )  # fmt: skip
    return {"temperature": float(np.exp(found.x))}


def _vector(rows: Rows) -> dict[str, Any]:
    """Convex in weight and bias together."""
    from scipy.optimize import minimize

    logits, truth = centred(logits_of(rows.probs, rows.task), rows.task), _truth(rows)
    k = logits.shape[1]
    start = np.r_[np.ones(k), np.zeros(k)]

    def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
        z = logits * x[:k] + x[k:]
        away = x - start
        error = (probs_of(z, rows.task) - truth) * (1 if rows.known is None else rows.known)
        gradient = np.r_[(error * logits).sum(axis=0), error.sum(axis=0)] + PULL * away
        return _loss(z, truth, rows.task, rows.known) + PULL / 2 * float(away @ away), gradient

    x = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 500}).x
    return {"weight": tuple(map(float, x[:k])), "bias": tuple(map(float, x[k:]))}


def _isotonic(rows: Rows) -> dict[str, Any]:
    """One rising curve a class; of a binary task one for the second.  Its ends stay away from 0 and 1 by half an image:
    n images cannot show that something never happens."""
    from sklearn.isotonic import IsotonicRegression

    truth = _truth(rows)
    n, k = truth.shape
    least = 0.5 / (n + 1)
    knots: list[tuple[tuple[float, ...], tuple[float, ...]]] = []
    for c in [1] if rows.task == "binary" else range(k):
        own = slice(None) if rows.known is None else rows.known[:, c]
        if not len(truth[own, c]):  # of no image is it known: its probabilities stay as they are
            knots.append(((0.0, 1.0), (0.0, 1.0)))
            continue
        curve = IsotonicRegression(y_min=least, y_max=1 - least, out_of_bounds="clip")
        curve.fit(rows.probs[own, c].astype(np.float64), truth[own, c])
        knots.append((tuple(map(float, curve.X_thresholds_)), tuple(map(float, curve.y_thresholds_))))
    return {"knots": tuple(knots)}
