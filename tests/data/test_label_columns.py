"""A column for each label, by hand; and what is unknown of an image, from a CSV to the targets of a saved table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from anmok.core.errors import DataError, UsageError
from anmok.data.columns import Columns
from anmok.data.config import DataConfig, LabelsConfig
from anmok.data.label_columns import join_label_columns
from anmok.data.labels import prepare
from anmok.data.sources import open_table
from anmok.data.table import Table

IMAGE = Columns("image", None, None, None)


def written(folder: Path, text: str) -> Path:
    for i, line in enumerate(text.strip().splitlines()[1:]):
        Image.fromarray(np.full((8, 8, 3), 20 * i, np.uint8)).save(folder / line.split(",")[0])
    (folder / "labels.csv").write_text(text)
    return folder / "labels.csv"


def test_columns_of_1_and_0_are_found(tmp_path: Path) -> None:
    file = written(tmp_path, "image,dog,cat,camera\na.png,1,0,left\nb.png,1,1,left\nc.png,,0,right\nd.png,0,-1,left\n")
    table = open_table(file)
    assert (table.task, table.classes) == ("multilabel", ("dog", "cat"))
    assert any("label columns found: dog, cat" in note for note in table.notes)
    want = np.array([[1, 0], [1, 1], [np.nan, 0], [0, np.nan]], np.float32)
    np.testing.assert_array_equal(table.targets(), want)
    saved = table.save(tmp_path / "table.parquet")
    again = Table.load(saved)
    np.testing.assert_array_equal(again.targets(), want)
    assert again.fingerprint == table.fingerprint
    full = open_table(written(tmp_path, file.read_text().replace("c.png,,", "c.png,0,")))
    assert full.fingerprint != table.fingerprint
    assert "camera" in table.rows.columns


def test_marks_in_lists_say_the_same(tmp_path: Path) -> None:
    table = open_table(written(tmp_path, "image,label\na.png,dog\nb.png,dog;cat\nc.png,?dog\nd.png,?cat\ne.png,;\n"))
    np.testing.assert_array_equal(table.targets(), [[0, 1], [1, 1], [0, np.nan], [np.nan, 0], [0, 0]])
    assert any("2 labels of images are unknown" in note for note in table.notes)
    plain = open_table(tmp_path / "labels.csv", DataConfig(unknown_mark=""))
    assert plain.classes == ("?cat", "?dog", "cat", "dog")


def test_exactly_one_each_is_one_label() -> None:
    rows = pl.DataFrame({"image": ["a", "b", "c"], "x": [1, 0, 0], "y": [0, 1, 0], "z": [0, 0, 1]})
    joined = join_label_columns(rows, IMAGE, DataConfig(), "rows")
    assert joined.rows["label"].to_list() == ["x", "y", "z"]
    assert joined.stated == ["x", "y", "z"]
    kept = join_label_columns(rows, IMAGE, DataConfig(task="multilabel"), "rows")
    assert kept.rows["label"].to_list() == [["x"], ["y"], ["z"]]


def test_other_columns_are_left_alone() -> None:
    rows = pl.DataFrame({"image": ["a", "b"], "n": [1, 2], "flag": [1, 0], "text": ["x", "y"]})
    assert join_label_columns(rows, IMAGE, DataConfig(), "rows").stated is None  # one flag is no set of labels
    labelled = rows.with_columns(pl.Series("other", [0, 1]), pl.Series("label", ["x", "y"]))
    columns = IMAGE._replace(label="label")
    assert join_label_columns(labelled, columns, DataConfig(), "rows").rows.equals(labelled)
    twice = DataConfig(label_columns=["flag", "other"])
    joined = join_label_columns(labelled, columns, twice, "rows")
    assert joined.rows["label"].to_list() == ["flag", "other"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"label_columns": ["n", "flag"]}, "'2' in the label column 'n' is none of 1, 0 and blank"),
        ({"label_columns": ["flg", "n"]}, "no column 'flg'.*Did you mean flag"),
        ({"label_columns": ["flag", "flag"]}, "named twice"),
        ({"label_columns": ["flag"]}, "only one label column"),
        ({"label_columns": ["flag", "n"], "label_column": "text"}, "give one of them"),
    ],
)
def test_what_is_wrong_is_named(settings: dict[str, object], message: str) -> None:
    rows = pl.DataFrame({"image": ["a", "b"], "n": [1, 2], "flag": [1, 0], "text": ["x", "y"]})
    with pytest.raises((DataError, UsageError), match=message):
        join_label_columns(rows, IMAGE, DataConfig(**settings), "rows")  # type: ignore[arg-type]


def test_merging_and_dropping_take_the_unknown_along() -> None:
    rows = pl.DataFrame({"id": ["0", "1", "2"], "label": [["a"], ["b"], ["c"]], "unknown": [["b"], ["a", "c"], ["b"]]})
    ready = prepare(rows, DataConfig(), LabelsConfig(merge=["a+b=x"], drop=[]))
    assert ready.rows["unknown"].to_list() == [[], ["c"], ["x"]]  # known to be there beats unknown
    ready = prepare(rows, DataConfig(), LabelsConfig(merge=[], drop=["c"]))
    assert ready.rows["unknown"].to_list() == [["b"], ["a"]]


def test_nothing_known_is_unlabelled_and_a_typo_is_refused() -> None:
    rows = pl.DataFrame({"id": ["0", "1"], "label": [["a", "b"], ["?a", "?b"]]})
    ready = prepare(rows, DataConfig(), LabelsConfig(merge=[], drop=[]))
    assert ready.rows["label"].to_list() == [["a", "b"], None]
    assert "unknown" not in ready.rows.columns
    with pytest.raises(DataError, match=r"unknown label 'bb'. Did you mean b"):
        prepare(rows.with_columns(pl.Series("label", [["a", "b"], ["?bb"]])), DataConfig(), LabelsConfig())
    with pytest.raises(UsageError, match=r"found images of which single labels are unknown.*multilabel"):
        prepare(
            pl.DataFrame({"id": ["0", "1"], "label": [["a"], ["b"]], "unknown": [["b"], []]}),
            DataConfig(task="multiclass"), LabelsConfig(),
        )  # fmt: skip
