"""The settings of `anmok auto`: those of a training, who may take part, and what a decision costs."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator

from anmok.stages.config import TrainConfig


class AutoTree(TrainConfig):
    """Everything `anmok auto` can be told; `config.toml` of its folder holds it complete."""

    minutes: float = Field(30.0, gt=0, description="Time for everything, from the first image to the report.")
    candidates: tuple[str, ...] = Field(
        (), description="Networks to choose among; default: some that fit the images and the time."
    )
    members: int = Field(3, ge=1, le=8, description="Networks, at most, that are trained to the end.")
    cost: str | None = Field(None, description="What errors cost: fp=1,fn=50, or a CSV, as `anmok decide` takes it.")
    positive: str | None = Field(None, description="The class that the costs fp and fn are about.")

    @field_validator("candidates", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        """Text as a list; each name once."""
        parts = [value] if isinstance(value, str) else list(value)
        return list(dict.fromkeys(p.strip() for part in parts for p in str(part).split(",") if p.strip()))
