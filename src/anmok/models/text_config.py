"""Settings of the text tower of a dual encoder."""

from __future__ import annotations

from pydantic import Field

from anmok.core.config import Config


class TextConfig(Config):
    """The transformer that reads captions, and its tokenizer."""

    width: int = Field(128, ge=8, description="Of image-text: numbers a token has in the text tower.")
    depth: int = Field(3, ge=1, le=48, description="Of image-text: blocks of the text tower.")
    heads: int = Field(4, ge=1, description="Of image-text: attention heads of a block; they divide the width.")
    drop: float = Field(0.0, ge=0, lt=1, description="Of image-text: dropout in the text tower.")
    length: int = Field(32, ge=3, le=512, description="Of image-text: tokens of a caption at most, with its two marks.")
    merges: int = Field(
        2000, ge=0, le=60_000, description="Of image-text: byte pairs that the tokenizer learns from the captions."
    )
