from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anmok.core.errors import DataError, UsageError
from anmok.data.config import DataConfig
from anmok.data.sources import open_table

Folder = Callable[..., Path]
FOUR = ("a.png", "b.png", "c.png", "d.png")


def write(root: Path, text: str | bytes, name: str = "list.csv") -> Path:
    path = root / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def column(table: Any, name: str) -> list[Any]:
    return table.rows.sort("id")[name].to_list()


def test_image_label_split_and_extra_columns(folder: Folder) -> None:
    text = (
        "image,label,split,camera,hash\n"
        "a.png,cat,train,007,x\nb.png,dog,Validation,,y\nc.png,cat,TEST,2,z\nd.png,dog,,3,w\n"
    )
    table = open_table(write(folder(*FOUR), text))
    assert column(table, "label") == ["cat", "dog", "cat", "dog"]
    assert column(table, "split") == ["train", "val", "test", None]
    assert column(table, "camera") == ["007", "", "2", "3"]
    assert column(table, "hash_given") == ["x", "y", "z", "w"]
    assert table.reason == "binary: 2 labels, one per image"


def test_unknown_split_is_an_error_with_the_nearest(folder: Folder) -> None:
    path = write(folder("a.png"), "image,label,split\na.png,cat,trian\n")
    with pytest.raises(DataError, match=r"'trian' is no split.*Did you mean train"):
        open_table(path)
    assert column(open_table(path, DataConfig(split_column="")), "split_given") == ["trian"]


@pytest.mark.parametrize(
    ("encoding", "delimiter", "end", "note"),
    [
        ("utf-8-sig", ",", "\n", "utf-8-sig, delimiter ','"),
        ("cp949", ";", "\r\n", "cp949, delimiter ';', line ends CRLF"),
        ("utf-16", "\t", "\n", "utf-16, delimiter '\\t'"),
        ("utf-8", "|", "\r", "utf-8, delimiter '|', line ends CR"),
    ],
)
def test_row_27_encoding_and_delimiter(folder: Folder, encoding: str, delimiter: str, end: str, note: str) -> None:
    lines = [["image", "label"], ["a.png", "고양이"], ["b.png", "개"]]
    root = folder("a.png", "b.png")
    path = write(root, end.join(delimiter.join(line) for line in lines).encode(encoding))
    table = open_table(path)
    assert table.classes == ("개", "고양이")
    assert any(note in text for text in table.notes)


def test_row_27_overridable(folder: Folder) -> None:
    path = write(folder("a.png", "b.png"), "image~label\na.png~caf\xe9\nb.png~tea\n".encode("latin-1"))
    assert open_table(path, DataConfig(delimiter="~", encoding="latin-1")).classes == ("café", "tea")
    with pytest.raises(UsageError, match="no encoding"):
        open_table(path, DataConfig(encoding="latin-99"))
    bad = write(path.parent, b"image,label\na.png,\xff\xff\n", "bad.csv")
    with pytest.raises(DataError, match=r"not utf-8 nor cp949.*--data.encoding"):
        open_table(bad)


def test_row_28_missing_files(folder: Folder) -> None:
    root = folder(*FOUR)
    rows = [f"{name},{'cat' if i % 2 else 'dog'}" for i, name in enumerate(FOUR)]
    gone = [f"gone{i:02},cat" for i in range(30)]
    path = write(root, "\n".join(["image,label", *rows, *gone]))
    with pytest.raises(DataError) as caught:
        open_table(path)
    assert caught.value.code == "missing-images"
    assert "30 images" in str(caught.value)
    assert "gone19" in str(caught.value)
    assert "gone20" not in str(caught.value)
    table = open_table(path, DataConfig(max_rejects=0.9))
    assert len(table) == 4
    assert len(table.rejects) == 30
    assert any("30 images" in note and "left out" in note for note in table.notes)


def test_row_30_repeated_rows_merge(folder: Folder) -> None:
    path = write(folder("a.png", "b.png"), "image,label\na.png,cat\na.png,cat\n./a.png,cat\nb.png,dog\n")
    table = open_table(path)
    assert len(table) == 2
    assert any("2 repeated rows merged" in note for note in table.notes)


@pytest.mark.parametrize("rows", ["a.png,cat,train\na.png,dog,train", "a.png,cat,train\na.png,cat,test"])
def test_row_30_conflicting_rows(folder: Folder, rows: str) -> None:
    path = write(folder("a.png"), f"image,label,split\n{rows}\n")
    with pytest.raises(DataError, match="contradict each other") as caught:
        open_table(path)
    assert caught.value.code == "conflicting-rows"


def test_rows_of_one_image_are_joined_for_multilabel(folder: Folder) -> None:
    path = write(folder("a.png", "b.png"), "image,label\na.png,cat\na.png,dog\nb.png,dog\n")
    table = open_table(path, DataConfig(task="multilabel"))
    assert column(table, "label") == [["cat", "dog"], ["dog"]]


def test_multilabel_cells(folder: Folder) -> None:
    path = write(folder(*FOUR), "image,label\na.png,cat;dog\nb.png,dog\nc.png,;\nd.png,dog;cat;dog\n")
    table = open_table(path)
    assert column(table, "label") == [["cat", "dog"], ["dog"], [], ["cat", "dog"]]
    assert table.reason == "multilabel: 2 labels, up to 2 per image"
    one = write(path.parent, "image,label\na.png,cat;dog\nb.png,dog\n", "one.csv")
    assert open_table(one, DataConfig(task="multiclass")).classes == ("cat;dog", "dog")
    other = write(path.parent, "image,label\na.png,cat|dog\nb.png,dog\n", "other.csv")
    assert open_table(other, DataConfig(label_separator="|", delimiter=",")).task == "multilabel"


def test_column_names(folder: Folder) -> None:
    path = write(folder("a.png", "b.png"), "File_Name,Class,who\na.png,cat,p\nb.png,dog,q\n")
    table = open_table(path, DataConfig(group_column="who"))
    assert column(table, "group") == ["p", "q"]
    assert any("image = File_Name, label = Class, group = who" in note for note in table.notes)
    assert open_table(path, DataConfig(label_column="who")).classes == ("p", "q")
    assert open_table(path, DataConfig(label_column="")).classes == ()
    with pytest.raises(UsageError, match=r"no column 'Klass'.*Did you mean Class"):
        open_table(path, DataConfig(label_column="Klass"))
    with pytest.raises(DataError, match="no image column; found 'x', 'y'"):
        open_table(write(path.parent, "x,y\n1,2\n", "bad.csv"))


def test_image_root_and_backslashes(folder: Folder, tmp_path: Path) -> None:
    root = folder("cat/a.png", "dog/b.png")
    path = write(tmp_path, "image,label\ncat\\a.png,cat\ndog/b.png,dog\n")
    table = open_table(path, DataConfig(image_root=str(root)))
    assert column(table, "image") == ["cat/a.png", "dog/b.png"]
    with pytest.raises(UsageError, match="no such folder"):
        open_table(path, DataConfig(image_root=str(tmp_path / "none")))


def test_row_22_paths_outside_the_root(folder: Folder, tmp_path: Path) -> None:
    root = folder("a.png")
    (tmp_path / "secret.png").write_bytes((root / "a.png").read_bytes())
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    for name in ("../secret.png", str(tmp_path / "secret.png"), "link.png"):
        path = write(root, f"image,label\na.png,cat\n{name},dog\n")
        with pytest.raises(DataError, match=r"outside.*--data.allow-links") as caught:
            open_table(path)
        assert caught.value.code == "outside-link"
        table = open_table(path, DataConfig(allow_links=True))
        assert all(table.storage.read(image) for image in table.rows["image"])


def test_row_24_names_match_by_nfc(folder: Folder) -> None:
    nfc, nfd = (unicodedata.normalize(form, "가나") for form in ("NFC", "NFD"))
    root = folder(f"{nfd}/{nfd}.png", "b.png")
    table = open_table(write(root, f"image,label\n{nfc}/{nfc}.png,cat\nb.png,dog\n"))
    assert column(table, "id") == ["b.png", f"{nfc}/{nfc}.png"]
    assert table.storage.read(column(table, "image")[1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("image,label\n", "no rows"),
        ("image,image\na,b\n", "twice"),
        ("image,label\na.png,cat\nb.png\n", "line 3 has 1 fields, the header 2"),
        ('image,label\n"a.png,cat\n', "line 2"),
        ("image,label\n,cat\n", "name no image"),
    ],
)
def test_damaged_lists(folder: Folder, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_table(write(folder("a.png"), text))


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl"])
def test_hugging_face_metadata(folder: Folder, name: str) -> None:
    root = folder("train/a.png", "train/b.png", "test/c.png")
    rows = [("train/a.png", "cat"), ("train/b.png", "dog"), ("test/c.png", "cat")]
    if name.endswith("csv"):
        write(root, "file_name,label,text\n" + "".join(f"{f},{label},x\n" for f, label in rows), name)
    else:
        lines = [json.dumps({"file_name": f, "label": label, "text": {"en": "x"}}) for f, label in rows]
        write(root, "\n".join(lines), name)
    table = open_table(root)
    assert column(table, "label") == ["cat", "cat", "dog"]
    assert column(table, "split") == ["test", "train", "train"]
    assert "text" in table.rows.columns


def test_metadata_in_split_folders_and_lists_of_labels(folder: Folder) -> None:
    root = folder("train/a.png", "validation/b.png")
    write(root / "train", json.dumps({"file_name": "a.png", "labels": ["cat", "dog"]}), "metadata.jsonl")
    write(root / "validation", json.dumps({"file_name": "b.png", "labels": []}), "metadata.jsonl")
    table = open_table(root)
    assert column(table, "split") == ["train", "val"]
    assert column(table, "label") == [["cat", "dog"], []]
    assert column(table, "id") == ["train/a.png", "validation/b.png"]


def test_damaged_json_names_the_line(folder: Folder) -> None:
    root = folder("a.png")
    with pytest.raises(DataError, match="line 2 is not JSON"):
        open_table(write(root, '{"file_name": "a.png"}\n{oops\n', "metadata.jsonl"))


def test_trashnet_split(data_dir: Path) -> None:
    table = open_table(data_dir / "trashnet" / "split.csv")
    assert [len(table.where(s)) for s in ("train", "val", "test")] == [1768, 328, 431]
    assert table.reason == "multiclass: 6 labels, one per image"
