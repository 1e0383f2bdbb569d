"""The settings of a search: those of the training that it is for, what is searched, and how the time is spent."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, field_validator

from anmok.augment.config import AugmentConfig
from anmok.stages.config import TrainConfig

# In the order in which they are given up where the time does not do for all: the last goes first.
CANDIDATES = (
    "flip-crop", "light", "medium", "strong", "trivialaugment", "randaugment:n=2,m=9", "autoaugment", "augmix",
    *(f"randaugment:n={n},m={m}" for m in (9, 5, 13) for n in (2, 1, 3) if (n, m) != (2, 9)),
)  # fmt: skip
_REST = re.compile(r"\s*\w+=\d+\s*")  # what follows a comma inside one candidate: the m=9 of randaugment:n=2,m=9


class TuneTree(TrainConfig):
    """Everything `anmok tune` can be told; `config.toml` of a search holds it complete."""

    minutes: float = Field(10.0, gt=0, description="Time of the whole search, from its first image to its result.")
    search: tuple[Literal["lr", "weight_decay", "augment", "model"], ...] = Field(
        ("augment",), min_length=1, description="What is searched, any of: lr, weight_decay, augment, model."
    )
    candidates: tuple[str, ...] = Field(
        CANDIDATES, min_length=1, description="Policies to compare: names, or files as --augment takes them."
    )
    models: tuple[str, ...] = Field(
        (), description="With model: networks to compare, besides --model; default: some that fit the images."
    )
    proposals: int = Field(
        12, ge=2, le=200, description="Candidates of a bracket, its own and the default; not of augment alone."
    )
    brackets: int | None = Field(
        None,
        ge=1,
        le=8,
        description="Searches one after the other, each from what is known; default: up to 3, by time.",
    )
    rungs: int = Field(3, ge=1, le=8, description="Rounds; each leaves the best of the one before more time and data.")
    keep: int = Field(3, ge=2, le=16, description="One of so many candidates goes on to the next rung.")
    fraction: float = Field(
        0.25, gt=0, le=1, description="Share of the training images in the first rung; the last one has all."
    )

    @field_validator("search", "candidates", "models", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        """Text as a list: parted at commas, but for those inside a candidate."""
        parts = [value] if isinstance(value, str) else list(value)
        out: list[str] = []
        for part in (piece.strip() for text in parts for piece in str(text).split(",")):
            if out and _REST.fullmatch(part):
                out[-1] += f",{part}"
            elif part:
                out.append(part)
        return list(dict.fromkeys(out))

    @field_validator("candidates")
    @classmethod
    def _policies(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            AugmentConfig(policy=name)
        return value
