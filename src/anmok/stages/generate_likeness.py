"""Is it like the real thing? How well a classifier tells generated from real images, and the Fréchet distance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from anmok.evaluate.intervals import wilson
from anmok.evaluate.probes import linear_probe
from anmok.expand.frechet import LEAST, Apart, Distance, apart

FOLDS = 5
MOST = 1000  # images a side that the classifier learns from
TOO_FEW = f"fewer than {LEAST} of either"


def likeness(
    made: np.ndarray, real: np.ndarray, begun: Sequence[str], ids: Sequence[str], *, seed: int = 0
) -> dict[str, Any]:
    """{real_or_generated, frechet} of vectors float[N, D] of generated and float[M, D] of real images of one class.

    begun: what each generated image began with (its id, or a name of its own), ids: of the real ones; an image and what
    was made of it are learned from together, or judged together.
    """
    rng = np.random.default_rng(seed)
    return {
        "real_or_generated": told_apart(made, real, begun, ids, rng),
        "frechet": _plain(apart(made, real, rng)),
    }


def told_apart(
    made: np.ndarray, real: np.ndarray, begun: Sequence[str], ids: Sequence[str], rng: np.random.Generator
) -> dict[str, Any]:
    """{value, low, high, n}: the share of images that a logistic regression calls rightly real or generated, each by a
    model that has not seen it (5 folds), with Wilson's interval; as many of both, so that 0.5 is no difference at all.
    """
    n = min(len(made), len(real), MOST)
    if n < LEAST:
        return {"value": None, "reason": TOO_FEW}
    from sklearn.model_selection import StratifiedGroupKFold

    mine, theirs = (rng.permutation(len(x))[:n] for x in (made, real))
    vectors = np.concatenate([made[mine], real[theirs]])
    labels = np.repeat([1, 0], n)
    names = [*(begun[i] for i in mine.tolist()), *(ids[i] for i in theirs.tolist())]
    groups = np.unique(names, return_inverse=True)[1]
    folds = StratifiedGroupKFold(min(FOLDS, n), shuffle=True, random_state=int(rng.integers(2**31)))
    right = 0
    for train, test in folds.split(vectors, labels, groups):
        if len(test) and len(train):
            right += int((linear_probe(vectors[train], labels[train], vectors[test]) == labels[test]).sum())
    low, high = wilson(right, 2 * n)
    return {"value": right / (2 * n), "low": low, "high": high, "n": n}


def _plain(found: Apart | None) -> dict[str, Any]:
    if found is None:
        return {"value": None, "reason": f"fewer than {LEAST} generated, or {2 * LEAST} real ones"}
    return _bounds(found.made) | {"between_halves_of_real": _bounds(found.real), "n": found.n}


def _bounds(one: Distance) -> dict[str, float]:
    return {"value": one.value, "low": one.low, "high": one.high}
