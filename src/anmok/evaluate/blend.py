"""Combining probabilities of several models: votes, means, weights, a greedy choice, a model on top."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from anmok.core.types import Task
from anmok.evaluate.calibrate import centred, logits_of
from anmok.evaluate.calibration import EPS, log_losses

ROUNDS = 50
STEPS = 5000


def mean_probs(members: Sequence[np.ndarray], weights: np.ndarray | None = None) -> np.ndarray:
    """The (weighted) mean of members' probs, each float[N, K], as float32[N, K]; weights float[M], sum 1."""
    w = np.full(len(members), 1 / len(members)) if weights is None else weights
    out = np.zeros(members[0].shape)
    for share, probs in zip(w, members, strict=True):
        out += share * probs
    return out.astype(np.float32)


def vote_probs(members: Sequence[np.ndarray], task: Task) -> np.ndarray:
    """The share of members that answer each class (multi-label: that give each label), float32[N, K].

    A tie between classes goes to the one with the higher mean probability: it gets a hair more, less than any vote.
    """
    k = members[0].shape[1]
    if task == "multilabel":
        return np.stack([probs >= 0.5 for probs in members]).mean(axis=0).astype(np.float32)
    votes = np.mean([np.eye(k)[probs.argmax(axis=1)] for probs in members], axis=0)
    hair = 1e-3 / len(members)
    return ((1 - hair) * votes + hair * mean_probs(members)).astype(np.float32)


def fit_weights(members: Sequence[np.ndarray], targets: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
    """Weights on the simplex float64[M] that minimise the log loss of the mean: convex, so the optimum is the one.

    Multiplicative steps w ← w · (mean over images of p_m / Σ w p), the EM step of a mixture's weights: it never
    leaves the simplex nor raises the loss.  targets int64[N] or bool[N, K]; known bool[N, K]: what counts of these.
    """
    chosen = np.stack([_chosen(probs, targets, known) for probs in members], axis=1)
    w = np.full(len(members), 1 / len(members))
    for _ in range(STEPS):
        gain = (chosen / (chosen @ w)[:, None]).mean(axis=0)
        w = w * gain
        w /= w.sum()
        if (gain - 1).max() < 1e-10:  # Karush–Kuhn–Tucker: no member's gain is above 1 at the optimum
            break
    return w


def greedy_counts(
    members: Sequence[np.ndarray], targets: np.ndarray, rounds: int = ROUNDS, known: np.ndarray | None = None
) -> np.ndarray:
    """How often each member is taken, int64[M], by greedy selection with replacement (Caruana et al. 2004).

    Each round takes the member that makes the mean's log loss the least; the selection stops at the round whose
    loss was least, so a bad member is never taken.
    """
    chosen = np.stack([_chosen(probs, targets, known) for probs in members])
    total = np.zeros(chosen.shape[1])
    taken: list[int] = []
    losses: list[float] = []
    for size in range(1, rounds + 1):
        tried = [-np.log((total + one) / size).mean() for one in chosen]
        best = int(np.argmin(tried))
        taken.append(best)
        losses.append(float(tried[best]))
        total += chosen[best]
    return np.bincount(taken[: int(np.argmin(losses)) + 1], minlength=len(members))


def stack_features(members: Sequence[np.ndarray], task: Task) -> np.ndarray:
    """What a model on top sees, float64[N, M · K]: the members' log-probabilities, centred (multi-label: logits)."""
    least = 1e-6  # one member's certainty must not outweigh all others
    return np.hstack([centred(logits_of(np.clip(p, least, 1 - least), task), task) for p in members])


def fit_stack(
    members: Sequence[np.ndarray], targets: np.ndarray, task: Task, strength: float = 0.1,
    known: np.ndarray | None = None,
) -> Any:  # fmt: skip
    """(coefficients float64[K, M · K], intercepts float64[K]) of a logistic regression on `stack_features`
    (Wolpert 1992).

    strength: the inverse of the L2 penalty.  A class without images gets an intercept that makes it next to impossible.
    Multi-label: one regression a label on that label's logits.
    """
    from sklearn.linear_model import LogisticRegression

    features = stack_features(members, task)
    k, m = members[0].shape[1], len(members)
    if task == "multilabel":
        weight, bias = np.zeros((k, m * k)), np.zeros(k)
        for c in range(k):
            own = slice(None) if known is None else known[:, c]
            truth, columns = targets[own, c], np.arange(m) * k + c
            if truth.all() or not truth.any():
                bias[c] = np.log((truth.sum() + 0.5) / ((~truth).sum() + 0.5))
                continue
            model = LogisticRegression(C=strength, max_iter=1000).fit(features[own][:, columns], truth)
            weight[c, columns], bias[c] = model.coef_[0], model.intercept_[0]
        return weight, bias
    present = np.unique(targets)
    weight, bias = np.zeros((k, m * k)), np.full(k, -30.0)
    if len(present) == 1:
        bias[present] = 0.0
        return weight, bias
    model = LogisticRegression(C=strength, max_iter=1000).fit(features, targets)
    if len(present) == 2:  # scikit-learn gives one logit, of the second
        weight[present[1]], bias[present] = model.coef_[0], [0.0, model.intercept_[0]]
    else:
        weight[present], bias[present] = model.coef_, model.intercept_
    return weight, bias


def mean_log_loss(probs: np.ndarray, targets: np.ndarray) -> float:
    """Log loss of probs float[N, K]; see `calibration.log_losses`."""
    return float(log_losses(probs, targets).mean())


def _chosen(probs: np.ndarray, targets: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
    """The probability of what was true, float64[N], or for multi-label of each pair that is known; never quite 0."""
    p = np.asarray(probs, np.float64)
    out = p[np.arange(len(p)), targets] if targets.ndim == 1 else np.where(targets, p, 1 - p).ravel()
    return np.clip(out if known is None else out[known.ravel()], EPS, 1)
