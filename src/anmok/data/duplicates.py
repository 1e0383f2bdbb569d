"""Identical files: on two sides of a split, or under two labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from anmok.data.table import Table

ORDER = {"train": 0, "val": 1, "test": 2}


class Pair(NamedTuple):
    """Two rows with the same bytes: their ids, and what sets them apart ('train / test', 'glass / plastic')."""

    first: str
    second: str
    evidence: str

    def __str__(self) -> str:
        return f"{self.first} = {self.second} ({self.evidence})"


def _same_bytes(table: Table) -> Iterator[list[dict[str, Any]]]:
    """Rows of each content that occurs more than once; train before val before test, then by id."""
    import polars as pl

    rows = table.hashed().rows.filter(pl.col("hash").is_not_null() & pl.col("hash").is_duplicated())
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows.select("id", "label", "split", "hash").sort("id").iter_rows(named=True):
        groups.setdefault(row["hash"], []).append(row)
    for group in groups.values():
        yield sorted(group, key=lambda row: ORDER.get(row["split"], 3))


def leaks(table: Table) -> list[Pair]:
    """Identical files in two splits: each row of val or test with the first of an earlier split (train, then val)."""
    pairs = []
    for group in _same_bytes(table):
        for row in group:
            before = next((r for r in group if ORDER.get(r["split"], 3) < ORDER.get(row["split"], -1)), None)
            if before is not None:
                pairs.append(Pair(before["id"], row["id"], f"{before['split']} / {row['split']}"))
    return sorted(pairs)


def conflicts(table: Table) -> list[Pair]:
    """Identical files under two labels: the first of each content with every one whose label differs from its."""
    pairs = []
    for group in _same_bytes(table):
        labelled = [row for row in group if row["label"] is not None]
        for row in labelled:
            if row["label"] != labelled[0]["label"]:
                evidence = f"{_said(labelled[0]['label'])} / {_said(row['label'])}"
                pairs.append(Pair(labelled[0]["id"], row["id"], evidence))
    return sorted(pairs)


def conflicting(table: Table) -> set[str]:
    """Ids of all labelled rows whose bytes stand under more than one label."""
    ids: set[str] = set()
    for group in _same_bytes(table):
        labelled = [row for row in group if row["label"] is not None]
        if any(row["label"] != labelled[0]["label"] for row in labelled):
            ids.update(row["id"] for row in labelled)
    return ids


def _said(label: str | list[str]) -> str:
    return label if isinstance(label, str) else ";".join(label) or "none"
