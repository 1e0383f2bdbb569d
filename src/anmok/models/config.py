"""Settings of the network."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from anmok.core.config import Config


class ModelConfig(Config):
    """Which network, starting from which weights, and how much of it learns."""

    name: str = Field("resnet18", description="A timm name, torchvision/NAME, module:callable of your own, or lenet.")
    weights: str = Field(
        "none", description="none (from scratch), pretrained (the hub's), or a .safetensors file, model folder or run."
    )
    adapt: Literal["full", "head"] = Field("full", description="What learns: everything, or the head alone.")
    drop: float | None = Field(None, ge=0, lt=1, description="Dropout before the head (timm models).")
    drop_path: float | None = Field(None, ge=0, lt=1, description="Stochastic depth (timm models that have it).")
