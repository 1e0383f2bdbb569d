from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from anmok.audit.crossings import crossings
from anmok.audit.duplicates import Near
from anmok.core.types import Finding
from anmok.data.table import Table

# id: (content, group, label, split)
ROWS: dict[str, tuple[str, str | None, Any, str | None]] = {
    "a": ("A", "a", "cat", "train"),
    "a2": ("A", "a", "cat", "test"),  # the same bytes: data.duplicates tells
    "b": ("B", "a", "cat", "val"),  # confirmed with a
    "c": ("C", "a", "dog", "test"),  # confirmed with b, not with a
    "d": ("D", "d", "cat", "train"),
    "e": ("E", "d", "dog", "train"),
    "f": ("F", "f", "cat", "test"),
    "g": ("G", "f", None, "test"),
    "h": ("H", "h", "cat", None),
    "i": ("I", "h", "cat", "test"),
    "j": ("J", None, "dog", "test"),
}
PAIRS = [("a", "b", 0.95), ("b", "c", 0.9), ("d", "e", 0.88), ("f", "g", 0.97), ("h", "i", 0.99)]


def near() -> tuple[Near, pl.DataFrame, Table]:
    columns = list(zip(*ROWS.values(), strict=True))
    images = pl.DataFrame({"id": list(ROWS), "hash": columns[0]})
    rows = pl.DataFrame({"id": list(ROWS), "label": columns[2], "split": columns[3]})
    findings = [Finding("near-duplicate", [a, b], score, "brighter", "group") for a, b, score in PAIRS]
    return Near(findings, pl.Series("group", columns[1]), 5), images, Table(rows, Path(), ("cat", "dog"))


def test_leaks_go_to_a_confirmed_partner_of_an_earlier_split_or_else_to_the_first() -> None:
    found = [f for f in crossings(*near()) if f.kind == "leakage"]
    assert [(f.ids, f.score, f.evidence) for f in found] == [
        (["a", "b"], 0.95, "train / val; brighter"),
        (["b", "c"], 0.9, "val / test; brighter"),
    ]
    assert {f.decision for f in found} == {"group"}


def test_a_leak_by_way_of_others_is_one_all_the_same() -> None:
    result, images, table = near()
    rows = table.rows.with_columns(split=pl.when(pl.col("id") == "b").then(pl.lit("test")).otherwise("split"))
    found = [f for f in crossings(result, images, Table(rows, Path(), table.classes)) if f.kind == "leakage"]
    assert [(f.ids, f.evidence) for f in found] == [
        (["a", "b"], "train / test; brighter"),
        (["a", "c"], "train / test; alike by way of others in their group"),
    ]


def test_conflicts_are_confirmed_pairs_of_two_labels() -> None:
    found = [f for f in crossings(*near()) if f.kind == "conflicting-labels"]
    assert [(f.ids, f.score, f.evidence) for f in found] == [
        (["b", "c"], 0.9, "cat / dog; brighter"),
        (["d", "e"], 0.88, "cat / dog; brighter"),
    ]


def test_lists_of_labels_and_tables_without_splits() -> None:
    result, images, table = near()
    lists = [["cat"], ["cat"], ["cat"], ["cat", "dog"], [], ["dog"], ["cat"], None, ["cat"], ["cat"], ["dog"]]
    rows = table.rows.with_columns(label=pl.Series(lists), split=pl.lit(None, pl.String))
    found = crossings(result, images, Table(rows, Path(), table.classes, "multilabel"))
    assert [(f.kind, f.ids, f.evidence.split(";")[0]) for f in found if f.kind == "leakage"] == []
    assert [(f.ids, f.evidence) for f in found] == [
        (["b", "c"], "cat / cat;dog; brighter"),
        (["d", "e"], "none / dog; brighter"),
    ]
