"""Rows that a program made: pseudo labels and generated images. They train, and judge nothing."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

    from anmok.data.table import Table

MADE = ("pseudo", "generated")  # boolean columns that mark such rows


def given(table: Table) -> pl.Expr:
    """A filter for the rows whose images and labels somebody gave."""
    import polars as pl

    made = [pl.col(c).fill_null(False) for c in MADE if table.rows.schema.get(c) == pl.Boolean]
    return ~pl.any_horizontal(*made) if made else pl.lit(True)


def drop_made(table: Table, kinds: Collection[str]) -> Table:
    """The version without the rows that a program made, of these kinds; what somebody gave stays as it is."""
    import polars as pl

    out = [pl.col(c).fill_null(False) for c in kinds if table.rows.schema.get(c) == pl.Boolean]
    if not out:
        return table
    kept = table.take(~pl.any_horizontal(*out))
    return table.with_rows(kept.rows, f"{len(table) - len(kept):,} rows dropped: {', '.join(sorted(kinds))}")


def of_held_out(table: Table) -> pl.Expr:
    """A filter for generated training rows whose beginning, or its group, is in validation or test."""
    import polars as pl

    if table.rows.schema.get("generated_source") != pl.String or table.rows.schema.get("generated") != pl.Boolean:
        return pl.lit(False)
    out = table.rows.filter(pl.col("split").is_in(["val", "test"]) & given(table))
    ids, groups = out["id"].to_list(), out["group"].drop_nulls().unique().to_list()
    begun = pl.col("generated_source").is_in(ids) | pl.col("group").is_in(groups)
    return (pl.col("generated").fill_null(False) & (pl.col("split") == "train") & begun).fill_null(False)
