"""Settings of the supervised loss and of the self-supervised objectives."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from anmok.core.config import Config


class LossConfig(Config):
    """Which loss, and its quantities."""

    name: Literal["auto", "cross-entropy", "nll", "bce", "bce-with-logits", "focal", "asymmetric", "soft-f1"] = Field(
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
    gamma_positive: float = Field(0.0, ge=0, description="Of asymmetric: focusing exponent of labels that are there.")
    gamma_negative: float = Field(4.0, ge=0, description="Of asymmetric: focusing exponent of labels that are not.")
    margin: float = Field(
        0.05, ge=0, lt=1, description="Of asymmetric: probability up to which a label that is not there costs nothing."
    )


class ObjectiveConfig(Config):
    """What is learned from images without labels, and its quantities."""

    name: Literal["rotation", "jigsaw", "colorize", "inpaint", "contrastive"] = Field(
        "contrastive", description="What the network has to solve."
    )
    temperature: float = Field(0.5, gt=0, description="Of contrastive: of the similarities.")
    projection: int = Field(128, ge=2, description="Of contrastive: width of the space they are taken in.")
    labels: bool = Field(False, description="Of contrastive: images of one label belong together too (SupCon).")
    grid: int | None = Field(
        None, ge=2, le=3, description="Of jigsaw: tiles along each side; default: 3, below 64 pixels 2."
    )
    permutations: int | None = Field(
        None, ge=2, le=5000, description="Of jigsaw: orders to tell apart; default: 100, of 2 x 2 tiles all 24."
    )
    masked: float = Field(0.5, gt=0, lt=1, description="Of inpaint: share of each image that is hidden.")
