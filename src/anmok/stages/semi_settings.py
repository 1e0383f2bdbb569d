"""How images without labels take part in a training."""

from __future__ import annotations

from pydantic import Field

from anmok.core.config import Config
from anmok.core.errors import UsageError
from anmok.objectives.pairs_config import TrainObjective


class SemiConfig(Config):
    """Of fixmatch: images without labels, and how they are learned from."""

    unlabeled: str | None = Field(None, description="Of fixmatch: images without labels, anything that DATA may be.")
    threshold: float = Field(0.95, gt=0, le=1, description="Probability from which a weak view's label is taken.")
    ratio: int = Field(
        7, ge=1, description="Unlabelled images of a step for each labelled one, of which --batch-size says how many."
    )
    weight: float = Field(1.0, ge=0, description="Weight of the unlabelled images' loss.")
    operations: int = Field(2, ge=1, le=16, description="Of the strong view: operations of RandAugment.")
    magnitude: int = Field(9, ge=0, le=30, description="Of the strong view: their magnitude, of 0 to 30.")
    cutout: float = Field(1.0, ge=0, le=1, description="Of the strong view: probability of an erased rectangle.")


def check_semi(objective: TrainObjective, semi: SemiConfig) -> None:
    """UsageError where one of the two is said without the other."""
    if objective.name == "fixmatch" and semi.unlabeled is None:
        raise UsageError(
            "fixmatch learns from images without labels, and none are given.", where="--objective", code="setting",
            remedy="Name them with --unlabeled FOLDER.",
        )  # fmt: skip
    if objective.name != "fixmatch" and semi.unlabeled is not None:
        raise UsageError(
            f"{objective.name} has no use for images without labels.", where="--unlabeled", code="setting",
            remedy="Say --objective fixmatch too, or label them first: anmok pseudo.",
        )  # fmt: skip
