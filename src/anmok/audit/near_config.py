"""How near two pictures have to be to count as one."""

from __future__ import annotations

from pydantic import Field

from anmok.core.config import Config


class NearConfig(Config):
    """Which pairs of pictures are looked at, and from where on they are near duplicates."""

    radius: int = Field(
        12,
        ge=0,
        le=20,
        description="Bits of 64 in which the hashes of two candidates, or of their middles, may differ.",
    )
    window_radius: int = Field(10, ge=0, le=20, description="The same for a whole picture and a window of another.")
    turn_radius: int = Field(8, ge=0, le=20, description="The same for mirrored and turned pictures.")
    turns: bool = Field(True, description="Whether to look for mirrored and turned pictures.")
    crops: bool = Field(True, description="Whether to look for crops of a tenth, and for borders.")
    candidates: int = Field(
        20, ge=1, description="At most this many candidate pairs an image; beyond, the radius shrinks."
    )
    alike: float = Field(0.85, gt=0, le=1, description="Likeness of structure from which a pair is confirmed.")
    covered: float = Field(
        0.62, gt=0, le=1,
        description="Or: share of one picture's structure that is the same in the other, though a mark lies over more.",
    )  # fmt: skip
    similarity: float = Field(
        0.9, gt=0, le=1, description="Cosine similarity of embeddings from which a pair is a candidate."
    )
