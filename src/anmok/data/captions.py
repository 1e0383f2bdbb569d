"""Pairs of an image and a caption: the column `caption` of any source, or a .txt beside each image."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anmok.core.errors import DataError, UsageError, did_you_mean
from anmok.core.text import visible
from anmok.data.config import DataConfig, LabelsConfig
from anmok.data.delimited import build, decode_text, metadata_files, read_list
from anmok.data.scan import extension
from anmok.data.sources import LISTS, announce, open_table
from anmok.data.storage import file_name
from anmok.data.table import Table, named

if TYPE_CHECKING:
    import polars as pl

CAPTION = ("caption", "captions", "text", "texts", "description", "sentence", "prompt")
LONGEST = 100_000  # bytes of a .txt that is taken for a caption


def open_pairs(
    source: Any, config: DataConfig | None = None, labels: LabelsConfig | None = None, column: str | None = None
) -> Table:
    """The Table of images that have a caption; its column `caption` is a list of one text or more for each.

    source: anything `open_table` takes that has such a column (`column`, by default one of CAPTION, in any case), in
    which a cell is a text or a list of texts; a list with several rows of one image, one a caption; a folder of images
    in which captions lie as text files of the same names.  UsageError for a column that is not there; DataError where
    there are no captions at all, or too many images have none (`data.max_rejects`).
    """
    config, labels = config or DataConfig(), labels or LabelsConfig()
    path = None if isinstance(source, Table) else Path(source)
    if path is not None and path.is_file() and extension(path.name) in LISTS:
        return _with_captions(_open_list(path, config, labels, column), config, str(path), column)
    if path is not None and path.is_dir() and column is None and not metadata_files(path) and _texts_beside(path):
        table = open_table(source, config.model_copy(update={"allow_unlabelled": True, "drop_empty": True}), labels)
        return _with_captions(_read_beside(table, config), config, str(path), "caption")
    table = open_table(source, config, labels)
    return _with_captions(table, config, str(getattr(table, "root", source)), column)


def _open_list(path: Path, config: DataConfig, labels: LabelsConfig, column: str | None) -> Table:
    """A CSV or JSON lines in which an image may have several rows: their captions are gathered."""
    import polars as pl

    rows, columns, notes, stated = read_list(path, config)
    name = caption_column(rows.columns, column, str(path))
    text = pl.col(name) if isinstance(rows.schema[name], pl.List) else pl.concat_list(pl.col(name).cast(pl.String))
    rows = rows.with_columns(text.alias(name))
    assert columns.image is not None
    whole = rows.group_by(columns.image, maintain_order=True).agg(
        pl.col(name).explode(), pl.exclude(name, columns.image).n_unique().name.suffix("_")
    )
    same = [c for c in rows.columns if c not in (name, columns.image)]
    if whole.height < rows.height and all((whole[f"{c}_"] == 1).all() for c in same):
        notes.append(f"{rows.height:,} rows are {whole.height:,} images, some with several captions")
        once = rows.unique(columns.image, keep="first", maintain_order=True).drop(name)
        rows = once.join(whole.select(columns.image, name), on=columns.image, maintain_order="left")
    table = build(rows, columns, path, config, labels, notes, stated)
    announce(table, str(path))
    return table


def caption_column(names: Sequence[str], asked: str | None, where: str) -> str:
    """The column with the captions, as asked or by its usual names.  UsageError where there is none."""
    if asked is not None and asked not in names:
        raise UsageError(
            f"no column {asked!r} (pairs.caption_column); found {', '.join(map(repr, names[:20]))}.", where=where,
            remedy=did_you_mean(asked, names), code="column",
        )  # fmt: skip
    folded = {name.strip().lower(): name for name in reversed(names)}
    found = asked or next((folded[name] for name in CAPTION if name in folded), None)
    if found is None:
        raise DataError(
            f"no captions: no column of {', '.join(map(repr, names[:20]))} holds them.", where=where, code="caption",
            remedy="Call it `caption` or name it with --pairs.caption-column, or put a .txt of the same name beside "
            "each image.",
        )  # fmt: skip
    return found


def _with_captions(table: Table, config: DataConfig, where: str, column: str | None) -> Table:
    """The table with the column `caption` as lists of texts without blanks; rows that have none are left out."""
    import polars as pl

    name = caption_column(table.rows.columns, column, where)
    values = table.rows[name]
    if isinstance(values.dtype, pl.List):
        lists = [[str(v) for v in cell or () if v is not None] for cell in values.to_list()]
    else:
        lists = [[] if v is None else [v] for v in values.cast(pl.String).to_list()]
    texts = [[" ".join(text.split()) for text in cell if text.strip()] for cell in lists]
    texts = [list(dict.fromkeys(cell)) for cell in texts]
    rows = table.rows.drop(name).with_columns(pl.Series("caption", texts, dtype=pl.List(pl.String)))
    blank = [visible(i) for i, cell in zip(rows["id"].to_list(), texts, strict=True) if not cell]
    if len(blank) > config.max_rejects * len(table) or len(blank) == len(table):
        raise DataError(
            f"{named(len(blank), 'image', blank)} of {len(table):,} without a caption; at most "
            f"{config.max_rejects:.1%} may be.",
            where=where, remedy="Caption them, or raise --data.max-rejects.", code="caption",
        )  # fmt: skip
    notes = (*table.notes, f"{named(len(blank), 'image', blank)} without a caption left out") if blank else table.notes
    return table._with(rows=rows.filter(pl.col("caption").list.len() > 0), notes=notes)


def captions_of(table: Table) -> dict[str, list[str]]:
    """{id: its captions} of a table that `open_pairs` made."""
    return dict(table.rows.select("id", "caption").iter_rows())


def _texts_beside(folder: Path) -> bool:
    """Whether a .txt lies in the folder or in one below it."""
    return next((True for p in ("*.txt", "*/*.txt") for f in folder.glob(p) if f.is_file()), False)


def _read_beside(table: Table, config: DataConfig) -> Table:
    """The table with the text files that are called as its images are; null where there is none."""
    import polars as pl

    texts: list[str | None] = []
    for reference in table.rows["image"].to_list():
        file = table.root / (file_name(reference) or reference)
        beside = file.with_suffix(".txt")
        real, root = os.path.realpath(beside), os.path.realpath(table.root)
        if not beside.is_file() or not (config.allow_links or real.startswith(root + os.sep)):
            texts.append(None)
            continue
        if beside.stat().st_size > LONGEST:
            raise DataError(f"longer than {LONGEST:,} bytes: no caption.", where=str(beside), code="caption")
        texts.append(decode_text(beside.read_bytes(), config.encoding, str(beside))[0])
    rows: pl.DataFrame = table.rows.with_columns(pl.Series("caption", texts, dtype=pl.String))
    return table._with(rows=rows)
