"""The thresholds of the audit."""

from __future__ import annotations

from pydantic import Field

from anmok.core.config import Config


class AuditConfig(Config):
    """From where on something counts as odd."""

    min_side: int = Field(8, ge=1, description="A short side below this many pixels is an odd size.")
    size_ratio: float = Field(
        4.0,
        gt=1,
        description="A side (square root of the area) this many times larger or smaller than the median is odd.",
    )
    aspect: float = Field(3.0, ge=1, description="A long side more than this many times the short one is odd.")
    imbalance: float = Field(10.0, ge=1, description="A largest class more than this many times the smallest is told.")
    tiny_class: int = Field(10, ge=1, description="A class of fewer images than this is told.")
