"""Predictions made up for tests: calibrated by construction, or not."""

from __future__ import annotations

import numpy as np

from anmok.core.types import Predictions


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def made(n: int, k: int = 3, seed: int = 0, sharpen: float = 1.0, split: str | None = "val") -> Predictions:
    """n images whose labels are drawn from the softmax of their logits; given are those of the logits × sharpen."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, k)) * 1.5
    targets = (softmax(logits).cumsum(axis=1) < rng.random(n)[:, None]).sum(axis=1)
    return Predictions(
        [f"i{i}" for i in range(n)], [f"c{c}" for c in range(k)], softmax(logits * sharpen).astype(np.float32),
        np.minimum(targets, k - 1), "binary" if k == 2 else "multiclass", None if split is None else [split] * n,
    )  # fmt: skip


def made_labels(n: int, k: int = 3, seed: int = 0, sharpen: float = 1.0, split: str | None = "val") -> Predictions:
    """The same of a multi-label task."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, k)) * 2 - 0.5
    targets = (rng.random((n, k)) < 1 / (1 + np.exp(-logits))).astype(np.float32)
    probs = (1 / (1 + np.exp(-logits * sharpen))).astype(np.float32)
    return Predictions(
        [f"i{i}" for i in range(n)], [f"c{c}" for c in range(k)], probs, targets, "multilabel",
        None if split is None else [split] * n,
    )  # fmt: skip
