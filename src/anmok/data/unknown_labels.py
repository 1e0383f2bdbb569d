"""Labels of which nobody knows whether an image has them: the column `unknown` of a multi-label table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from anmok.core.errors import UsageError
from anmok.core.types import Task
from anmok.data.config import DataConfig

if TYPE_CHECKING:
    import polars as pl


def part_unknown(rows: pl.DataFrame, config: DataConfig) -> pl.DataFrame:
    """Marked labels of lists ("?dog") moved to the column `unknown`, which a source may have already (lists)."""
    import polars as pl

    mark = config.unknown_mark
    if not (mark and isinstance(rows.schema["label"], pl.List)):
        return rows
    marked = pl.element().str.starts_with(mark) & (pl.element().str.len_bytes() > len(mark.encode()))
    if not rows["label"].explode().drop_nulls().str.starts_with(mark).any():
        return rows
    found = pl.col("label").list.eval(pl.element().filter(marked).str.slice(len(mark)))
    if "unknown" in rows.columns:
        found = pl.col("unknown").list.concat(found)
    kept = pl.col("label").list.eval(pl.element().filter(~marked))
    return rows.with_columns(found.alias("unknown"), kept.alias("label"))


def settle_unknown(rows: pl.DataFrame, classes: Sequence[str], task: Task) -> tuple[pl.DataFrame, list[str]]:
    """`unknown` as sorted lists without what is known, gone where nothing is left of it; and what to say.

    An image of which nothing is known is unlabelled.  UsageError where the task is not multi-label.
    """
    import polars as pl

    if "unknown" not in rows.columns:
        return rows, []
    names = pl.col("unknown").fill_null([]).list.unique().list.sort()
    if isinstance(rows.schema["label"], pl.List):
        names = names.list.set_difference(pl.col("label").fill_null([])).list.sort()
    rows = rows.with_columns(pl.when(pl.col("label").is_not_null()).then(names).otherwise([]).alias("unknown"))
    blank = pl.col("unknown").list.len() >= len(classes)
    rows = rows.with_columns(
        pl.when(~blank).then("label").alias("label"), pl.when(~blank).then("unknown").otherwise([]).alias("unknown")
    )
    gaps = int(rows["unknown"].list.len().sum())
    if not gaps:
        return rows.drop("unknown"), []
    if task != "multilabel":
        raise UsageError(
            f"{task} knows the label of an image or does not; found images of which single labels are unknown.",
            where="data.task", remedy="Use --data.task multilabel.", code="setting",
        )  # fmt: skip
    return rows, [f"{gaps:,} labels of images are unknown: they count neither in training nor in scores"]
