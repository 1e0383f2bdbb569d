"""From the measurements to findings: what is wrong or odd, of which images, how much, by which evidence."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from anmok.audit.config import AuditConfig
from anmok.core.types import Finding
from anmok.data.duplicates import conflicts, leaks
from anmok.data.header import EXTENSIONS
from anmok.data.storage import file_name, parse
from anmok.data.table import Table, class_counts

if TYPE_CHECKING:
    import polars as pl

UNSAFE = ("leakage", "conflicting-labels")
_COLOUR_MODES = ("CMYK", "YCCK", "LAB", "YCbCr", "HSV")


def find(images: pl.DataFrame, table: Table, config: AuditConfig) -> list[Finding]:
    """Every finding, of the images (in their order), then among them, then of the classes."""
    return [
        *rejected(table),
        *faults(images),
        *properties(images),
        *sizes(images, config),
        *duplicates(images, table),
        *balance(table, config),
    ]


def to_frame(findings: list[Finding]) -> pl.DataFrame:
    """kind, ids (list), score, evidence, decision: one row a finding."""
    import polars as pl

    schema: dict[str, Any] = {
        "kind": pl.String,
        "ids": pl.List(pl.String),
        "score": pl.Float64,
        "evidence": pl.String,
        "decision": pl.String,
    }
    return pl.DataFrame(findings, schema=schema, orient="row")


def rejected(table: Table) -> Iterator[Finding]:
    """What the source holds and the table had to leave out; score 1."""
    for reject in table.rejects:
        yield Finding(reject.kind, [reject.id], 1.0, reject.reason)


def faults(images: pl.DataFrame) -> Iterator[Finding]:
    """Images that cannot be used: unreadable, truncated, empty, too-large, unsupported-format, io-error; score 1."""
    for name, kind, reason in images.filter(images["fault"].is_not_null()).select("id", "fault", "reason").iter_rows():
        yield Finding(kind, [name], 1.0, reason)


def properties(images: pl.DataFrame) -> Iterator[Finding]:
    """What a file is, where that is odd: wrong-extension, animated (score: pictures), alpha, bit-depth (score: bits),
    rotated (score: orientation), bad-profile, colour-mode.
    """
    for row in images.filter(images["format"].is_not_null()).iter_rows(named=True):
        ids, kind = [row["id"]], row["format"]
        ending = extension(row["image"])
        if ending and ending not in EXTENSIONS[kind]:
            yield Finding("wrong-extension", ids, 1.0, f"named .{ending}, is {kind}")
        if row["animated"]:
            yield Finding("animated", ids, float(row["frames"]), f"{row['frames']} pictures, the first is used")
        if row["alpha"]:
            yield Finding("alpha", ids, 1.0, f"{row['mode']} with transparency")
        if row["bits"] != 8:
            yield Finding("bit-depth", ids, float(row["bits"]), f"{row['bits']} bits a channel")
        if row["orientation"] != 1:
            yield Finding("rotated", ids, float(row["orientation"]), f"EXIF orientation {row['orientation']}, applied")
        if row["mode"] in _COLOUR_MODES:
            yield Finding("colour-mode", ids, 1.0, f"{row['mode']}, converted to sRGB")
        for note in (row["notes"] or "").split("\n"):
            if note.startswith("bad-profile: "):
                yield Finding("bad-profile", ids, 1.0, note.removeprefix("bad-profile: "))


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
    rows = images.filter(images["width"].is_not_null() & images["fault"].is_null())
    if not rows.height:
        return
    sides = (rows["width"] * rows["height"]).sqrt()
    median = float(sides.median())  # type: ignore[arg-type]
    for (name, width, height), side in zip(rows.select("id", "width", "height").iter_rows(), sides, strict=True):
        ratio, short, long = side / median, min(width, height), max(width, height)
        if short < config.min_side or abs(math.log(ratio)) > math.log(config.size_ratio):
            yield Finding("odd-size", [name], ratio, f"{width} × {height}, the median side is {median:.0f}")
        if long > config.aspect * short:
            yield Finding("odd-aspect", [name], long / short, f"{width} × {height}")


def duplicates(images: pl.DataFrame, table: Table) -> Iterator[Finding]:
    """exact-duplicate (a copy and the first of its content), conflicting-labels, leakage: one pair a row, score 1."""
    hashes = images.filter(_has_content()).select("id", "hash")
    rows = table.rows.drop("hash").join(hashes, on="id", how="inner", maintain_order="left")
    known = replace(table, rows=rows)
    first: dict[str, str] = {}
    for name, content in known.rows.select("id", "hash").iter_rows():
        if content not in first:
            first[content] = name
        else:
            yield Finding("exact-duplicate", [first[content], name], 1.0, f"the same bytes, {content}")
    for kind, pairs in (("conflicting-labels", conflicts(known)), ("leakage", leaks(known))):
        for pair in pairs:
            yield Finding(kind, [pair.first, pair.second], 1.0, pair.evidence)


def groups(images: pl.DataFrame) -> pl.Series:
    """The duplicate group of each image, by its first member's id; null where it has none."""
    import polars as pl

    first = pl.col("id").first().over("hash")
    return images.select(pl.when(_has_content() & pl.col("hash").is_duplicated()).then(first).alias("group"))["group"]


def _has_content() -> pl.Expr:
    import polars as pl

    return pl.col("hash").is_not_null() & (pl.col("bytes") > 0)


def balance(table: Table, config: AuditConfig) -> Iterator[Finding]:
    """unlabelled (an image a row), tiny-class (score: images), imbalance (score: largest over smallest class)."""
    unlabelled = table.rows.filter(table.rows["label"].is_null())["id"]
    for name in unlabelled:
        yield Finding("unlabelled", [name], 1.0, "no label")
    counts = class_counts(table)
    members: dict[str, list[str]] = {}
    tiny = {name for name, n in counts.items() if n < config.tiny_class}
    if tiny:
        exploded = (
            table.rows.select("id", "label").explode("label") if _lists(table) else table.rows.select("id", "label")
        )
        for name, label in exploded.iter_rows():
            if label in tiny:
                members.setdefault(label, []).append(name)
    for label, n in counts.items():
        if label in tiny:
            yield Finding("tiny-class", members.get(label, []), float(n), f"{label}: {n} image{'' if n == 1 else 's'}")
    present = {label: n for label, n in counts.items() if n}
    if len(present) > 1:
        most, least = max(present, key=present.__getitem__), min(present, key=present.__getitem__)
        ratio = present[most] / present[least]
        if ratio > config.imbalance:
            evidence = f"{most} {present[most]:,}, {least} {present[least]:,}: {ratio:.1f} to 1"
            yield Finding("imbalance", [], ratio, evidence)


def _lists(table: Table) -> bool:
    import polars as pl

    return table.rows.schema["label"] == pl.List(pl.String)
