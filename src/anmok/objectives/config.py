"""Settings of the supervised loss."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from anmok.core.config import Config


class LossConfig(Config):
    """Which loss, and its quantities."""

    name: Literal["auto", "cross-entropy", "nll", "bce", "bce-with-logits", "focal", "soft-f1"] = Field(
        "auto", description="auto: cross-entropy, or bce-with-logits for binary and multi-label tasks."
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="Share of each target spread over all classes.")
    class_weights: Literal["none", "balanced", "sqrt", "effective"] | list[float] = Field(
        "none",
        description="none, balanced (n / (K n_k)), sqrt (by its root), effective (Cui et al. 2019), or one weight a "
        "class, in order.",
    )
    pos_weight: list[float] | None = Field(None, description="Weights of the positives, for bce-with-logits.")
    ignore_index: int = Field(-100, description="Target that does not count, for cross-entropy and nll.")
    gamma: float = Field(2.0, ge=0, description="Focusing exponent of the focal loss.")
