"""Images with captions, from lists, Parquet, metadata and text files beside the images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from anmok.core.errors import DataError, UsageError
from anmok.data.captions import captions_of, open_pairs
from anmok.data.config import DataConfig
from anmok.data.table import Table


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for i, name in enumerate(("a.png", "b.png", "캔.png")):
        Image.fromarray(np.full((6, 6, 3), 40 * i, np.uint8)).save(folder / name)
    return folder


WANTED = {"a.png": ["a can"], "b.png": ["a bottle"], "캔.png": ["찌그러진 캔"]}


def test_csv_parquet_json_lines_and_text_files_say_the_same(images: Path, tmp_path: Path) -> None:
    rows = pl.DataFrame({"image": list(WANTED), "Caption": [own[0] for own in WANTED.values()]})
    rows.write_csv(images / "pairs.csv")
    rows.write_parquet(images / "pairs.parquet")
    (images / "pairs.jsonl").write_text(
        "".join(json.dumps({"image": i, "text": c[0]}) + "\n" for i, c in WANTED.items()), encoding="utf-8"
    )
    for name in ("pairs.csv", "pairs.parquet", "pairs.jsonl"):
        assert captions_of(open_pairs(images / name)) == WANTED, name
        (images / name).unlink()
    for image, (caption,) in WANTED.items():
        (images / image).with_suffix(".txt").write_text(f"  {caption}\n", encoding="utf-8")
    table = open_pairs(images)
    assert captions_of(table) == WANTED
    table.save(tmp_path / "table.parquet")
    assert captions_of(Table.load(tmp_path / "table.parquet")) == WANTED
    assert captions_of(open_pairs(tmp_path / "table.parquet")) == WANTED


def test_metadata_of_the_hub(images: Path) -> None:
    lines = [json.dumps({"file_name": i, "text": c[0]}, ensure_ascii=False) for i, c in WANTED.items()]
    (images / "metadata.jsonl").write_text("\n".join(lines), encoding="utf-8")
    assert captions_of(open_pairs(images)) == WANTED


def test_several_captions_of_an_image(images: Path) -> None:
    (images / "pairs.csv").write_text("image,caption\na.png,one\nb.png,two\na.png,three\na.png,one\n", encoding="utf-8")
    assert captions_of(open_pairs(images / "pairs.csv")) == {"a.png": ["one", "three"], "b.png": ["two"]}
    (images / "pairs.jsonl").write_text('{"image": "a.png", "captions": ["one", " ", "two"]}\n', encoding="utf-8")
    assert captions_of(open_pairs(images / "pairs.jsonl")) == {"a.png": ["one", "two"]}


def test_rows_of_an_image_that_differ_in_more_than_the_caption(images: Path) -> None:
    text = "image,caption,split\na.png,one,train\na.png,two,val\n"
    (images / "pairs.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match="contradict"):
        open_pairs(images / "pairs.csv")


def test_images_without_a_caption(images: Path) -> None:
    (images / "pairs.csv").write_text("image,caption\na.png,one\nb.png,  \n캔.png,\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"2 images .* without a caption"):
        open_pairs(images / "pairs.csv")
    table = open_pairs(images / "pairs.csv", DataConfig(max_rejects=0.7))
    assert captions_of(table) == {"a.png": ["one"]}
    assert any("without a caption left out" in note for note in table.notes)


def test_no_captions_at_all(images: Path) -> None:
    with pytest.raises(DataError, match="no captions") as error:
        open_pairs(images)
    assert error.value.code == "caption"
    (images / "pairs.csv").write_text("image,words\na.png,one\n", encoding="utf-8")
    with pytest.raises(UsageError, match="Did you mean words"):
        open_pairs(images / "pairs.csv", column="word")
    assert captions_of(open_pairs(images / "pairs.csv", column="words")) == {"a.png": ["one"]}


def test_a_text_file_that_leads_outside_is_no_caption(images: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret", encoding="utf-8")
    (images / "a.txt").symlink_to(tmp_path / "secret.txt")
    (images / "b.txt").write_text("a bottle", encoding="utf-8")
    assert captions_of(open_pairs(images, DataConfig(max_rejects=0.9))) == {"b.png": ["a bottle"]}
