"""Test-time views of a model: the sizes that its network takes, and what the views weigh."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from anmok.augment.tta import Sizes
from anmok.core.errors import UsageError


def takes(architecture: str) -> Sizes:
    """The sizes of images that a network takes; of a user's own code nothing is known, so its own size alone."""
    from anmok.models.families import accepts
    from anmok.models.own import kind_of

    if architecture == "object" or kind_of(architecture) == "callable":
        return Sizes()
    return Sizes(*accepts(architecture))


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
