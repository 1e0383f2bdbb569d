"""Settings of learning from pairs of an image and a caption."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from anmok.core.config import Config


class PairsConfig(Config):
    """The loss of a dual encoder, its space, and where the captions stand."""

    loss: Literal["info-nce", "sigmoid"] = Field(
        "info-nce", description="Of image-text: info-nce (CLIP's, a softmax over the batch) or sigmoid (SigLIP's)."
    )
    dim: int = Field(128, ge=2, description="Of image-text: numbers of the space that images and texts share.")
    temperature: float | None = Field(
        None,
        ge=0.01,
        le=1,
        description="Of image-text: to start from; default: 0.07, of the sigmoid loss 0.1.",
    )
    bias: float = Field(-10.0, description="Of image-text: of the sigmoid loss, to start learning from.")
    caption_column: str | None = Field(
        None, description="Of image-text: column with the captions (default: caption, captions, text, …)."
    )


class TrainObjective(Config):
    """What `anmok train` learns from."""

    name: Literal["supervised", "fixmatch", "image-text"] = Field(
        "supervised",
        description="Learn from labels, from labels and --unlabeled images (fixmatch), or from pairs of an image and a "
        "caption (image-text).",
    )
