from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from anmok.core.errors import DataError
from anmok.data.compare import class_difference, difference, require_classes
from anmok.data.config import SplitConfig
from anmok.data.sources import open_table
from anmok.data.split import split_table

Folder = Callable[..., Path]


def test_row_33_what_changed_is_shown(folder: Folder, picture: Any) -> None:
    root = folder("cat/1.png", "cat/2.png", "dog/3.png", "dog/4.png")
    old = open_table(root).hashed()
    assert difference(old, open_table(root)) == ""
    (root / "cat/1.png").unlink()
    (root / "dog/3.png").write_bytes(picture(50))
    (root / "dog/5.png").write_bytes(picture(51))
    new = open_table(root)
    assert new.fingerprint != old.fingerprint
    assert difference(old, new).splitlines() == [
        "added: 1 image (dog/5.png)",
        "removed: 1 image (cat/1.png)",
        "changed content: 1 image (dog/3.png)",
    ]


def test_labels_splits_and_classes(folder: Folder) -> None:
    old = open_table(folder("cat/1.png", "dog/2.png", "owl/3.png"))
    split = split_table(old, SplitConfig(test=0, val=0.4))
    assert difference(split, old) == ""
    moved = split.with_rows(split.rows.with_columns(pl.lit("test").alias("split")), "moved")
    assert "moved to another split: 3 images" in difference(split, moved)
    rows = old.rows.with_columns(pl.col("label").replace({"owl": "dog"}))
    new = old.with_rows(rows, "owl is a dog").with_classes(["cat", "dog"])
    assert difference(old, new).splitlines() == ["relabelled: 1 image (owl/3.png)", "classes: without owl"]


def test_only_the_first_few_are_named(folder: Folder) -> None:
    root = folder("cat/1.png", "dog/1.png")
    more = folder("cat/1.png", "dog/1.png", *(f"dog/x{i}.png" for i in range(9)), at="more")
    told = difference(open_table(root), open_table(more))
    assert told == "added: 9 images (dog/x0.png, dog/x1.png, dog/x2.png, dog/x3.png, dog/x4.png, …)"


def test_class_difference() -> None:
    assert class_difference(["a", "b"], ("a", "b")) == ""
    assert class_difference(["a", "b"], ["b", "a"]) == "in another order (a, b; now b, a)"
    assert class_difference(["a", "b"], ["a", "c"]) == "without b and with c added"


def test_row_32_another_class_order_is_refused(folder: Folder) -> None:
    table = open_table(folder("cat/1.png", "dog/2.png", "owl/3.png"))
    require_classes("multiclass", ["cat", "dog", "owl"], table)
    with pytest.raises(DataError, match="in another order") as caught:
        require_classes("multiclass", ["dog", "cat", "owl"], table)
    assert caught.value.code == "class-map"
    with pytest.raises(DataError, match="task multiclass instead of multilabel"):
        require_classes("multilabel", ["cat", "dog", "owl"], table)
