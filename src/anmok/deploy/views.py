"""Test-time views of a model: the sizes that its network takes, where it is active, and what the views weigh."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from anmok.augment.tta import Look, Sizes
from anmok.core.errors import UsageError

if TYPE_CHECKING:
    from anmok.models.classifier import Classifier


def takes(architecture: str) -> Sizes:
    """The sizes of images that a network takes; of a user's own code nothing is known, so its own size alone."""
    from anmok.models.families import accepts
    from anmok.models.own import kind_of

    if architecture == "object" or kind_of(architecture) == "callable":
        return Sizes()
    return Sizes(*accepts(architecture))


def look_of(classifier: Classifier, size: int) -> Look:
    """Where a classifier's network is active, in squares of `size` pixels as its preprocessing leaves them.

    UsageError (code no-maps): it has no map of features.
    """
    import torch

    from anmok.models.activity import activity, find_activity
    from anmok.models.classifier import evaluating

    backbone, device = classifier.backbone, classifier.mean.device
    blank = torch.zeros(1, size, size, len(classifier.pixel_mean), dtype=torch.uint8, device=device)
    with evaluating(classifier):
        layer = find_activity(backbone, classifier.normalize(blank))

    def look(images: np.ndarray) -> np.ndarray:
        pixels = torch.from_numpy(np.require(images, np.uint8, ["C", "W"])).to(device)
        with evaluating(classifier):
            return activity(backbone, classifier.normalize(pixels), layer).float().cpu().numpy()

    return look


def unit_weights(weights: Sequence[float] | None, names: Sequence[str]) -> np.ndarray | None:
    """The weights of views as float64[V] that sum to 1; None stays None.

    UsageError: not one for each of the views, one below 0 or no number, or none above 0.
    """
    if weights is None:
        return None
    try:
        w = np.asarray(weights, np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"they are no numbers: {weights!r}.", where="tta_weights", code="setting") from error
    if w.shape != (len(names),):
        raise UsageError(
            f"{w.size} weights for {len(names)} views.", where="tta_weights", code="setting",
            remedy=f"The views are {', '.join(names)}.",
        )  # fmt: skip
    if not np.isfinite(w).all() or (w < 0).any() or not w.sum() > 0:
        raise UsageError(
            f"weights are 0 or more, and not all 0, found {', '.join(f'{v:g}' for v in w)}.", where="tta_weights",
            code="setting",
        )  # fmt: skip
    return w / w.sum()
