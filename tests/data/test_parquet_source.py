from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from anmok.core.errors import DataError, UsageError
from anmok.data.config import DataConfig
from anmok.data.sources import open_table

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
Picture = Callable[..., bytes]


def classes(**names: Any) -> dict[bytes, bytes]:
    features = {
        k: v if isinstance(v, dict | list) else {"names": v.split(), "_type": "ClassLabel"} for k, v in names.items()
    }
    return {b"huggingface": json.dumps({"info": {"features": features}}).encode()}


def write(path: Path, columns: dict[str, Any], meta: dict[bytes, bytes] | None = None, groups: int = 2) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns)
    pq.write_table(table.replace_schema_metadata(meta), path, row_group_size=groups)
    return path


def images(picture: Picture, numbers: Any, paths: bool = True) -> pa.Array:
    return pa.array([{"bytes": picture(n), "path": f"{n}.png" if paths else None} for n in numbers], IMAGE)


def test_struct_images_with_class_names(tmp_path: Path, picture: Picture) -> None:
    path = write(
        tmp_path / "a#1.parquet",
        {"image": images(picture, range(5)), "label": [1, 0, -1, 1, 0], "size": [1, 2, 3, 4, 5]},
        classes(label="zebra ape"),
    )
    table = open_table(path)
    assert table.classes == ("zebra", "ape")
    assert table.rows["label"].to_list() == ["ape", "zebra", None, "ape", "zebra"]
    assert table.rows["size"].to_list() == [1, 2, 3, 4, 5]
    assert table.rows["path"].to_list() == [f"{n}.png" for n in range(5)]
    assert [table.storage.read(i) for i in table.rows["image"]] == [picture(n) for n in range(5)]
    assert table.storage.path(table.rows["image"][0]) is None


def test_folder_of_splits(tmp_path: Path, picture: Picture) -> None:
    for name, numbers in {
        "train-00000-of-00002": (0, 1),
        "train-00001-of-00002": (2, 3),
        "test-00000-of-00001": (4,),
    }.items():
        write(
            tmp_path / "data" / f"{name}.parquet", {"img": images(picture, numbers), "label": [n % 2 for n in numbers]}
        )
    table = open_table(tmp_path)
    assert dict(table.rows["split"].value_counts().iter_rows()) == {"train": 4, "test": 1}
    assert table.classes == ("0", "1")
    assert {table.storage.read(i) for i in table.rows["image"]} == {picture(n) for n in range(5)}


def test_integers_keep_their_order(tmp_path: Path, picture: Picture) -> None:
    path = write(tmp_path / "a.parquet", {"image": images(picture, range(3)), "label": [10, 9, 2]})
    assert open_table(path).classes == ("2", "9", "10")


def test_lists_of_class_labels(tmp_path: Path, picture: Picture) -> None:
    meta = classes(label={"feature": {"names": ["a", "b", "c"], "_type": "ClassLabel"}, "_type": "Sequence"})
    path = write(tmp_path / "a.parquet", {"image": images(picture, range(3)), "label": [[2, 0], [], [1]]}, meta)
    table = open_table(path)
    assert table.rows["label"].to_list() == [["a", "c"], [], ["b"]]
    assert table.targets().tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]


def test_which_of_several_class_columns(tmp_path: Path, picture: Picture) -> None:
    columns = {"img": images(picture, range(2)), "fine": [0, 1], "coarse": [1, 0]}
    path = write(tmp_path / "a.parquet", columns, classes(fine="a b", coarse="x y"))
    with pytest.raises(UsageError, match=r"several columns of classes: fine, coarse.*--data.label-column"):
        open_table(path)
    table = open_table(path, DataConfig(label_column="coarse"))
    assert table.rows["label"].to_list() == ["y", "x"]
    assert table.rows["fine"].to_list() == [0, 1]


def test_a_label_without_a_name(tmp_path: Path, picture: Picture) -> None:
    path = write(tmp_path / "a.parquet", {"image": images(picture, range(2)), "label": [0, 7]}, classes(label="a b"))
    with pytest.raises(DataError, match="label 7 has no name; the file names 2 classes"):
        open_table(path)


def test_plain_bytes_and_a_second_image_column(tmp_path: Path, picture: Picture) -> None:
    columns = {
        "image": pa.array([picture(0), picture(1)], pa.binary()),
        "mask#": pa.array([picture(2), picture(3)], pa.binary()),
        "label": ["a", "b"],
    }
    path = write(tmp_path / "a.parquet", columns)
    table = open_table(path)
    assert [table.storage.read(i) for i in table.rows["image"]] == [picture(0), picture(1)]
    assert "mask#" not in table.rows.columns
    table = open_table(path, DataConfig(image_column="mask#"))
    assert [table.storage.read(i) for i in table.rows["image"]] == [picture(2), picture(3)]


def test_a_column_of_paths(tmp_path: Path, picture: Picture) -> None:
    for n in range(2):
        (tmp_path / f"{n}.png").write_bytes(picture(n))
    path = write(tmp_path / "list.parquet", {"image": ["0.png", "1.png"], "label": [1, 0]}, classes(label="cat dog"))
    table = open_table(path)
    assert table.rows["image"].to_list() == ["0.png", "1.png"]
    assert table.rows["label"].to_list() == ["dog", "cat"]
    assert table.storage.read("1.png") == picture(1)


def test_images_alone(tmp_path: Path, picture: Picture) -> None:
    table = open_table(write(tmp_path / "a.parquet", {"image": pa.array([picture(0), picture(1)], pa.binary())}))
    assert table.classes == ()
    assert [table.storage.read(i) for i in table.rows["image"]] == [picture(0), picture(1)]


def test_rows_without_bytes_are_found_by_path_or_left_out(tmp_path: Path, picture: Picture) -> None:
    (tmp_path / "0.png").write_bytes(picture(0))
    rows = [{"bytes": None, "path": "0.png"}, {"bytes": picture(1), "path": None}, {"bytes": None, "path": None}]
    path = write(tmp_path / "a.parquet", {"image": pa.array(rows, IMAGE), "label": ["a", "b", "a"]})
    table = open_table(path)
    assert {table.storage.read(i) for i in table.rows["image"]} == {picture(0), picture(1)}
    assert [(r.id, r.kind) for r in table.rejects] == [("a.parquet#2", "empty")]


def test_different_columns_and_damage(tmp_path: Path, picture: Picture) -> None:
    write(tmp_path / "train-0.parquet", {"image": images(picture, range(2)), "label": [0, 1]})
    write(tmp_path / "train-1.parquet", {"image": images(picture, range(2)), "klass": [0, 1]})
    with pytest.raises(DataError, match=r"its columns are not those of train-0.parquet"):
        open_table(tmp_path)
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match="not readable as Parquet"):
        open_table(tmp_path / "bad.parquet")


def test_cifar10_as_it_is(data_dir: Path) -> None:
    table = open_table(data_dir / "cifar10")
    assert [len(table.where(s)) for s in ("train", "val", "test")] == [50_000, 0, 10_000]
    assert table.classes[:3] == ("airplane", "automobile", "bird")
    assert table.rows["label"].value_counts()["count"].unique().to_list() == [6000]
    assert table.storage.read(table.rows["image"][31_234])[:3] == b"\xff\xd8\xff"
