"""The settings of the learning-rate finder: those of the training that it is for, and which rates are tried."""

from __future__ import annotations

from pydantic import Field, model_validator

from anmok.stages.config import TrainConfig


class FindLrTree(TrainConfig):
    """Everything `anmok find-lr` can be told; `config.toml` of its folder holds it complete."""

    lowest: float = Field(1e-7, gt=0, description="Learning rate of the first step.")
    highest: float = Field(10.0, gt=0, description="Learning rate of the last step, if the loss lets it come so far.")
    steps: int = Field(100, ge=20, le=2000, description="Steps, at most; each takes a batch.")

    @model_validator(mode="after")
    def _rising(self) -> FindLrTree:
        if self.highest < 10 * self.lowest:
            raise ValueError(f"highest is to be 10 times lowest ({self.lowest:g}) at least")
        return self
