"""Probabilities of every image of a loader, each counted once; and of several views of each image."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from anmok.core.progress import bar
from anmok.core.types import Batch, Predictions

if TYPE_CHECKING:
    from anmok.engine.runtime import Runtime


def predict(model: Any, batches: Iterable[Batch], runtime: Runtime, total: int, title: str = "predict") -> Predictions:
    """Predictions of a Classifier over batches of uint8[B, S, S, C]; images a loader rejected are not among them.

    model: has `classes`, `task` and `probabilities(images)`.
    """
    import torch  # here: `over_views` is for models that run without it too

    ids: list[str] = []
    probs, targets = [np.zeros((0, len(model.classes)), np.float32)], []
    was = model.training
    model.eval()
    try:
        with bar(title, total) as progress, torch.inference_mode(), runtime.autocast():
            for batch in batches:
                probs.append(model.probabilities(runtime.to_device(batch).images).float().cpu().numpy())
                targets.append(batch.targets)
                ids += batch.ids
                progress.advance(len(batch))
    finally:
        model.train(was)
    return Predictions(
        ids, list(model.classes), np.concatenate(probs), np.concatenate(targets) if targets else None, model.task
    )


def over_views(
    answer: Callable[[Any], np.ndarray], views: Iterable[Any], weights: np.ndarray | None = None
) -> np.ndarray:
    """What a model says of images by several views of each: the weighted mean of its probabilities, float32[B, K].

    answer: the images of a view to float[B, K].  views: one after the other, B images each; only one answer is held
    beside the sum.  weights float[V] that sum to 1, or of each image its own [B, V]; by default all views weigh the
    same.  A view that weighs nothing is not asked about.

    The mean is the arithmetic one: it means the same for classes and for labels, its weights have one optimum (see
    `evaluate.blend.fit_weights`), and a view that is certain and wrong cannot rule out what all others see, as it would
    in a product.  ValueError: no views, or not as many as weights.
    """
    shown = list(views)
    if not shown or (weights is not None and weights.shape[-1] != len(shown)):
        raise ValueError(f"{len(shown)} views and weights of {None if weights is None else weights.shape}")
    shares = np.full(len(shown), 1 / len(shown)) if weights is None else np.asarray(weights, np.float64)
    total: Any = None
    for number, images in enumerate(shown):
        share = shares[..., number, None]
        if np.any(share):
            part = np.asarray(answer(images), np.float64) * share
            total = part if total is None else total + part
    return np.asarray(total, np.float32)
