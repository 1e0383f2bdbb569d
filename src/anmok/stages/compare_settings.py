"""The settings of a comparison: those of each network's training, who takes part, and what is measured besides."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator

from anmok.core.config import Config
from anmok.stages.config import TrainConfig


class CompareConfig(Config):
    """What is measured besides the accuracy."""

    shares: tuple[float, ...] = Field(
        (0.1, 0.3, 1.0),
        description="Shares of the training images that every model also learns from; all of them is 1.",
    )
    grid: int = Field(4, ge=1, le=64, description="Patches along a side that change places, to see what that costs.")
    sizes: tuple[float, ...] = Field(
        (0.75, 1.25), description="Times the training size at which the accuracy is taken too."
    )
    images: int = Field(
        1000, ge=1, description="Test images, at most, for what is measured besides the accuracy on all of them."
    )
    batch: int = Field(32, ge=1, description="Images at once for the throughput.")

    @field_validator("shares")
    @classmethod
    def _shares(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 < share <= 1 for share in value):
            raise ValueError("shares lie above 0 and at 1 or below")
        return tuple(sorted({*value, 1.0}))

    @field_validator("sizes")
    @classmethod
    def _sizes(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0.1 <= size <= 10 for size in value):
            raise ValueError("sizes lie between 0.1 and 10 times")
        return tuple(sorted({*value} - {1.0}))


class CompareTree(TrainConfig):
    """Everything `anmok compare` can be told; `config.toml` of a comparison holds it complete."""

    models: tuple[str, ...] = Field(
        (), description="Networks' names, or FEATURES/CLASSIFIER of pixels|colors|hog|lbp|NETWORK and "
        "ridge|logistic|knn|tree, as hog/logistic.",
    )  # fmt: skip
    minutes: float = Field(3.0, gt=0, description="Training time of each network; --epochs gives all the same passes.")
    compare: CompareConfig = CompareConfig()

    @field_validator("models", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        """Text as a list; each name once."""
        parts = [value] if isinstance(value, str) else list(value)
        return list(dict.fromkeys(p.strip() for part in parts for p in str(part).split(",") if p.strip()))
