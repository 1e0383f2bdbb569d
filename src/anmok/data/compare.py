"""What changed between two versions of a table, and whether two class maps mean the same outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from anmok.core.errors import DataError
from anmok.data.table import class_hash, named

if TYPE_CHECKING:
    from anmok.data.table import Table


def difference(old: Table, new: Table) -> str:
    """What changed from old to new: images added, removed, with other content, relabelled, moved to another split.

    One line a kind, the first few named; '' where nothing changed. A split counts only where both tables give one.
    """
    import polars as pl

    columns = ("id", "label", "split", "hash")
    before = old.hashed().rows.select(columns)
    after = new.hashed().rows.select(columns)
    both = before.join(after, on="id", how="inner", suffix="_new")

    def other(column: str) -> pl.Expr:
        return pl.col(column).ne_missing(pl.col(f"{column}_new"))

    splits = pl.col("split").is_not_null() & pl.col("split_new").is_not_null()
    if before.schema["label"] != after.schema["label"]:  # text and lists: compare as lists
        both = both.with_columns(pl.col(c).cast(pl.List(pl.String)) for c in ("label", "label_new"))
    kinds = [
        ("added", after.join(before, on="id", how="anti")),
        ("removed", before.join(after, on="id", how="anti")),
        ("changed content", both.filter(other("hash"))),
        ("relabelled", both.filter(other("label"))),
        ("moved to another split", both.filter(splits & other("split"))),
    ]
    lines = [
        f"{what}: {named(rows.height, 'image', rows['id'].sort().to_list())}" for what, rows in kinds if rows.height
    ]
    classes = class_difference(old.classes, new.classes)
    if old.task != new.task:
        lines.append(f"task: {old.task}, now {new.task}")
    return "\n".join([*lines, f"classes: {classes}"] if classes else lines)


def changes(table: Table) -> str:
    """What became of a table's images since their contents were hashed, as `difference` says it; reads them again."""
    import polars as pl

    return difference(table, table._with(rows=table.rows.with_columns(pl.lit(None, pl.String).alias("hash"))))


def class_difference(old: Sequence[str], new: Sequence[str]) -> str:
    """How two class lists differ, in words; '' where they are the same in the same order."""
    if list(old) == list(new):
        return ""
    gone, added = [c for c in old if c not in new], [c for c in new if c not in old]
    parts = [f"without {', '.join(gone)}"] if gone else []
    parts += [f"with {', '.join(added)} added"] if added else []
    return " and ".join(parts) or f"in another order ({', '.join(old)}; now {', '.join(new)})"


def require_classes(task: str, classes: Sequence[str], table: Table, where: str | None = None) -> None:
    """DataError (code class-map) unless the table has this task and these classes in this order."""
    if class_hash(task, classes) == table.class_hash:
        return
    found = class_difference(classes, table.classes) or f"task {table.task} instead of {task}"
    raise DataError(
        f"the classes are not those of the training: {found}.",
        where=where,
        remedy="Use the table of the run, or train anew.",
        code="class-map",
    )
