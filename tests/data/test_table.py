from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from anmok.core.errors import DataError
from anmok.data.config import DataConfig
from anmok.data.sources import open_table
from anmok.data.table import Table, class_hash, content_hash, named

Folder = Callable[..., Path]


@pytest.fixture
def table(folder: Folder) -> Table:
    return open_table(folder("train/cat/1.png", "train/dog/2.png", "test/owl/3.png", "test/4.png"))


def test_columns_and_targets(table: Table) -> None:
    assert table.rows.columns[:6] == ["id", "image", "label", "split", "group", "hash"]
    assert table.rows["id"].to_list() == ["test/4.png", "test/owl/3.png", "train/cat/1.png", "train/dog/2.png"]
    assert table.targets().tolist() == [-1, 2, 0, 1]
    assert table.targets().dtype == np.int64


def test_multilabel_targets(folder: Folder) -> None:
    root = folder("a.png", "b.png", "c.png")
    (root / "l.csv").write_text("image,label\na.png,x;z\nb.png,\nc.png,y\n")
    table = open_table(root / "l.csv", DataConfig(allow_unlabelled=True))
    targets = table.targets()
    assert targets.dtype == np.float32
    np.testing.assert_array_equal(targets, [[1, 0, 1], [np.nan] * 3, [0, 1, 0]])


def test_where_take_labelled(table: Table) -> None:
    assert table.where("test").rows["id"].to_list() == ["test/4.png", "test/owl/3.png"]
    assert table.take([2, 0]).rows["id"].to_list() == ["train/cat/1.png", "test/4.png"]
    assert table.take(np.array([True, False, False, True])).rows.height == 2
    assert len(table.take(pl.col("label") == "cat")) == 1
    assert len(table.labelled()) == 3
    assert table.where("test").storage is table.storage
    assert table.where("test").classes == ("cat", "dog", "owl")


def test_hash_by_hand(table: Table) -> None:
    hashed = table.hashed()
    first = hashed.rows.row(0, named=True)
    data = (table.root / "test/4.png").read_bytes()
    assert first["hash"] == hashlib.blake2b(data, digest_size=16).hexdigest() == content_hash(data)
    assert hashed.hashed() is hashed
    assert table.rows["hash"].null_count() == 4


def test_fingerprint_by_hand(table: Table) -> None:
    rows = table.hashed().rows.sort("id").select("id", "label", "split", "hash").rows()
    text = json.dumps(["multiclass", ["cat", "dog", "owl"]]) + "".join(json.dumps(row) + "\n" for row in rows)
    assert table.fingerprint == hashlib.sha256(text.encode()).hexdigest()


def test_fingerprint_sees_content_label_and_split_but_not_order_or_place(table: Table, picture: Any) -> None:
    assert table.take([3, 1, 0, 2]).fingerprint == table.fingerprint
    relabelled = table.rows.with_columns(pl.lit("cat").alias("label"))
    assert table.with_rows(relabelled, "x").fingerprint != table.fingerprint
    resplit = table.rows.with_columns(pl.lit("val").alias("split"))
    assert table.with_rows(resplit, "x").fingerprint != table.fingerprint
    before = table.fingerprint
    (table.root / "train/cat/1.png").write_bytes(picture(99))
    assert open_table(table.root).fingerprint != before


def test_versions_name_their_parents(table: Table) -> None:
    second = table.with_rows(table.rows.head(3), "one dropped")
    third = second.with_rows(second.rows.head(2), "another")
    assert third.parents == (table.fingerprint, second.fingerprint)
    assert third.notes[-2:] == ("one dropped", "another")
    assert len(table) == 4


def test_class_hash() -> None:
    assert class_hash("multiclass", ["a", "b"]) == class_hash("multiclass", ("a", "b"))
    assert class_hash("multiclass", ["a", "b"]) != class_hash("multiclass", ["b", "a"])
    assert class_hash("multilabel", ["a", "b"]) != class_hash("multiclass", ["a", "b"])


def test_with_classes(table: Table) -> None:
    wider = table.with_classes(["owl", "emu", "dog", "cat"])
    assert wider.targets().tolist() == [-1, 0, 3, 2]
    with pytest.raises(DataError, match=r"no such class as 'owl'.*Did you mean howl") as caught:
        table.with_classes(["cat", "dog", "howl"])
    assert caught.value.code == "class-map"


def test_save_and_load(table: Table, tmp_path: Path) -> None:
    path = table.save(tmp_path / "sub" / "table.parquet")
    again = Table.load(path)
    assert again.rows.equals(table.hashed().rows)
    assert again.fingerprint == table.fingerprint
    assert (again.classes, again.task, again.reason, again.notes) == (
        table.classes,
        table.task,
        table.reason,
        table.notes,
    )
    about = json.loads(pq.read_schema(path).metadata[b"anmok"])
    assert about["fingerprint"] == table.fingerprint
    assert about["root"] == str(table.root)


def test_root_inside_is_kept_relative(table: Table, tmp_path: Path) -> None:
    path = table.save(tmp_path / "table.parquet")
    assert json.loads(pq.read_schema(path).metadata[b"anmok"])["root"] == "images"
    moved = tmp_path.parent / f"{tmp_path.name}-moved"
    tmp_path.rename(moved)
    again = Table.load(moved / "table.parquet")
    assert again.storage.read(again.rows["image"][0])


def test_a_root_whose_name_is_no_text(tmp_path: Path, picture: Any) -> None:
    root = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    for label in ("a", "b"):
        (root / label).mkdir(parents=True)
        (root / label / "1.png").write_bytes(picture(ord(label)))
    again = Table.load(open_table(root).save(tmp_path / "t.parquet"))
    assert again.storage.read("a/1.png") == picture(ord("a"))


def test_damaged_and_foreign_tables(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such table"):
        Table.load(tmp_path / "none.parquet")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="not readable as a table"):
        Table.load(tmp_path / "bad.parquet")
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "foreign.parquet")
    with pytest.raises(DataError, match=r"not a Table of version 1 \(found none\)"):
        Table.load(tmp_path / "foreign.parquet")


def test_text_and_html(folder: Folder) -> None:
    table = open_table(folder("<b>&/1.png", "dog/2.png"))
    text = repr(table)
    assert "images      2" in text
    assert "binary: 2 labels, one per image" in text
    assert "<b>& 1, dog 1" in text
    page = table._repr_html_()
    assert "&lt;b&gt;&amp; 1" in page
    assert "<b>" not in page


def test_text_keeps_to_one_line_a_fact(folder: Folder) -> None:
    table = open_table(folder("new\nline/1.png", "dog/2.png"))
    assert len(repr(table).splitlines()) == 4
    assert "new\\nline 1" in repr(table)


def test_many_classes_are_not_all_listed(folder: Folder) -> None:
    table = open_table(folder(*(f"c{i:02}/1.png" for i in range(30))))
    assert "c19 1, … 10 more" in repr(table)


def test_named() -> None:
    assert named(1, "class", ["a"]) == "1 class (a)"
    assert named(7, "image", list("abcdefg")) == "7 images (a, b, c, d, e, …)"
