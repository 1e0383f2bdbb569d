from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from anmok.audit.decisions import decide
from anmok.audit.findings import to_frame
from anmok.core.errors import DataError, UsageError
from anmok.core.types import Finding
from anmok.data.config import SplitConfig
from anmok.data.sources import open_table
from anmok.data.split import split_table
from anmok.data.table import Table

KINDS = ("exact-duplicate", "near-duplicate", "leakage", "suspect-label", "unreadable", "dark")


@pytest.fixture
def table(tmp_path: Path) -> Table:
    for label in ("cat", "dog"):
        for i in range(6):
            path = tmp_path / label / f"{i}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(np.full((8, 8, 3), 20 * i + len(label) + ord(label[0]), np.uint8)).save(path)
    return open_table(tmp_path)


def images_of(table: Table, groups: dict[str, str] | None = None) -> pl.DataFrame:
    rows = table.hashed().rows.select("id", "hash")
    return rows.with_columns(pl.Series("group", [(groups or {}).get(i) for i in rows["id"]], dtype=pl.String))


def found(*findings: tuple[str, list[str], str]) -> pl.DataFrame:
    return to_frame([Finding(kind, ids, 1.0, "", decision) for kind, ids, decision in findings])


def test_findings_are_carried_out_and_told(table: Table) -> None:
    findings = found(
        ("unreadable", ["cat/0.png"], "drop"),
        ("suspect-label", ["cat/1.png"], "relabel:dog"),
        ("suspect-label", ["cat/2.png"], "keep"),
        ("dark", ["cat/3.png"], ""),
    )
    new = decide(table, findings, images_of(table), known=KINDS)
    labels = dict(new.rows.select("id", "label").iter_rows())
    assert "cat/0.png" not in labels
    assert (labels["cat/1.png"], labels["cat/2.png"], labels["cat/3.png"]) == ("dog", "cat", "cat")
    assert new.parents == (table.fingerprint,)
    assert new.fingerprint != table.fingerprint
    assert "unreadable 1" in new.notes[-1]
    assert "cat/1.png" in new.notes[-1]
    assert sorted(table.rows["id"])[0] == "cat/0.png"  # the version before is as it was


def test_of_copies_the_first_stays_and_of_a_leak_the_later_split(table: Table) -> None:
    findings = found(
        ("exact-duplicate", ["cat/0.png", "cat/1.png"], "group"),
        ("leakage", ["dog/0.png", "dog/1.png"], "group"),
        ("dark", ["dog/5.png"], "keep"),
    )
    new = decide(table, findings, images_of(table), drop=["exact-duplicate", "leakage", "dark"], known=KINDS)
    left = set(table.rows["id"]) - set(new.rows["id"])
    assert left == {"cat/1.png", "dog/0.png", "dog/5.png"}


@pytest.mark.parametrize("seed", range(5))
def test_groups_never_cross_a_split_and_join_what_was_grouped(table: Table, seed: int) -> None:
    own = {"cat/1.png": "camera", "cat/4.png": "camera"}
    rows = table.rows.with_columns(pl.Series("group", [own.get(i) for i in table.rows["id"]], dtype=pl.String))
    table = table._with(rows=rows)
    findings = found(("near-duplicate", ["cat/0.png", "cat/1.png"], "group"))
    groups = {"cat/0.png": "cat/0.png", "cat/1.png": "cat/0.png", "dog/2.png": "dog/2.png"}
    new = decide(table, findings, images_of(table, groups), known=KINDS)
    group = dict(new.rows.select("id", "group").iter_rows())
    assert group["cat/0.png"] == group["cat/1.png"] == group["cat/4.png"] is not None
    assert group["dog/2.png"] is None  # no finding asked for it
    split = split_table(new, SplitConfig(seed=seed, test=0.3, val=0.3)).rows
    assert split.filter(pl.col("group") == group["cat/0.png"])["split"].n_unique() == 1


def test_a_split_that_is_kept_scores_leaked_images_apart(table: Table) -> None:
    sides = ["train", "train", "train", "val", "test", "test"] * 2
    given = table._with(rows=table.rows.sort("id").with_columns(pl.Series("split", sides)))
    findings = found(
        ("leakage", ["cat/0.png", "cat/5.png"], "group"), ("near-duplicate", ["cat/0.png", "cat/5.png"], "group")
    )
    groups = {"cat/0.png": "cat/0.png", "cat/5.png": "cat/0.png"}
    kept = split_table(decide(given, findings, images_of(given, groups), known=KINDS)).rows
    assert kept.filter("leaked")["id"].to_list() == ["cat/5.png"]
    assert dict(kept.select("id", "split").iter_rows())["cat/5.png"] == "test"
    without = decide(given, findings, images_of(given, groups), drop=["leakage"], known=KINDS).rows
    assert "cat/0.png" not in without["id"].to_list()
    assert "leaked" not in without.columns


def test_wrong_words_and_wrong_images_are_refused(table: Table) -> None:
    none = found()
    with pytest.raises(UsageError, match="Did you mean dark"):
        decide(table, none, images_of(table), drop=["darkk"], known=KINDS)
    with pytest.raises(UsageError, match="relabel:LABEL"):
        decide(table, found(("dark", ["cat/0.png"], "delete")), images_of(table), known=KINDS)
    with pytest.raises(DataError, match="Did you mean cat"):
        decide(table, found(("suspect-label", ["dog/0.png"], "relabel:cta")), images_of(table), known=KINDS)
    twice = found(("suspect-label", ["dog/0.png"], "relabel:cat"), ("dark", ["dog/0.png"], "relabel:dog"))
    with pytest.raises(DataError, match="relabelled to cat and to dog"):
        decide(table, twice, images_of(table), known=KINDS)
    with pytest.raises(DataError, match="does not know 1 image"):
        decide(table, none, images_of(table).slice(1), known=KINDS)
    changed = images_of(table).with_columns(pl.lit("00").alias("hash"))
    with pytest.raises(DataError, match="changed since the audit"):
        decide(table, none, changed, known=KINDS)
