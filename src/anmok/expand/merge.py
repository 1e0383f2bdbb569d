"""Labelled rows and pseudo-labelled ones as a new version of the Table: the train split grows, nothing else changes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from anmok.core.errors import DataError
from anmok.data.table import Table, named
from anmok.expand.pseudo import Selection
from anmok.expand.refuse import LEAKS, refusals
from anmok.expand.together import at_one_root

if TYPE_CHECKING:
    import polars as pl


def base_rows(table: Table, unlabeled: Table) -> Table:
    """The rows that stay: labelled or held out, but for earlier pseudo labels of the images that are judged anew."""
    import polars as pl

    keep = pl.col("label").is_not_null() | pl.col("split").is_in(["val", "test"])
    if table.rows.schema.get("pseudo") == pl.Boolean:
        again = unlabeled.hashed().rows["hash"].drop_nulls().to_list()
        keep = keep & ~(pl.col("pseudo").fill_null(False) & pl.col("hash").is_in(again))
    return table.hashed().take(keep)


def with_pseudo(table: Table, unlabeled: Table, selection: Selection, model_hash: str) -> Table:
    """A new version of the table: its labelled and held-out rows, and the selected images as training rows.

    selection: of the rows of `unlabeled`, over the table's classes. New columns: pseudo (bool), pseudo_confidence
    (float64) and pseudo_model (the hash of the model that gave the label); both null where somebody gave it. Parents
    are the fingerprints of both tables. An id that the table has already gets 'pseudo/' in front.

    DataError (code leakage) where a selected image has the id or the bytes of a validation or test image, whoever
    selected it.
    """
    import polars as pl

    refused = refusals(table, unlabeled)
    chosen = unlabeled.rows["id"].gather(selection.rows).to_list()
    if leaks := [name for name in chosen if refused.get(name) in LEAKS]:
        raise DataError(
            f"{named(len(leaks), 'image', leaks)} of validation or test must not be trained on.", code="leakage",
            remedy="Leave them out of the selection: see `anmok.expand.refuse.refusals`.",
        )  # fmt: skip
    parents = (*table.parents, table.fingerprint, unlabeled.fingerprint)
    old, new = at_one_root(base_rows(table, unlabeled), unlabeled.hashed().take(selection.rows))
    taken = set(old.rows["id"])
    names = [table.classes[k] for k in selection.labels[selection.rows]]
    add = new.rows.select(
        pl.Series("id", list(free_ids(new.rows["id"], taken)), dtype=pl.String), "image", "hash",
        pl.Series("label", names, dtype=pl.String), pl.lit("train").alias("split"),
        pl.lit(True).alias("pseudo"),
        pl.Series("pseudo_confidence", selection.confidence[selection.rows], dtype=pl.Float64),
        pl.lit(model_hash).alias("pseudo_model"),
    )  # fmt: skip
    if "leaked" in old.rows.columns:
        add = add.with_columns(pl.lit(False).alias("leaked"))
    rows = pl.concat([_marked(old.rows), add], how="diagonal_relaxed")
    note = f"{len(selection.rows):,} pseudo labels of model {model_hash[:12]}, in train"
    return replace(old, rows=rows, parents=parents, notes=(*table.notes, note), links=table.links or unlabeled.links)


def free_ids(ids: Iterable[str], taken: set[str], mark: str = "pseudo") -> Iterable[str]:
    """The ids, with 'pseudo/', or another mark, in front (as often as needed) of those that are taken."""
    used = set(taken)
    for name in ids:
        while name in used:
            name = f"{mark}/{name}"
        used.add(name)
        yield name


def _marked(rows: pl.DataFrame) -> pl.DataFrame:
    """With the columns of pseudo labels, where they are not there yet."""
    import polars as pl

    types = {"pseudo": pl.Boolean, "pseudo_confidence": pl.Float64, "pseudo_model": pl.String}
    theirs = {c: f"{c}_given" for c, kind in types.items() if c in rows.columns and rows.schema[c] != kind}
    rows = rows.rename(theirs)  # columns of the source's own that mean something else
    blank: dict[str, bool | None] = {"pseudo": False, "pseudo_confidence": None, "pseudo_model": None}
    new = [pl.lit(blank[c], kind).alias(c) for c, kind in types.items() if c not in rows.columns]
    return rows.with_columns(new).with_columns(pl.col("pseudo").fill_null(False))
