"""The thresholds of the audit."""

from __future__ import annotations

from pydantic import Field

from anmok.audit.near_config import NearConfig
from anmok.core.config import Config


class AuditConfig(Config):
    """From where on something counts as odd."""

    dark: float = Field(
        0.32, ge=0, le=1, description="Dark: 99 % of the pixels have a luma below this (0 black, 1 white)."
    )
    bright: float = Field(0.85, ge=0, le=1, description="Bright: 95 % of the pixels have a luma of at least this.")
    low_contrast: float = Field(
        0.15, ge=0, le=1, description="Low contrast: the luma of 98 % of the pixels lies within a range below this."
    )
    blurry: float = Field(
        0.55, ge=0, le=1, description="Blurry: another slight blur takes less than this share off the strongest edges."
    )
    low_entropy: float = Field(
        2.5, ge=0, le=8, description="Low information: the luma has an entropy below this, in bits of 8."
    )
    low_detail: float = Field(
        0.006,
        ge=0,
        le=1,
        description="Low information: neighbouring pixels differ by less than this (root mean square).",
    )
    grey: float = Field(
        0.004, ge=0, le=1, description="Grey: the colour channels differ by at most this (root mean square)."
    )
    min_side: int = Field(8, ge=1, description="A short side below this many pixels is an odd size.")
    size_ratio: float = Field(
        4.0,
        gt=1,
        description="A side (square root of the area) this many times larger or smaller than the median is odd.",
    )
    aspect: float = Field(3.0, ge=1, description="A long side more than this many times the short one is odd.")
    imbalance: float = Field(10.0, ge=1, description="A largest class more than this many times the smallest is told.")
    effective_beta: float = Field(
        0.999, ge=0, lt=1, description="Beta of the effective number of images that stands beside the imbalance."
    )
    tiny_class: int = Field(10, ge=1, description="A class of fewer images than this is told.")
    shortcut: float = Field(
        0.5,
        ge=0,
        le=1,
        description="A property is told that tells a class this well from the rest: 0 chance, 1 always.",
    )
    shortcut_p: float = Field(
        0.05, gt=0, le=1, description="… and whose p, corrected for the number of properties, is at most this."
    )
    embeddings: str = Field(
        "embedding",
        description="Column of the table with an embedding of each image, for near duplicates beyond pixels.",
    )
    near: NearConfig = NearConfig()
