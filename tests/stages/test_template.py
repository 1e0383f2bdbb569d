"""A sample submission filled in: its ids, its order, its columns, its delimiter."""

from __future__ import annotations

import csv
import io
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from anmok.core.errors import UsageError
from anmok.core.types import Predictions
from anmok.stages.template import filled, lookup, read_template

IDS = ["a/1.png", "a/2.png", "b/2.png", "유리.png"]
CLASSES = ["cat", "dog"]
PROBS = np.array([[0.75, 0.25], [0.125, 0.875], [np.nan, np.nan], [0.5, 0.5]], np.float32)
FOUND = Predictions(IDS, CLASSES, PROBS, errors={"b/2.png": "unreadable: damaged"})


def fill(tmp_path: Path, text: str | bytes, found: Predictions = FOUND) -> list[dict[str, str]]:
    path = tmp_path / "sample.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    template = read_template(path, found.ids, found.classes)
    return list(csv.DictReader(io.StringIO(filled(template, found)), delimiter=template.delimiter))


def test_labels_in_the_templates_order_by_id_name_or_stem(tmp_path: Path) -> None:
    rows = fill(tmp_path, "id,label\na/2.png,x\n1.png,x\n유리,x\nb/2.png,x\n")
    assert rows == [
        {"id": "a/2.png", "label": "dog"},
        {"id": "1.png", "label": "cat"},
        {"id": "유리", "label": "cat"},
        {"id": "b/2.png", "label": ""},
    ]


def test_columns_named_as_classes_take_probabilities(tmp_path: Path) -> None:
    rows = fill(tmp_path, "id,dog,cat\n1,0,0\nb/2.png,0,0\n")
    assert rows == [{"id": "1", "dog": "0.25", "cat": "0.75"}, {"id": "b/2.png", "dog": "", "cat": ""}]


def test_several_labels_are_joined(tmp_path: Path) -> None:
    both = Predictions(["1.png"], CLASSES, np.array([[0.9, 0.8]], np.float32), task="multilabel")
    assert fill(tmp_path, "id,label\n1,x\n", both) == [{"id": "1", "label": "cat;dog"}]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "cp949", "utf-16"])
def test_encodings_and_delimiters(tmp_path: Path, encoding: str) -> None:
    rows = fill(tmp_path, "id;label\r\n유리;x\r\n".encode(encoding))
    assert rows == [{"id": "유리", "label": "cat"}]
    nfd = unicodedata.normalize("NFD", "유리")
    assert fill(tmp_path, f"id,label\n{nfd},x\n")[0]["label"] == "cat"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,label\n1,x\nnobody,x\n2,x\n", r"2 of its 3 ids are not among the images, such as nobody, 2\."),
        ("id,dog,catt\n1,0,0\n", r"its column 'catt' is no class of the model\. Did you mean cat\?"),
        ("id,label,score\n1,0,0\n", r"its column 'label' is no class of the model\. Known: cat, dog\."),
        ("id\n1\n", "an id column and at least one more"),
        ("", "no CSV: the file is empty"),
        ("id,label\n1\n", "no CSV: line 2 has 1 fields"),
        (b"\x89PNG\r\n\x1a\n\xff\xff", "no CSV: not utf-8 nor cp949"),
    ],
)
def test_what_is_wrong_with_a_template_is_said(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        fill(tmp_path, text)
    assert caught.value.code == "template"
    assert "sample.csv" in str(caught.value)


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "none.csv", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(UsageError, match=reason):
            read_template(path, IDS, CLASSES)


def test_a_stem_that_two_images_share_means_neither() -> None:
    assert lookup(IDS) == {"1": 0, "1.png": 0, "a/1.png": 0, "a/2.png": 1, "b/2.png": 2, "유리": 3, "유리.png": 3}
