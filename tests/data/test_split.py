from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from anmok.core.errors import DataError, UsageError
from anmok.data.config import SplitConfig
from anmok.data.duplicates import conflicting, conflicts, leaks
from anmok.data.sources import open_table
from anmok.data.split import split_table
from anmok.data.table import Table, split_counts

Folder = Callable[..., Path]


def made(labels: list[Any], task: Any = "multiclass", **columns: list[Any]) -> Table:
    """A table without files behind it: contents 0, 1, 2, … unless `hash` says otherwise."""
    names = sorted({x for v in labels if v is not None for x in ([v] if isinstance(v, str) else v)})
    n = len(labels)
    rows = {
        "id": [f"{i:04}" for i in range(n)],
        "image": [f"{i:04}" for i in range(n)],
        "label": labels,
        "split": columns.pop("split", [None] * n),
        "group": columns.pop("group", [None] * n),
        "hash": columns.pop("hash", [str(i) for i in range(n)]),
    }
    frame = pl.DataFrame({**rows, **columns}).with_columns(pl.col("split", "group", "hash").cast(pl.String))
    return Table(frame, Path(), tuple(names), task, "made")


def said(table: Table) -> str:
    return "\n".join(table.notes)


def test_default_shares_are_exact_and_stratified() -> None:
    table = split_table(made(["a"] * 100 + ["b"] * 60 + ["c"] * 40))
    assert split_counts(table) == {"train": 140, "val": 30, "test": 30}
    for name, n in (("a", 15), ("b", 9), ("c", 6)):
        for split in ("val", "test"):
            assert table.where(split).rows["label"].to_list().count(name) == n
    assert len(table.parents) == 1
    assert table.rows["leaked"].sum() == 0


def test_the_draw_is_the_same_everywhere() -> None:
    table = split_table(made(["a"] * 30 + ["b"] * 30), SplitConfig(seed=3))
    text = ",".join(f"{i}:{s}" for i, s in table.rows.sort("id").select("id", "split").iter_rows())
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "d5afaf8e6da77719"
    shuffled = made(["a"] * 30 + ["b"] * 30).take(list(reversed(range(60))))
    assert split_table(shuffled, SplitConfig(seed=3)).fingerprint == table.fingerprint
    assert split_table(shuffled, SplitConfig(seed=4)).fingerprint != table.fingerprint


def test_groups_and_identical_files_stay_together() -> None:
    groups = [f"g{i // 4}" if i % 3 else None for i in range(120)]
    hashes = [str(i // 2) if i < 40 else str(i) for i in range(120)]
    table = split_table(made(["a"] * 120, group=groups, hash=hashes))
    for key in ("group", "hash"):
        sides = table.rows.filter(pl.col(key).is_not_null()).group_by(key).agg(pl.col("split").n_unique())
        assert sides["split"].max() == 1
    assert leaks(table) == []


def test_row_17_a_class_of_one_image_trains() -> None:
    for seed in range(5):
        table = split_table(made(["a"] * 40 + ["rare"]), SplitConfig(seed=seed))
        assert table.where("train").rows["label"].to_list().count("rare") == 1
        assert "1 class (rare) with one image" in said(table)


def test_no_class_is_lost_from_train() -> None:
    labels = [name for i in range(20) for name in [f"c{i:02}"] * (2 + i % 3)]
    for seed in range(5):
        table = split_table(made(labels), SplitConfig(seed=seed, test=0.3, val=0.3))
        assert table.where("train").rows["label"].n_unique() == 20


def test_multilabel() -> None:
    labels = [["a"] if i % 2 else ["a", "b"] if i % 3 else ["c"] for i in range(200)] + [["rare"]]
    table = split_table(made(labels, "multilabel"))
    assert split_counts(table) == {"train": 141, "val": 30, "test": 30}
    assert ["rare"] in table.where("train").rows["label"].to_list()
    share = [sum("b" in row for row in table.where(s).rows["label"].to_list()) for s in ("val", "test")]
    assert all(abs(n - 0.15 * sum("b" in row for row in labels)) <= 1 for n in share)


def test_unlabelled_rows() -> None:
    assert split_counts(split_table(made([None] * 100))) == {"train": 70, "val": 15, "test": 15}
    table = split_table(made(["a"] * 20 + ["b"] * 20 + [None] * 10))
    assert table.where("test").rows["label"].null_count() == 0
    twins = split_table(made(["a"] * 20 + ["b"] * 20 + [None] * 40, hash=[str(i % 40) for i in range(80)]))
    assert twins.rows["split"][:40].to_list() == twins.rows["split"][40:].to_list()


def test_folds() -> None:
    table = made(["a"] * 50 + ["b"] * 50 + ["rare"])
    seen: set[str] = set()
    for fold in range(5):
        new = split_table(table, SplitConfig(folds=5, fold=fold))
        val = set(new.where("val").rows["id"].to_list())
        assert not val & seen
        seen |= val
        assert len(new.where("test")) == 15
    assert len(seen) == 101 - 15 - 1
    assert new.rows.filter(pl.col("label") == "rare")["fold"].to_list() == [-1]
    assert new.rows.filter(pl.col("split") == "test")["fold"].null_count() == 15


def test_folds_once_written_are_kept() -> None:
    first = split_table(made(["a"] * 50 + ["b"] * 50), SplitConfig(folds=4, seed=1))
    again = split_table(first, SplitConfig(folds=4, fold=2, seed=9))
    assert again.rows["fold"].equals(first.rows["fold"])
    assert set(again.where("val").rows["fold"].to_list()) == {2}
    with pytest.raises(UsageError, match="the table has 4 folds, not 3"):
        split_table(first, SplitConfig(folds=3))
    assert split_table(first).rows["split"].equals(first.rows["split"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"test": 0.6, "val": 0.4}, "leave nothing to train on"),
        ({"folds": 1}, "fold 0 of 1"),
        ({"folds": 3, "fold": 3}, "fold 3 of 3"),
        ({"fold": 1}, "fold 1 of 0"),
    ],
)
def test_impossible_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        split_table(made(["a", "b"]), SplitConfig(**settings))


def test_a_given_split_is_honoured_and_blanks_left_out() -> None:
    given = ["train"] * 6 + ["val"] * 2 + ["test"] * 2 + [None] * 3
    table = split_table(made(["a"] * 13, split=given))
    assert table.rows["split"].to_list() == given
    assert "3 rows with a blank split are left out" in said(table)
    drawn = split_table(made(["a"] * 13, split=given), SplitConfig(given="ignore"))
    assert drawn.rows["split"].null_count() == 0


def test_val_is_carved_from_train_where_only_a_test_is_given() -> None:
    table = split_table(made(["a"] * 60 + ["b"] * 40, split=["train"] * 85 + ["test"] * 15))
    assert split_counts(table) == {"train": 70, "val": 15, "test": 15}
    assert table.rows["split"][85:].unique().to_list() == ["test"]
    none = split_table(made(["a"] * 100, split=["train"] * 85 + ["test"] * 15), SplitConfig(val=0))
    assert split_counts(none) == {"train": 85, "test": 15}
    assert "no images in val" in said(none)


def test_train_alone_or_without_test() -> None:
    assert split_counts(split_table(made(["a"] * 100, split=["train"] * 100))) == {"train": 70, "val": 15, "test": 15}
    table = split_table(made(["a"] * 100, split=["train"] * 80 + ["val"] * 20))
    assert split_counts(table) == {"train": 80, "val": 20}
    assert "no test split is given" in said(table)


def test_row_18_identical_files_on_two_sides() -> None:
    table = made(["a", "b", "a", "a", "b"], split=["train", "train", "val", "test", "test"], hash=list("12131"))
    # 0001 = 2, 0003 = 3; rows 0, 2 and 4 hold the same bytes, 4 under another label
    pairs = leaks(table)
    assert [(p.first, p.second, p.evidence) for p in pairs] == [
        ("0000", "0002", "train / val"),
        ("0000", "0004", "train / test"),
    ]
    new = split_table(table)
    assert "2 identical file pairs (0000 = 0002 (train / val), 0000 = 0004 (train / test)) on two sides" in said(new)
    assert new.rows["leaked"].to_list() == [False, False, True, False, True]
    with pytest.raises(DataError, match="2 identical file pairs") as caught:
        split_table(table, SplitConfig(given="strict"))
    assert caught.value.code == "leakage"
    assert caught.value.exit_code == 3


def test_row_20_the_same_image_under_two_labels() -> None:
    table = made(["a", "b", "a", "b", "a"], split=["train", "train", "train", "val", "test"], hash=list("11234"))
    assert [(p.first, p.second, p.evidence) for p in conflicts(table)] == [("0000", "0001", "a / b")]
    assert conflicting(table) == {"0000", "0001"}
    new = split_table(table)
    assert new.rows["split"].to_list() == [None, None, "train", "val", "test"]
    assert "2 training rows left out, as the same image has another label: 1 pair (0000 = 0001 (a / b))" in said(new)
    kept = split_table(table, SplitConfig(conflicts="keep"))
    assert kept.rows["split"].to_list() == ["train", "train", "train", "val", "test"]
    drawn = split_table(made(["a"] * 20 + ["b"] * 20, hash=["x", *map(str, range(38)), "x"]))
    assert drawn.rows["split"].null_count() == 2
    assert "2 rows left out" in said(drawn)


def test_a_row_without_label_contradicts_nobody() -> None:
    assert conflicts(made(["a", None, "b"], hash=list("112"))) == []


def test_groups_on_two_sides_are_said() -> None:
    table = made(["a", "a", "a"], split=["train", "test", "val"], group=["g", "g", None])
    assert "1 group (g) on two sides" in said(split_table(table))
    with pytest.raises(DataError, match="on two sides"):
        split_table(table, SplitConfig(given="strict"))


def test_a_saved_split_remembers(folder: Folder, tmp_path: Path) -> None:
    root = folder("cat/1.png", "cat/2.png", "dog/3.png", "dog/4.png")
    (root / "dog/4.png").write_bytes((root / "cat/1.png").read_bytes())
    (root / "list.csv").write_text(
        "image,label,split\ncat/1.png,cat,train\ncat/2.png,cat,train\ndog/3.png,dog,val\ndog/4.png,dog,test\n"
    )
    first = split_table(open_table(root / "list.csv"))
    assert first.rows["split"].to_list() == [None, "train", "val", "test"]
    again = split_table(open_table(first.save(tmp_path / "t.parquet")))
    assert again.rows.equals(first.rows)
    assert again.rows["leaked"].to_list() == [False, False, False, True]


def test_trashnet(data_dir: Path) -> None:
    table = split_table(open_table(data_dir / "trashnet" / "split.csv"))
    assert split_counts(table) == {"train": 1764, "val": 328, "test": 431, "none": 4}
    leaked = table.rows.filter("leaked")
    assert sorted(leaked["id"].to_list()) == ["plastic/plastic152.jpg", "plastic/plastic332.jpg"]
    with pytest.raises(DataError, match=r"glass/glass176.jpg = plastic/plastic152.jpg \(train / test\)"):
        split_table(open_table(data_dir / "trashnet" / "split.csv"), SplitConfig(given="strict"))
    drawn = split_table(open_table(data_dir / "trashnet"))
    assert split_counts(drawn) == {"train": 1765, "val": 378, "test": 378, "none": 6}
    assert leaks(drawn) == []
