"""The last step of every source: rows as the Table wants them, checked, and what was found said aloud."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from anmok.core.errors import DataError, did_you_mean
from anmok.core.text import visible
from anmok.core.types import Reject
from anmok.data.config import DataConfig, LabelsConfig
from anmok.data.labels import prepare
from anmok.data.storage import file_reference
from anmok.data.table import COLUMNS, Table, named

if TYPE_CHECKING:
    import polars as pl

SPLITS = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
}


def split_of(name: str) -> str | None:
    """'train', 'val' or 'test' for the names that mean them ('Validation', 'dev', …); None for any other."""
    return SPLITS.get(name.strip().lower())


def split_column(values: pl.Series, where: str) -> pl.Series:
    """A column of split names in our words; blank stays null.  DataError for any other value, with the nearest."""
    import polars as pl

    values = values.cast(pl.String)
    names = values.drop_nulls().unique().sort().to_list()
    mapping = {name: split_of(name) for name in names}
    for name, split in mapping.items():
        if split is None and name.strip():
            raise DataError(
                f"{name!r} is no split; allowed are {', '.join(SPLITS)} and blank.", where=where,
                remedy=f"{did_you_mean(name.strip().lower(), SPLITS)} Or ignore the column: --data.split-column ''.",
                code="split",
            )  # fmt: skip
    return values.replace_strict(mapping, default=None, return_dtype=pl.String)


def identifier(name: str) -> str:
    """The row id of a file: its path below the root in NFC; its reference, where the name is not valid text."""
    reference = file_reference(name)
    return reference if reference != name else unicodedata.normalize("NFC", name)


def text_of(name: str) -> str:
    """A file name as valid text in NFC; bytes that are none as escapes."""
    return unicodedata.normalize("NFC", os.fsencode(name).decode("utf-8", "backslashreplace"))


def assemble(
    rows: pl.DataFrame,
    root: Path,
    config: DataConfig,
    labels: LabelsConfig,
    *,
    stated: Sequence[str] | None = None,
    notes: Iterable[str] = (),
    rejects: Iterable[Reject] = (),
) -> Table:
    """A Table from rows with id, image and, where the source has them, label, split, group and extra columns.

    stated: classes in the source's own order.  DataError where two files have one id, for wrong labels and splits.
    """
    import polars as pl

    notes, rejects = list(notes), tuple(rejects)
    taken: list[str] = [c for c in ("hash", "fold", "leaked") if c in rows.columns]
    if "unknown" in rows.columns and rows.schema["unknown"] != pl.List(pl.String):  # else labels: see data/labels.py
        taken.append("unknown")
    if taken:
        rows = rows.rename({c: f"{c}_given" for c in taken})
        notes.append(f"columns renamed, as their names are ours: {', '.join(f'{c} → {c}_given' for c in taken)}")
    missing = [c for c in COLUMNS if c not in rows.columns]
    rows = rows.with_columns(pl.lit(None, pl.String).alias(c) for c in missing)
    rows = rows.select(*COLUMNS, pl.exclude(COLUMNS))
    refuse_collisions(rows)
    rows = rows.with_columns(split_column(rows["split"], "split").alias("split"), pl.col("group").cast(pl.String))
    ready = prepare(rows, config, labels, stated)
    notes += [*odd_names(rows["id"]), *ready.notes]
    return Table(
        rows=ready.rows, root=root, classes=ready.classes, task=ready.task, reason=ready.reason,
        notes=tuple(notes), rejects=rejects, links=config.allow_links,
    )  # fmt: skip


def refuse_collisions(rows: pl.DataFrame) -> None:
    """DataError where two images have the same id: names that are equal once normalised, or a repeated member."""
    twice = rows.filter(rows["id"].is_duplicated()).sort("id", "image")
    if twice.height:
        first = twice["id"][0]
        images = twice.filter(twice["id"] == first)["image"].to_list()
        raise DataError(
            f"{twice['id'].n_unique():,} names stand for several images, as {visible(first)!r} "
            f"({' and '.join(ascii(image) for image in images[:3])}).",
            remedy="Rename one; names are compared in Unicode NFC.",
            code="name-collision",
        )


def odd_names(ids: pl.Series) -> list[str]:
    """Notes on names that differ by case only, and on names with control characters or undecodable bytes."""
    notes = []
    twins = ids.filter(ids.str.to_lowercase().is_duplicated()).sort().to_list()
    if twins:
        notes.append(f"warning: {named(len(twins), 'name', twins)} that differ by case only")
    odd = ids.filter(ids.str.contains(r"[\x00-\x1f\x7f]") | ids.str.starts_with("bytes:"))
    if odd.len():
        notes.append(f"{named(odd.len(), 'odd name', [visible(i) for i in odd.head(5).to_list()])} kept as they are")
    return notes
