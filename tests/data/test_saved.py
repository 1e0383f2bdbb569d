"""A table that somebody else wrote: damaged, inconsistent, or pointing at files it has no business with."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anmok.core.errors import DataError
from anmok.data.config import DataConfig, SplitConfig
from anmok.data.saved import refuse_outside
from anmok.data.sources import open_table
from anmok.data.split import split_table
from anmok.data.storage import file_reference
from anmok.data.table import Table

Folder = Callable[..., Path]


@pytest.fixture
def table(folder: Folder) -> Table:
    return open_table(folder("cat/1.png", "dog/2.png", "owl/3.png"))


def forged(table: Table, path: Path, about: dict[str, Any] | None = None, **columns: Any) -> Path:
    """The table as a file, with some columns and metadata replaced behind its back."""
    content = pq.read_table(table.save(path))
    for name, values in columns.items():
        content = content.set_column(content.schema.get_field_index(name), name, pa.array(values))
    meta = {**json.loads(content.schema.metadata[b"anmok"]), **(about or {})}
    meta = {k: v for k, v in meta.items() if v is not ...}
    pq.write_table(content.replace_schema_metadata({b"anmok": json.dumps(meta).encode()}), path)
    return path


OUTSIDE = [
    "../../etc/passwd", "/etc/passwd", "cat/../../x.png", "..", "bytes:%2Fetc%2Fpasswd", "bytes:..%2Fx%FF.png",
    "parquet:../x.parquet#0", "parquet:%2Fx.parquet#0#image", "tar:../../x.tar#512+10", "zip:..%2Fx.zip#a.png",
    "zip:/x.zip#cat/1.png", "cat/\0.png",
]  # fmt: skip


@pytest.mark.parametrize("reference", OUTSIDE)
def test_row_22_a_reference_that_leaves_the_root_is_refused(table: Table, tmp_path: Path, reference: str) -> None:
    path = forged(table, tmp_path / "t.parquet", image=["cat/1.png", reference, "owl/3.png"])
    for read in (Table.load, open_table):
        with pytest.raises(DataError, match="outside the table's root") as caught:
            read(path)
        assert caught.value.code == "outside-link"
    assert Table.load(path, links=True).rows["image"][1] == reference


@pytest.mark.parametrize(
    "reference", ["cat/..1.png", "..cat/1.png", "cat/../dog/1.png", "bytes:%FF..%2F1.png", "zip:a%23b.zip#../x.png"]
)
def test_dots_that_stay_inside_are_names(table: Table, tmp_path: Path, reference: str) -> None:
    path = forged(table, tmp_path / "t.parquet", image=["cat/1.png", reference, "owl/3.png"])
    assert Table.load(path).rows["image"][1] == reference


@given(st.lists(st.sampled_from(["..", ".", "a", "b.png", "유리", "a..", "%2e%2e"]), min_size=1, max_size=6))
def test_whatever_leaves_a_folder_by_its_name_is_refused(parts: list[str]) -> None:
    name = "/".join(parts)
    depth, left = 0, False
    for part in parts:  # by hand: how far down each step leads
        depth += {"..": -1, ".": 0}.get(part, 1)
        left = left or depth < 0
    rows = pl.DataFrame({"image": [file_reference(name)]})
    if depth < 0:
        with pytest.raises(DataError):
            refuse_outside(rows, "t")
    elif not left:
        refuse_outside(rows, "t")


def test_tables_of_ours_keep_working_wherever_they_lie(folder: Folder, tmp_path: Path) -> None:
    root = folder("a.png", "b.png")
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "l.csv").write_text("image,label\na.png,cat\nb.png,dog\n")
    cleaned = open_table(tmp_path / "lists" / "l.csv", DataConfig(image_root=str(root)))
    for path in (tmp_path / "t.parquet", tmp_path / "far" / "away" / "t.parquet", root / "t.parquet"):
        again = open_table(cleaned.save(path))
        assert [again.storage.read(i) for i in again.rows["image"]] == [
            (root / n).read_bytes() for n in ("a.png", "b.png")
        ]


def test_links_allowed_when_a_table_was_made_stay_allowed(folder: Folder, tmp_path: Path) -> None:
    root = folder("a.png")
    outside = tmp_path / "b.png"
    outside.write_bytes((root / "a.png").read_bytes() + b"b")
    (root / "l.csv").write_text(f"image,label\na.png,cat\n{outside},dog\n")
    made = open_table(root / "l.csv", DataConfig(allow_links=True))
    path = split_table(made, SplitConfig(test=0, val=0)).save(tmp_path / "t.parquet")
    for again in (Table.load(path), open_table(path)):
        assert again.links
        assert again.storage.read(str(outside)) == outside.read_bytes()


def test_row_22_a_link_out_of_the_root_is_refused_when_a_table_is_opened(table: Table, tmp_path: Path) -> None:
    path = table.save(tmp_path / "t.parquet")
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "2.png").write_bytes(b"secret")
    for at in ("dog/2.png", "dog"):
        place = table.root / at
        kept = place.rename(tmp_path / "kept")
        place.symlink_to(secret / "2.png" if at.endswith("png") else secret)
        with pytest.raises(DataError, match=r"dog/2\.png is a link that leads outside") as caught:
            open_table(path)
        assert caught.value.code == "outside-link"
        assert len(open_table(path, DataConfig(allow_links=True))) == 3
        place.unlink()
        kept.rename(place)
    (table.root / "near").symlink_to("dog")
    (table.root / "cat/1.png").rename(table.root / "cat/real")
    (table.root / "cat/1.png").symlink_to("real")
    assert len(open_table(path)) == 3


def test_a_root_that_is_gone_is_named_with_the_remedy(table: Table, tmp_path: Path) -> None:
    path = table.save(tmp_path / "far" / "t.parquet")
    moved = table.root.rename(tmp_path / "moved")
    with pytest.raises(DataError, match=rf"its images lie in {table.root}.*--data\.image-root") as caught:
        open_table(path)
    assert caught.value.code == "missing-root"
    assert open_table(path, DataConfig(image_root=str(moved))).fingerprint == replace(table, root=moved).fingerprint


@pytest.mark.parametrize(
    ("about", "columns", "message"),
    [
        ({"root": ...}, {}, "root missing"),
        ({"root": 3}, {}, "root missing or of another type"),
        ({"classes": "cat"}, {}, "classes"),
        ({"classes": ["cat", "dog"]}, {}, "label 'owl' is not among cat, dog"),
        ({"classes": [1, 2, 3]}, {}, "its task or classes"),
        ({"task": "regression"}, {}, "its task or classes"),
        ({"task": "multilabel"}, {}, "do not fit its task"),
        ({"rejects": [["a"]]}, {}, "rejects"),
        ({}, {"split": ["train", "tset", None]}, "split 'tset' is not among train, val, test"),
        ({}, {"id": ["a", "a", "b"]}, "an id comes twice"),
        ({}, {"image": ["a", None, "b"]}, "an image is missing"),
        ({}, {"hash": [1, 2, 3]}, "hash missing or of another type"),
        ({}, {"label": [1, 2, 3]}, "label missing or of another type"),
    ],
)
def test_inconsistent_tables_are_refused(
    table: Table, tmp_path: Path, about: dict[str, Any], columns: dict[str, Any], message: str
) -> None:
    path = forged(table, tmp_path / "t.parquet", about, **columns)
    with pytest.raises(DataError, match=message) as caught:
        open_table(path)
    assert caught.value.code == "damaged"


@pytest.mark.parametrize("meta", [b"{", b"[1]", b'"x"', b"3"])
def test_metadata_that_are_no_metadata(tmp_path: Path, meta: bytes) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"id": ["a"]}).replace_schema_metadata({b"anmok": meta}), path)
    with pytest.raises(DataError) as caught:
        open_table(path)
    assert caught.value.code == "damaged"


def test_parquet_below_a_path_that_is_no_text(table: Table, tmp_path: Path) -> None:
    path = table.save(tmp_path / "t.parquet")
    (tmp_path / "\udcff").mkdir()
    with pytest.raises(DataError, match="paths in UTF-8 only"):
        open_table(path.rename(tmp_path / "\udcff" / "t.parquet"))


def test_every_kind_of_table_comes_back(folder: Folder, tmp_path: Path) -> None:
    root = folder("a.png", "b.png", "c.png")
    sources: dict[str, tuple[str, DataConfig]] = {
        "image,label\na.png,x;y\nb.png,y\nc.png,\n": ("multilabel", DataConfig(allow_unlabelled=True)),
        "image\na.png\nb.png\nc.png\n": ("multiclass", DataConfig()),
        "image,label,n\na.png,x,1\nb.png,y,2\nc.png,x,3\n": ("binary", DataConfig()),
    }
    for number, (text, (task, config)) in enumerate(sources.items()):
        (root / "l.csv").write_text(text)
        made = split_table(open_table(root / "l.csv", config), SplitConfig(test=0, val=0))
        again = open_table(made.save(tmp_path / f"{number}.parquet"))
        assert again.task == task
        assert again.rows.equals(made.rows)
