"""The settings of an inspection: how many images, which map, and how a source of images is read."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from anmok.core.config import Config
from anmok.data.config import DataConfig


class InspectConfig(Config):
    """What is looked at, and how much of it."""

    images: int = Field(12, ge=1, le=100, description="Images to look at, where none is named: right and wrong ones.")
    layer: str = Field("auto", description="The module whose map Grad-CAM reads; auto: the last that the answer uses.")
    map: Literal["pca", "umap"] = Field("pca", description="How vectors become points on a plane.")
    points: int = Field(2000, ge=3, le=20_000, description="Most images on the map, chosen evenly over the classes.")
    field_images: int = Field(32, ge=1, le=1000, description="Images that the receptive field is the mean of.")
    layers: int = Field(4, ge=1, le=12, description="Layers whose maps are shown.")
    seed: int = Field(0, ge=0, description="Seed of what is chosen among many.")


class InspectTree(Config):
    """Everything `anmok inspect` can be told."""

    inspect: InspectConfig = InspectConfig()
    data: DataConfig = DataConfig()
