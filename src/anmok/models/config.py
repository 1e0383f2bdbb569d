"""Settings of the network."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator

from anmok.core.config import Config


class ModelConfig(Config):
    """Which network, starting from which weights, and how much of it learns."""

    name: str = Field("resnet18", description="A timm name, torchvision/NAME, module:callable of your own, or lenet.")
    weights: str = Field(
        "none",
        description="none (from scratch), pretrained (the hub's), or a .safetensors file, model folder or run; "
        "what `anmok zeroshot --save-model` wrote is the network too.",
    )
    adapt: str = Field(
        "full", description="What learns: full (everything), head, last:N (the head and N stages before it), lora."
    )
    views: int | None = Field(
        None, ge=1, description="Augmented views of which a frozen part's features are kept; default: 4, 1 without any."
    )
    keep_features: bool = Field(True, description="Compute what a frozen part gives once, where memory allows.")
    lora_rank: int = Field(8, ge=1, description="Rank of LoRA's two matrices.")
    lora_alpha: float = Field(16.0, gt=0, description="LoRA's scale: what it adds is multiplied by alpha / rank.")
    norm: Literal["auto", "none", "batch", "group", "layer"] = Field(
        "auto", description="Normalisation of our own networks; auto: as published (lenet: none)."
    )
    pool: Literal["auto", "bilinear"] = Field(
        "auto", description="How the last features become one vector; auto: the network's own way, bilinear: by pairs."
    )
    drop: float | None = Field(None, ge=0, lt=1, description="Dropout before the head (timm models).")
    drop_path: float | None = Field(None, ge=0, lt=1, description="Stochastic depth (timm models that have it).")

    @field_validator("adapt")
    @classmethod
    def _adapt(cls, value: str) -> str:
        if not re.fullmatch(r"full|head|lora|last:[1-9]\d*", value):
            raise ValueError("expected full, head, last:N or lora")
        return value
