"""The settings of a preview: a source, how its pictures are prepared, and what augmentation is drawn."""

from __future__ import annotations

from pydantic import Field

from anmok.augment.config import POLICIES, AugmentConfig, PreprocessConfig
from anmok.core.config import Config
from anmok.data.config import DataConfig, LabelsConfig


class PreviewAugment(AugmentConfig):
    """Augmentation as in training, but none unless it is asked for."""

    policy: str = Field("none", description=f"Training augmentation to draw: {', '.join(POLICIES)}.")


class PreviewTree(Config):
    """Everything `anmok preview` can be told."""

    images: int = Field(6, ge=1, le=100, description="Images to show, chosen evenly over the classes.")
    variants: int = Field(4, ge=1, le=12, description="Augmented variants of each, where there is an augmentation.")
    seed: int = Field(0, ge=0, description="Seed of the choice and of the augmentation.")
    preprocess: PreprocessConfig = PreprocessConfig()
    augment: PreviewAugment = PreviewAugment()
    data: DataConfig = DataConfig()
    labels: LabelsConfig = LabelsConfig()
