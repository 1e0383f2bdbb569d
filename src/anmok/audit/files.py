"""What is odd about a file: its name, its container, its size in pixels."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from anmok.audit.config import AuditConfig
from anmok.core.types import Finding
from anmok.data.header import EXTENSIONS
from anmok.data.storage import file_name, parse

if TYPE_CHECKING:
    import polars as pl

_COLOUR_MODES = ("CMYK", "YCCK", "LAB", "YCbCr", "HSV")
_NAME_BYTES = 255  # of a file or folder name, on most systems
_PROFILE = "bad-profile: "


def names(images: pl.DataFrame) -> Iterator[Finding]:
    """odd-name (score 1), and name-collision: pairs of names that differ by case only (score 1)."""
    import polars as pl

    name = pl.col("id")
    long = name.str.split("/").list.eval(pl.element().str.len_bytes()).list.max() > _NAME_BYTES
    for test, evidence in (
        (name.str.contains(r"[\x00-\x1f\x7f]"), "a control character in its name"),
        (name.str.starts_with("bytes:"), "its name is no valid text"),
        (name.str.contains(r"(^|/)[=+@]"), "its name starts as a formula does"),
        (long, f"its name is longer than {_NAME_BYTES} bytes"),
    ):
        for (found,) in images.filter(test).select("id").iter_rows():
            yield Finding("odd-name", [found], 1.0, evidence)
    folded = name.str.to_lowercase()
    twins = images.filter(folded.is_duplicated()).select(name, name.first().over(folded).alias("first"))
    for other, first in twins.iter_rows():
        if other != first:
            yield Finding("name-collision", [first, other], 1.0, "the names differ by case only")


def properties(images: pl.DataFrame) -> Iterator[Finding]:
    """What a file is, where that is odd: wrong-extension, animated (score: pictures), alpha, bit-depth (score: bits),
    rotated (score: orientation), bad-profile, colour-mode; score 1 where none is named.
    """
    import polars as pl

    known = images.filter(pl.col("format").is_not_null())
    ending = pl.col("image").str.extract(r"\.([A-Za-z][A-Za-z0-9]{1,4})$").str.to_lowercase()
    fits = pl.lit(False)
    for kind, endings in EXTENSIONS.items():
        fits |= (pl.col("format") == kind) & ending.is_in(endings)
    for name, image, kind in known.filter(ending.is_not_null() & ~fits).select("id", "image", "format").iter_rows():
        if told := extension(image):
            yield Finding("wrong-extension", [name], 1.0, f"named .{told}, is {kind}")
    for row in known.filter("animated").iter_rows(named=True):
        yield Finding("animated", [row["id"]], float(row["frames"]), f"{row['frames']} pictures, the first is used")
    for name, mode in known.filter("alpha").select("id", "mode").iter_rows():
        yield Finding("alpha", [name], 1.0, f"{mode} with transparency")
    for name, bits in known.filter(pl.col("bits") != 8).select("id", "bits").iter_rows():
        yield Finding("bit-depth", [name], float(bits), f"{bits} bits a channel")
    for name, turn in known.filter(pl.col("orientation") != 1).select("id", "orientation").iter_rows():
        yield Finding("rotated", [name], float(turn), f"EXIF orientation {turn}, applied")
    for name, mode in known.filter(pl.col("mode").is_in(_COLOUR_MODES)).select("id", "mode").iter_rows():
        yield Finding("colour-mode", [name], 1.0, f"{mode}, converted to sRGB")
    for name, notes in known.filter(pl.col("notes").str.contains(_PROFILE)).select("id", "notes").iter_rows():
        for note in notes.split("\n"):
            if note.startswith(_PROFILE):
                yield Finding("bad-profile", [name], 1.0, note.removeprefix(_PROFILE))


def extension(reference: str) -> str:
    """What looks like the extension of an image's file or archive member, in lower case; '' where there is none."""
    name = file_name(reference)
    if name is None:
        part = parse(reference)
        name = part.place if part.kind == "zip" else ""
    ending = PurePosixPath(name).suffix[1:].lower()
    return ending if re.fullmatch("[a-z][a-z0-9]{1,4}", ending) else ""


def sizes(images: pl.DataFrame, config: AuditConfig) -> Iterator[Finding]:
    """odd-size (score: root of the area over the median one), odd-aspect (score: long side over short side)."""
    import polars as pl

    usable = images.filter(pl.col("width").is_not_null() & pl.col("fault").is_null())
    rows = usable.select(
        "id", "width", "height",
        side=(pl.col("width") * pl.col("height")).sqrt(),
        short=pl.min_horizontal("width", "height"),
        aspect=pl.max_horizontal("width", "height") / pl.min_horizontal("width", "height"),
    ).with_columns(ratio=pl.col("side") / pl.col("side").median(), median=pl.col("side").median())  # fmt: skip
    odd = (pl.col("short") < config.min_side) | ~pl.col("ratio").is_between(1 / config.size_ratio, config.size_ratio)
    for row in rows.filter(odd).iter_rows(named=True):
        evidence = f"{row['width']} × {row['height']}, the median side is {row['median']:.0f}"
        yield Finding("odd-size", [row["id"]], row["ratio"], evidence)
    for row in rows.filter(pl.col("aspect") > config.aspect).iter_rows(named=True):
        yield Finding("odd-aspect", [row["id"]], row["aspect"], f"{row['width']} × {row['height']}")
