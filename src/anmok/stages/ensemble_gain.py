"""What an ensemble gains over its best member on validation, and what it costs: both are said together."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from anmok.core.types import Predictions
from anmok.evaluate.aligned import same_images
from anmok.evaluate.ensemble import FITTED, How, fit_ensemble
from anmok.evaluate.fitting import folds
from anmok.evaluate.paired import compare
from anmok.stages.score import quick_score

PARTS, WARM, TIMED = 5, 3, 10


def held_out(models: Mapping[str, Predictions], how: How, seed: int = 0) -> Predictions:
    """The ensemble's predictions for the rows of its members, each by weights that were fitted on other rows.

    Five folds; where nothing is fitted, all rows at once.  DataError: see `fit_ensemble`.
    """
    matched = dict(zip(models, same_images(list(models.values())), strict=True))
    if how not in FITTED:
        return fit_ensemble(matched, how).predict(matched)
    first = next(iter(matched.values()))
    targets = np.zeros(len(first), np.int64) if first.targets is None else np.nan_to_num(first.targets)
    fold = folds(targets, PARTS, seed)
    probs = np.empty_like(first.probs)
    for part in range(PARTS):
        inside = fold == part
        fitted = fit_ensemble({name: p.select(~inside) for name, p in matched.items()}, how)
        probs[inside] = fitted.combine([p.probs[inside] for p in matched.values()])
    return Predictions(first.ids, first.classes, probs, first.targets, first.task, first.split)


def gain(
    models: Mapping[str, Predictions], together: Predictions, split: str, in_folds: bool,
    groups: Mapping[str, str] | None,
) -> dict[str, Any]:  # fmt: skip
    """{best, split, n, in_folds, metrics}: the ensemble against the member with the best accuracy (then log loss).

    metrics as `paired.compare` has them, a the member, b the ensemble.  The member is chosen on the same rows, which
    favours it.
    """

    def rank(name: str) -> float:
        p = models[name]
        return quick_score(p.select(~np.isnan(p.probs).any(axis=1)), "accuracy")["select"]

    best = max(models, key=rank)
    found = compare(models[best], together, groups=groups)
    return {"best": best, "split": split, "in_folds": in_folds, **found}


def milliseconds(answer: Callable[[np.ndarray], Any], size: int, channels: int) -> float:
    """Median time of one image, of TIMED calls after WARM ones, the preparation of the image left out."""
    image = np.random.default_rng(0).integers(0, 256, (1, size, size, channels), dtype=np.uint8)
    times = []
    for _ in range(WARM + TIMED):
        began = time.perf_counter()
        answer(image)
        times.append(time.perf_counter() - began)
    return float(1000 * np.median(times[WARM:]))


def latency(model: Any) -> float:
    """Milliseconds an image of a Model, one at a time."""
    return milliseconds(model.probabilities, model.preprocess.image_size, model.preprocess.depth)
