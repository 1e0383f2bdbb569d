"""Images that must never be learned from: those of validation and test, whatever they are called and however they look.

By id, by bytes, and by what a search for near duplicates found (which is handed in: looking at pixels is the audit's).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

from anmok.data.made import given
from anmok.data.table import Table

ID, BYTES, NEAR, LABELLED, COPY = "id", "bytes", "near", "labelled", "copy"
LEAKS = (ID, BYTES, NEAR)
WORDS = {
    ID: "the id of a validation or test image",
    BYTES: "the bytes of a validation or test image",
    NEAR: "nearly the same picture as a validation or test image",
    LABELLED: "labelled already",
    COPY: "a copy of another unlabelled image",
    "unreadable": "unreadable",
    "disagree": "the views disagree",
    "unsure": "below the confidence",
    "quota": "over the quota of its class",
}


def held_out(table: Table) -> Table:
    """The rows of validation and test."""
    import polars as pl

    return table.take(pl.col("split").is_in(["val", "test"]))


def refusals(table: Table, unlabeled: Table, near: Collection[str] = ()) -> dict[str, str]:
    """Id of an unlabelled image -> why it is refused, the first that holds of: id, bytes, near, labelled, copy.

    near: ids of unlabelled images that are near duplicates of validation or test images. An id alone is enough: two
    images of one name may be one image, saved anew.
    """
    import polars as pl

    table, unlabeled = table.hashed(), unlabeled.hashed()
    out = held_out(table).rows
    ids, contents, alike = set(out["id"]), set(out["hash"].drop_nulls()), set(near)
    known = table.rows.filter(given(table) & pl.col("label").is_not_null() & (pl.col("split") == "train"))
    labelled = set(known["hash"].drop_nulls())
    seen: set[str] = set()
    found = {}
    for name, content in unlabeled.rows.select("id", "hash").iter_rows():
        if name in ids:
            found[name] = ID
        elif content in contents:
            found[name] = BYTES
        elif name in alike:
            found[name] = NEAR
        elif content in labelled:
            found[name] = LABELLED
        elif content in seen:
            found[name] = COPY
        if content is not None:
            seen.add(content)
    return found


def refused_lines(reasons: Iterable[str]) -> list[str]:
    """'12 refused: …' for each reason, in a fixed order; '' is no reason."""
    counts = Counter(reasons)
    return [f"{counts[kind]:,} refused: {words}" for kind, words in WORDS.items() if counts[kind]]
