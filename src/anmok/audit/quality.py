"""Pictures that show little: dark, bright, flat, blurred, empty, or grey among colour ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from anmok.audit.config import AuditConfig
from anmok.core.types import Finding

if TYPE_CHECKING:
    import polars as pl


class Check(NamedTuple):
    """A kind of finding by pixels: where it applies, its score, and the evidence, a format string of the row."""

    kind: str
    test: pl.Expr
    score: pl.Expr
    evidence: str


def checks(config: AuditConfig) -> list[Check]:
    """Every check of a picture by itself; columns are those of pixels.py.

    dark (score: luma_99), bright (luma_5), low-contrast (luma_99 - luma_1), blurry (sharpness), low-information
    (entropy). Percentiles and not means, so that an object well lit on a black or white ground is neither; and no
    single channel may say otherwise, as the luma of plain blue is that of a dark grey.
    """
    import polars as pl

    low, high = pl.col("luma_5"), pl.col("luma_99")
    span = high - pl.col("luma_1")
    dull = pl.max_horizontal("mean_r", "mean_g", "mean_b") < config.dark
    flat = pl.max_horizontal("std_r", "std_g", "std_b") <= config.low_contrast / 2
    little = (pl.col("entropy") < config.low_entropy) | (pl.col("detail") < config.low_detail)
    return [
        Check("dark", (high < config.dark) & dull, high, "99 % of it is below {score:.0%} of white"),
        Check("bright", low >= config.bright, low, "95 % of it is above {score:.0%} of white"),
        Check(
            "low-contrast", (span < config.low_contrast) & flat, span,
            "98 % of it lies within {score:.0%} of the grey scale",
        ),
        Check(
            "blurry", pl.col("sharpness") < config.blurry, pl.col("sharpness"),
            "a slight blur takes only {score:.0%} off its strongest edges",
        ),
        Check(
            "low-information", little, pl.col("entropy"),
            "entropy {score:.1f} of 8 bits, neighbours differ by {detail:.1%}",
        ),
    ]  # fmt: skip


def quality(images: pl.DataFrame, config: AuditConfig) -> Iterator[Finding]:
    """dark, bright, low-contrast, blurry, low-information (see `checks`), and grey (score: chroma)."""
    import polars as pl

    seen = images.filter(pl.col("brightness").is_not_null())
    for check in checks(config):
        for row in seen.filter(check.test).with_columns(score=check.score).iter_rows(named=True):
            evidence = check.evidence.format(score=row["score"], detail=row["detail"] or 0)
            yield Finding(check.kind, [row["id"]], row["score"], evidence)
    colourless = seen.filter(is_grey(config))
    if 2 * colourless.height < seen.height:
        for name, chroma, channels in colourless.select("id", "chroma", "channels").iter_rows():
            stored = f"{channels} channel{'' if channels == 1 else 's'}"
            evidence = f"no colour in {stored}; {1 - colourless.height / seen.height:.0%} of the set has some"
            yield Finding("grey", [name], chroma, evidence)


def is_grey(config: AuditConfig) -> pl.Expr:
    """Whether a picture has no colour, but for what a JPEG's rounding adds; null where it was not measured."""
    import polars as pl

    return pl.col("chroma") <= config.grey
