"""Generated images as training rows: what was there stays, and nothing of validation or test comes in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

import anmok
from anmok.core.errors import DataError
from anmok.data.config import SplitConfig
from anmok.data.made import drop_made
from anmok.data.split import split_table
from anmok.data.table import Table
from anmok.expand.added import Made, with_generated


def picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8)).save(path)


@pytest.fixture
def table(tmp_path: Path) -> Table:
    for n in range(20):
        picture(tmp_path / "a" / "set" / ("cat" if n % 2 else "dog") / f"{n}.png", n)
    return split_table(anmok.open(tmp_path / "a" / "set"), SplitConfig(test=0.2, val=0.2))


def some(table: Table, folder: Path) -> list[Made]:
    train = table.where("train").rows["id"].to_list()
    for n in range(3):
        picture(folder / f"000-cat/{n}.png", 100 + n)
    return [Made(f"000-cat/{n}.png", "cat", "a cat", 5 + n, train[n] if n else None, 0.8) for n in range(3)]


def test_the_train_split_grows(table: Table, tmp_path: Path) -> None:
    folder = tmp_path / "b" / "images"
    new = with_generated(table, folder, some(table, folder), "tiny abc")
    new.save(tmp_path / "t.parquet")
    there = Table.load(tmp_path / "t.parquet")
    rows = there.rows.filter("generated")
    assert rows["split"].to_list() == ["train"] * 3
    assert rows["generated_seed"].to_list() == [5, 6, 7]
    assert set(rows["generated_model"]) == {"tiny abc"}
    assert all(there.storage.read(image) for image in there.rows["image"])
    assert rows["id"].to_list() == [f"generated/000-cat/{n}.png" for n in range(3)]
    assert table.fingerprint in there.parents
    assert "3 generated images of tiny abc, in train" in there.notes
    old = there.rows.filter(~pl.col("generated")).select("id", "label", "split", "hash")
    assert old.equals(table.hashed().rows.select("id", "label", "split", "hash"))
    again = with_generated(there, folder, some(table, folder)[:1], "other")
    assert again.rows["id"][-1] == "generated/generated/000-cat/0.png"
    assert again.rows["id"].n_unique() == len(again)
    without = drop_made(there, ["generated"])
    for split in ("train", "val", "test"):
        assert without.where(split).rows["id"].to_list() == table.where(split).rows["id"].to_list()
    assert drop_made(table, ["generated"]) is table


@pytest.mark.parametrize("split", ["val", "test"])
def test_nothing_held_out_comes_in(table: Table, tmp_path: Path, split: str) -> None:
    held = table.where(split).rows
    folder = tmp_path / "b"
    folder.mkdir()
    (folder / "copy.png").write_bytes(table.storage.read(held["image"][0]))
    with pytest.raises(DataError) as caught:
        with_generated(table, folder, [Made("copy.png", "cat", "", 1, None, 0.9)], "tiny")
    assert caught.value.code == "leakage"
    picture(folder / "new.png", 200)
    with pytest.raises(DataError) as caught:
        with_generated(table, folder, [Made("new.png", "cat", "", 1, held["id"][0], 0.9)], "tiny")
    assert caught.value.code == "leakage"


def test_another_split_takes_an_image_out_with_what_it_began_with(table: Table, tmp_path: Path) -> None:
    folder = tmp_path / "b" / "images"
    new = with_generated(table, folder, some(table, folder), "tiny")
    seen = set()
    for seed in range(8):
        drawn = split_table(new, SplitConfig(given="ignore", test=0.3, val=0.3, seed=seed))
        where = dict(drawn.rows.select("id", "split").iter_rows())
        for name, source in drawn.rows.filter("generated").select("id", "generated_source").iter_rows():
            expected = "train" if source is None or where[source] == "train" else None
            assert where[name] == expected
            seen.add((source is None, expected))
    assert seen == {(True, "train"), (False, "train"), (False, None)}
