"""Generated images as rows of a new version of the Table: the train split grows, nothing else changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from anmok.core.errors import DataError
from anmok.data.table import Table, named
from anmok.expand.merge import free_ids
from anmok.expand.refuse import held_out
from anmok.expand.together import at_one_root

if TYPE_CHECKING:
    import polars as pl

KINDS = {
    "generated": "Boolean", "generated_model": "String", "generated_prompt": "String", "generated_seed": "Int64",
    "generated_source": "String", "generated_score": "Float64",
}  # fmt: skip


class Made(NamedTuple):
    """A generated image that is taken: its file below the folder of images, its class, and where it comes from.

    source: the id of the training image that it began with, or None; score: probability of its class by the judge.
    """

    file: str
    label: str
    prompt: str
    seed: int
    source: str | None
    score: float


def with_generated(table: Table, folder: Path, made: Sequence[Made], model: str) -> Table:
    """A new version of the table with the generated images as training rows; `folder` is what their files lie in.

    New columns, null for the rows that were there: generated (bool, false there), generated_model, generated_prompt,
    generated_seed, generated_source (the id of the image it began with, whose group it joins) and generated_score. The
    parent is the table's fingerprint. A column of such a name that means something else is kept as NAME_given.

    DataError (code leakage) where an image has the bytes of a validation or test image, or begins with one.
    """
    import polars as pl

    fingerprint, old = table.fingerprint, table.hashed()
    groups = dict(old.rows.select("id", "group").iter_rows())
    rows = pl.DataFrame({
        "id": list(free_ids((f"generated/{one.file}" for one in made), set(old.rows["id"]), "generated")),
        "image": [one.file for one in made], "label": [one.label for one in made],
        "split": ["train"] * len(made), "group": [groups.get(one.source or "") for one in made],
        "hash": [None] * len(made), "generated": [True] * len(made), "generated_model": [model] * len(made),
        "generated_prompt": [one.prompt for one in made], "generated_seed": [one.seed for one in made],
        "generated_source": [one.source for one in made], "generated_score": [one.score for one in made],
    }, schema={**dict.fromkeys(("id", "image", "label", "split", "group", "hash"), pl.String), **_types()})  # fmt: skip
    new = Table(rows, folder, table.classes, table.task).hashed()
    out = held_out(old).rows
    contents, ids = set(out["hash"].drop_nulls()), set(out["id"])
    leaking = new.rows.filter(pl.col("hash").is_in(list(contents)) | pl.col("generated_source").is_in(list(ids)))
    if leaking.height:
        raise DataError(
            f"{named(leaking.height, 'generated image', leaking['id'].to_list())} of validation or test must not be "
            "trained on.", code="leakage", remedy="Judge the images first, see `anmok.expand.judged.verdicts`.",
        )  # fmt: skip
    before, after = at_one_root(old, new)
    add = after.rows
    if "leaked" in before.rows.columns:
        add = add.with_columns(pl.lit(False).alias("leaked"))
    if before.rows.schema.get("pseudo") == pl.Boolean:
        add = add.with_columns(pl.lit(False).alias("pseudo"))
    whole = pl.concat([_marked(before.rows), add], how="diagonal_relaxed")
    note = f"{len(made):,} generated images of {model}, in train"
    return replace(before, rows=whole, parents=(*table.parents, fingerprint), notes=(*old.notes, note))


def _types() -> dict[str, Any]:
    import polars as pl

    return {name: getattr(pl, kind) for name, kind in KINDS.items()}


def _marked(rows: pl.DataFrame) -> pl.DataFrame:
    """With the columns of generated images, where they are not there yet."""
    import polars as pl

    types = _types()
    theirs = {c: f"{c}_given" for c, kind in types.items() if c in rows.columns and rows.schema[c] != kind}
    rows = rows.rename(theirs)
    new = [pl.lit(None, kind).alias(c) for c, kind in types.items() if c not in rows.columns]
    return rows.with_columns(new).with_columns(pl.col("generated").fill_null(False))
