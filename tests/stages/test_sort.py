"""Images copied under their label: whatever they are called, nothing is lost and nothing lies outside."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from anmok.core.errors import MachineError
from anmok.core.types import Predictions
from anmok.data.sources import open_table
from anmok.data.table import Table
from anmok.stages import sort
from anmok.stages.sort import safe_name, sort_images, unique_names


def png(number: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (4, 4), (number, 9, 9)).save(out, "PNG")
    return out.getvalue()


def folder_of(tmp_path: Path, *names: str | bytes) -> Path:
    for number, name in enumerate(names):
        path = tmp_path / "in" / (name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number))
    return tmp_path / "in"


def answers(table: Table, labels: list[int], classes: list[str], errors: tuple[str, ...] = ()) -> Predictions:
    ids = table.rows["id"].to_list()
    probs = np.eye(len(classes), dtype=np.float32)[labels]
    probs[[i in errors for i in ids]] = np.nan
    return Predictions(ids, classes, probs, errors=dict.fromkeys(errors, "unreadable"))


def files(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_each_image_lies_under_its_label_and_the_source_is_untouched(tmp_path: Path) -> None:
    source = folder_of(tmp_path, "1.png", "2.png", "3.png")
    table = open_table(source)
    sort_images(answers(table, [1, 0, 0], ["cat", "dog"], ("3.png",)), table, tmp_path / "out")
    assert files(tmp_path / "out") == {"dog/1.png", "cat/2.png", "_unreadable/3.png"}
    assert (tmp_path / "out" / "dog" / "1.png").read_bytes() == png(0)
    assert files(source) == {"1.png", "2.png", "3.png"}


def test_several_labels_and_none(tmp_path: Path) -> None:
    table = open_table(folder_of(tmp_path, "1.png", "2.png", "3.png"))
    probs = np.array([[0.9, 0.8], [0.1, 0.2], [np.nan, np.nan]], np.float32)
    found = Predictions(["1.png", "2.png", "3.png"], ["a", "b"], probs, task="multilabel", errors={"3.png": "bad"})
    sort_images(found, table, tmp_path / "out")
    assert files(tmp_path / "out") == {"a/1.png", "b/1.png", "_none/2.png", "_unreadable/3.png"}


def test_names_that_collide_lose_nothing(tmp_path: Path) -> None:
    table = open_table(folder_of(tmp_path, "x/a.png", "y/a.png", "z/a-2.png", "z/A.png", "w/a.png"))
    sort_images(answers(table, [0] * 5, ["cat"]), table, tmp_path / "out")
    kept = [(tmp_path / "out" / name).read_bytes() for name in files(tmp_path / "out")]
    assert sorted(kept) == sorted(png(n) for n in range(5))


def test_row_26_hostile_labels_and_names_stay_inside(tmp_path: Path) -> None:
    table = open_table(folder_of(tmp_path, "new\nline.png", "=cmd.png", b"\xff\xfe.png", "유리.png"))
    classes = ["../../up", "/abs", "a/b", "A_B", "..", "_unreadable", ""]
    sort_images(answers(table, [0, 1, 2, 3], classes), table, tmp_path / "deep" / "out")
    assert len(files(tmp_path / "deep" / "out")) == 4
    assert {p.name for p in tmp_path.iterdir()} == {"in", "deep"}
    assert {p.name for p in (tmp_path / "deep").iterdir()} == {"out"}
    assert len(set(unique_names(classes))) == len(classes)  # A_B and a/b are not thrown together


def test_row_25_names_over_255_bytes_become_short_ones(tmp_path: Path) -> None:
    long = ["가" * 200 + "1.png", "가" * 200 + "2.png"]
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for number, name in enumerate(long):
            info = tarfile.TarInfo(name)
            info.size = len(png(number))
            archive.addfile(info, io.BytesIO(png(number)))
    table = open_table(tmp_path / "a.tar")
    sort_images(answers(table, [0, 0], ["나" * 200]), table, tmp_path / "out")
    kept = list((tmp_path / "out").rglob("*.png"))
    assert sorted(p.read_bytes() for p in kept) == sorted([png(0), png(1)])
    assert all(len(part.encode()) <= 255 for p in kept for part in p.parts)


def test_rows_of_parquet_get_the_extension_of_what_they_are(tmp_path: Path) -> None:
    rows = pa.array([{"bytes": png(1), "path": None}, {"bytes": png(2), "path": None}])
    pq.write_table(pa.table({"image": rows}), tmp_path / "set.parquet")
    table = open_table(tmp_path / "set.parquet")
    sort_images(answers(table, [0, 0], ["a"]), table, tmp_path / "out")
    assert files(tmp_path / "out") == {"a/set-0.png", "a/set-1.png"}


def test_row_66_an_image_that_has_gone_is_passed_over_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(sort, "warn", said.append)
    table = open_table(folder_of(tmp_path, "1.png", "2.png"))
    (table.root / "1.png").unlink()
    sort_images(answers(table, [0, 0], ["a"], ("1.png",)), table, tmp_path / "out")
    assert files(tmp_path / "out") == {"a/2.png"}
    assert "1.png: cannot be read: No such file or directory (errno 2)" in said[0]


def test_a_folder_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    table = open_table(folder_of(tmp_path, "1.png"))
    with pytest.raises(MachineError, match="cannot be made"):
        sort_images(answers(table, [0], ["a"]), table, tmp_path / "in" / "1.png" / "out")


@given(st.text(max_size=300))
def test_a_safe_name_is_one_short_component(text: str) -> None:
    name = safe_name(text)
    assert name
    assert "/" not in name
    assert not name.startswith(".")
    assert len(name.encode()) <= 200
    assert not any(ord(c) < 32 for c in name)


@given(st.lists(st.sampled_from(["a.png", "A.png", "a-2.png", "a-3.png", "a", "b/c", "b_c", ""]), max_size=12))
def test_unique_names_are_unique_in_any_case(texts: list[str]) -> None:
    names = [name.casefold() for name in unique_names(texts)]
    assert len(set(names)) == len(texts)
