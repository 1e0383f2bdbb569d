"""The settings of few-shot episodes: the network whose vectors are compared, the tasks drawn, the methods tried."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from anmok.augment.config import PreprocessConfig
from anmok.core.config import Config
from anmok.data.config import DataConfig, LabelsConfig
from anmok.engine.config import RuntimeConfig
from anmok.models.config import ModelConfig

Which = Literal["all", "prototype", "nearest", "logistic", "cache"]


class FewShotTree(Config):
    """Everything `anmok fewshot` can be told."""

    shots: tuple[int, ...] = Field((1, 5), description="Images of each class to learn from, one number or several.")
    ways: int = Field(5, ge=2, description="Classes to tell apart in an episode.")
    episodes: int = Field(600, ge=1, description="Tasks that are drawn.")
    queries: int = Field(15, ge=1, description="Images of each class that an episode asks about, at most.")
    method: Which = Field("all", description="How answers follow from the few images.")
    classes: tuple[str, ...] = Field(
        (), description="The classes of the episodes, those that the network has not learned; default: every class."
    )
    metric: Literal["cosine", "euclidean"] = Field(
        "cosine", description="How prototypes and nearest neighbours compare vectors."
    )
    most: int = Field(600, ge=2, description="Images of a class that are looked at, drawn by the seed.")
    alpha: float = Field(1.0, ge=0, description="Weight of the cache beside the prototypes.")
    beta: float = Field(5.5, gt=0, description="How sharply the cache looks at likeness.")
    seed: int = Field(0, ge=0, description="Seed of what is drawn, and of random weights.")
    model: ModelConfig = ModelConfig()
    preprocess: PreprocessConfig = PreprocessConfig()
    data: DataConfig = DataConfig()
    labels: LabelsConfig = LabelsConfig()
    runtime: RuntimeConfig = RuntimeConfig()

    @field_validator("shots", "classes", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        """One value, or text, as a list."""
        if isinstance(value, int):
            return (value,)
        parts = [value] if isinstance(value, str) else value
        return [p.strip() for part in parts for p in str(part).split(",") if p.strip()]

    @field_validator("shots")
    @classmethod
    def _shots(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or min(value) < 1:
            raise ValueError("expected numbers of images from 1 on")
        return tuple(sorted(set(value)))
