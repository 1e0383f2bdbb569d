"""`--hierarchy`: which parent each class has, read from a CSV or a column."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from anmok.core.errors import DataError, UsageError, did_you_mean, near_path
from anmok.core.progress import say, warn
from anmok.data.delimited import decode_text, find_delimiter
from anmok.data.table import Table
from anmok.evaluate.hierarchy import check_parents, coarse_of

COLUMN = "column:"
HEADS = ("fine", "class", "label", "child", "name")


def with_hierarchy(table: Table, spec: str | None) -> Table:
    """The table with the parent of every class.

    spec: a CSV of class,parent (with or without a head; parents may have parents of their own), or column:NAME, a
    column of the source that holds the parent of each image's class; None: what the table has already.  UsageError: no
    such file or column, or a multi-label task; DataError: a class without a parent or with two, an unknown class, a
    circle (see `evaluate.hierarchy.check_parents`).
    """
    if spec is None:
        return _still_fits(table)
    if table.task == "multilabel":
        raise UsageError(
            "a hierarchy is for one label per image.", where="--hierarchy", code="setting",
            remedy="Multi-label: give an image its coarse labels too, as in \"poodle;dog\".",
        )  # fmt: skip
    column = spec.startswith(COLUMN)
    parents = _of_column(table, spec.removeprefix(COLUMN)) if column else read_parents(Path(spec))
    try:
        check_parents(table.classes, parents)
    except DataError as error:
        raise DataError(error.message, where=f"--hierarchy {spec}", remedy=error.remedy, code=error.code) from error
    coarse = coarse_of(table.classes, parents)
    say(f"hierarchy: {len(table.classes)} classes below {len(coarse.names)} parents ({', '.join(coarse.names[:8])}"
        f"{', …' if len(coarse.names) > 8 else ''})")  # fmt: skip
    return table._with(hierarchy=tuple(parents.items()))


def _still_fits(table: Table) -> Table:
    """The table, without a hierarchy that its classes, renamed or joined since, do not fit."""
    if not table.hierarchy:
        return table
    try:
        check_parents(table.classes, dict(table.hierarchy))
    except DataError as error:
        warn(f"the hierarchy of the table is left out, as its classes have changed: {error.message}")
        return table._with(hierarchy=())
    return table


def _of_column(table: Table, name: str) -> dict[str, str]:
    import polars as pl

    if name not in table.rows.columns:
        raise UsageError(
            f"no column {name!r}.", where="--hierarchy", remedy=did_you_mean(name, table.rows.columns), code="column"
        )
    pairs = table.rows.select("label", pl.col(name).cast(pl.String).alias("parent")).drop_nulls()
    pairs = pairs.filter(pl.col("parent").str.strip_chars() != "").unique().sort("label", "parent")
    return _one_each(list(pairs.iter_rows()), f"--hierarchy column:{name}")


def read_parents(path: Path) -> dict[str, str]:
    """{class: parent} of a CSV with these two columns.  UsageError: no such file; DataError: not two columns, a class
    with two parents."""
    try:
        text, _ = decode_text(path.read_bytes(), None, str(path))
    except OSError as error:
        raise UsageError(
            f"cannot be read ({error.strerror}).", where=f"--hierarchy {path}", code="source",
            remedy=f"{near_path(path)}Give a CSV of class,parent, or column:NAME.",
        ) from error  # fmt: skip
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=find_delimiter(text))
    rows = [[cell.strip() for cell in row] for row in lines if any(cell.strip() for cell in row)]
    if rows and rows[0][0].casefold() in HEADS:
        rows = rows[1:]
    wrong = next((row for row in rows if len(row) != 2 or not all(row)), None)
    if not rows or wrong:
        found = "no rows" if wrong is None else f"the row {','.join(wrong)!r}"
        raise DataError(f"expected two columns, class and parent; found {found}.", where=str(path), code="list")
    return _one_each([(row[0], row[1]) for row in rows], str(path))


def _one_each(pairs: list[tuple[str, str]], where: str) -> dict[str, str]:
    parents: dict[str, str] = {}
    for name, parent in pairs:
        if parents.setdefault(name, parent) != parent:
            raise DataError(
                f"{name!r} has two parents, {parents[name]!r} and {parent!r}.", where=where,
                remedy="A class belongs to one; correct the rows that differ.", code="classes",
            )  # fmt: skip
    return parents
