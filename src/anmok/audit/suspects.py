"""Suspect labels: images whose given label the models of the other folds do not believe, by confident learning.

The score is a suspicion in [0, 1], higher is more suspect; it ranks. Which images are findings is decided by the
estimated number of wrong labels (audit/confident.py). Nothing is ever relabelled here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from anmok.audit.confident import Joint, by_class, by_confident_joint, by_noise_rate, joint
from anmok.core.errors import did_you_mean
from anmok.core.types import Finding, Predictions

Score = Literal["self-confidence", "normalized-margin", "confidence-weighted-entropy"]
Candidates = Literal["both", "noise-rate", "class", "confident-joint"]
KEEP = "keep"  # nobody relabels without a look


@dataclass(frozen=True, eq=False)
class Suspects:
    """What confident learning says of N labels.

    score: float64[N], suspicion in [0, 1], higher is more suspect, NaN where there is no verdict (unlabelled, not
    predicted); likely: int64[N], the class that should be there instead (multi-label: the class that is too many or
    missing), -1 without a verdict; probability: float64[N], of that correction; is_suspect: bool[N];
    confident_joint: int64[K, K], given against true label (multi-label: [K, 2, 2], absent and present of each class);
    noise_rate: the estimated share of wrong labels among those judged.
    """

    score: np.ndarray
    likely: np.ndarray
    probability: np.ndarray
    is_suspect: np.ndarray
    confident_joint: np.ndarray
    noise_rate: float

    def __len__(self) -> int:
        return len(self.score)

    @property
    def ranking(self) -> np.ndarray:
        """int64: the images with a verdict, most suspect first."""
        judged = np.flatnonzero(~np.isnan(self.score))
        return judged[np.argsort(-self.score[judged], kind="stable")]


def suspects(
    targets: np.ndarray, probs: np.ndarray, *, score: Score = "self-confidence", candidates: Candidates = "both"
) -> Suspects:
    """Judge every label by out-of-fold probabilities.

    targets: int64[N] (-1: unlabelled), or float[N, K] of 0/1 for multi-label (NaN: unknown), judged one class against
    the rest; probs: float[N, K], NaN where there is no prediction. candidates: see audit/confident.py; both: by class
    and by noise rate. A multi-class image must also look more like another class. ValueError for shapes or targets
    that do not fit, or an unknown score or candidates.
    """
    _check(targets, probs, score, candidates)
    if targets.ndim == 2:
        return _one_vs_rest(targets, probs, score, candidates)
    n, k = probs.shape
    judged = (targets >= 0) & ~np.isnan(probs).any(axis=1) if k > 1 else np.zeros(n, bool)
    rows = np.flatnonzero(judged)
    labels, p = targets[rows].astype(np.int64), probs[rows]
    found = joint(labels, p)
    likely, probability, own = _rival(labels, p)
    out = Suspects(
        np.full(n, np.nan), np.full(n, -1, np.int64), np.full(n, np.nan), np.zeros(n, bool), found.counts,
        found.noise_rate,
    )  # fmt: skip
    out.score[rows], out.likely[rows], out.probability[rows] = SCORES[score](p, own, probability), likely, probability
    out.is_suspect[rows] = _chosen(labels, p, found, candidates) & (probability > own)
    return out


def _check(targets: np.ndarray, probs: np.ndarray, score: str, candidates: str) -> None:
    for name, known in ((score, SCORES), (candidates, ("both", "noise-rate", "class", "confident-joint"))):
        if name not in known:
            raise ValueError(f"no such choice: {name}. {did_you_mean(name, known)}")
    if probs.ndim != 2 or targets.shape not in (probs.shape[:1], probs.shape):
        raise ValueError(f"probs is {probs.shape} and targets {targets.shape}, expected [N, K] with [N] or [N, K]")
    if targets.ndim == 1 and len(targets) and targets.max() >= probs.shape[1]:
        raise ValueError(f"target {targets.max()} of {probs.shape[1]} classes")


def _chosen(labels: np.ndarray, probs: np.ndarray, found: Joint, candidates: str) -> np.ndarray:
    if candidates == "confident-joint":
        return by_confident_joint(labels, found)
    if candidates == "class":
        return by_class(labels, probs, found)
    chosen = by_noise_rate(labels, probs, found)
    return chosen if candidates == "noise-rate" else chosen & by_class(labels, probs, found)


def _rival(labels: np.ndarray, probs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(class int64[N], probability float64[N]) of the most probable class but the given one; p of the given one."""
    rows = np.arange(len(labels))
    others = probs.astype(np.float64)
    own = others[rows, labels].copy()
    others[rows, labels] = -1
    likely = others.argmax(axis=1) if len(labels) else np.zeros(0, np.int64)
    return likely, others[rows, likely], own


def _self_confidence(probs: np.ndarray, own: np.ndarray, rival: np.ndarray) -> np.ndarray:
    """1 - p of the given label."""
    return 1 - own


def _normalized_margin(probs: np.ndarray, own: np.ndarray, rival: np.ndarray) -> np.ndarray:
    """How far the best other class is above the given one, from [-1, 1] to [0, 1]."""
    return (rival - own + 1) / 2


def _confidence_weighted_entropy(probs: np.ndarray, own: np.ndarray, rival: np.ndarray) -> np.ndarray:
    """r = entropy / (log K × p of the given label), as 1 - log(1 + r) / r (Kuan & Mueller 2022)."""
    p = probs.astype(np.float64)
    entropy = -(p * np.log(np.where(p > 0, p, 1))).sum(axis=1) / np.log(probs.shape[1])
    ratio = np.maximum(entropy / np.maximum(own, 1e-6), 1e-6)
    return 1 - np.log1p(ratio) / ratio


SCORES: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {
    "self-confidence": _self_confidence, "normalized-margin": _normalized_margin,
    "confidence-weighted-entropy": _confidence_weighted_entropy,
}  # fmt: skip


def _one_vs_rest(targets: np.ndarray, probs: np.ndarray, score: Score, candidates: Candidates) -> Suspects:
    """Each class as a question of its own, present or absent; an image is as suspect as its worst answer."""
    n, k = probs.shape
    scores, flagged = np.full((n, k), np.nan), np.zeros((n, k), bool)
    joints, wrong, judged = np.zeros((k, 2, 2), np.int64), 0.0, 0
    for c in range(k):
        rows = np.flatnonzero(~np.isnan(targets[:, c]) & ~np.isnan(probs[:, c]))
        p = probs[rows, c].astype(np.float64)
        one = suspects(
            (targets[rows, c] > 0.5).astype(np.int64), np.column_stack([1 - p, p]), score=score, candidates=candidates
        )
        scores[rows, c], flagged[rows, c], joints[c] = one.score, one.is_suspect, one.confident_joint
        wrong, judged = wrong + one.noise_rate * len(rows), judged + len(rows)
    known = ~np.isnan(scores).all(axis=1)
    worst = np.where(np.isnan(scores), -1, scores)
    likely = np.where(known, (worst + flagged).argmax(axis=1), -1)  # a flagged answer before all others
    at = np.arange(n), likely
    correction = np.where(targets[at] > 0.5, 1 - probs[at], probs[at]).astype(np.float64)
    return Suspects(
        np.where(known, worst.max(axis=1, initial=-1), np.nan), likely, np.where(known, correction, np.nan),
        np.asarray(flagged.any(axis=1)), joints, wrong / judged if judged else 0.0,
    )  # fmt: skip


def findings(predictions: Predictions, found: Suspects) -> list[Finding]:
    """One 'suspect-label' finding an image, most suspect first: 'labelled glass, likely plastic (0.93)'.

    Multi-label: 'labelled cat, dog; likely also bird (0.91)', or 'likely without dog (0.88)'. found: of these
    predictions, row by row.
    """
    out = []
    for i in found.ranking:
        if found.is_suspect[i]:
            evidence = f"{_evidence(predictions, found, i)} ({found.probability[i]:.2f})"
            out.append(Finding("suspect-label", [predictions.ids[i]], float(found.score[i]), evidence, KEEP))
    return out


def _evidence(predictions: Predictions, found: Suspects, i: int) -> str:
    assert predictions.targets is not None
    target, likely = predictions.targets[i], predictions.classes[found.likely[i]]
    if predictions.task != "multilabel":
        return f"labelled {predictions.classes[target]}, likely {likely}"
    labels = ", ".join(c for c, t in zip(predictions.classes, target, strict=True) if t > 0.5) or "none"
    return f"labelled {labels}; likely {'without' if target[found.likely[i]] > 0.5 else 'also'} {likely}"
