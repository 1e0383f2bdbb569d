"""Probabilities of every image of a loader, each counted once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from anmok.core.progress import bar
from anmok.core.types import Batch, Predictions
from anmok.engine.runtime import Runtime


def predict(model: Any, batches: Iterable[Batch], runtime: Runtime, total: int, title: str = "predict") -> Predictions:
    """Predictions of a Classifier over batches of uint8[B, S, S, C]; images a loader rejected are not among them.

    model: has `classes`, `task` and `probabilities(images)`.
    """
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
