from __future__ import annotations

import unicodedata
from typing import Any

import polars as pl
import pytest

from anmok.core.errors import DataError, UsageError
from anmok.data.config import DataConfig, LabelsConfig
from anmok.data.labels import prepare


def run(labels: list[Any], stated: list[str] | None = None, **settings: Any) -> Any:
    remap = LabelsConfig(merge=settings.pop("merge", []), drop=settings.pop("drop", []))
    rows = pl.DataFrame({"id": [str(i) for i in range(len(labels))], "label": labels}, strict=False)
    if rows.schema["label"] == pl.Null:
        rows = rows.with_columns(pl.col("label").cast(pl.String))
    return prepare(rows, DataConfig(**settings), remap, stated)


@pytest.mark.parametrize(
    ("labels", "task", "reason"),
    [
        (["a", "b", "a"], "binary", "binary: 2 labels, one per image"),
        (["a", "b", "c"], "multiclass", "multiclass: 3 labels, one per image"),
        (["a", "b;c", "c"], "multilabel", "multilabel: 3 labels, up to 2 per image"),
        ([["a"], ["b", "a"], []], "multilabel", "multilabel: 2 labels, up to 2 per image"),
        ([None, None], "multiclass", "no labels"),
        (["a", "a"], "multiclass", "multiclass: 1 label, one per image"),
    ],
)
def test_task_with_its_reason(labels: list[Any], task: str, reason: str) -> None:
    ready = run(labels)
    assert (ready.task, ready.reason) == (task, reason)


def test_task_overridden() -> None:
    assert run(["a", "b"], task="multiclass").reason == "multiclass: 2 labels, one per image, as asked"
    assert run(["a", "b"], task="multilabel").rows["label"].to_list() == [["a"], ["b"]]
    assert run([["a"], ["b"]], task="binary").rows["label"].to_list() == ["a", "b"]
    with pytest.raises(UsageError, match="binary takes 2 labels, found 3: a, b, c"):
        run(["a", "b", "c"], task="binary")
    with pytest.raises(UsageError, match="multiclass takes one label per image, found up to 2"):
        run([["a", "b"], ["b"]], task="multiclass")


def test_positive_class_is_the_last() -> None:
    assert run(["yes", "no"], positive="no").classes == ("yes", "no")
    with pytest.raises(UsageError, match=r"no label 'yess'.*Did you mean yes"):
        run(["yes", "no"], positive="yess")
    with pytest.raises(UsageError, match="needs a binary task"):
        run(["a", "b", "c"], positive="a")


def test_merge_and_drop() -> None:
    ready = run(["paper", "cardboard", "glass", "trash", None], merge=["paper+cardboard=fibre"], drop=["trash"])
    assert ready.rows["label"].to_list() == ["fibre", "fibre", "glass", None]
    assert ready.classes == ("fibre", "glass")
    assert any("paper → fibre" in note for note in ready.notes)
    assert any("1 images left out" in note for note in ready.notes)


def test_merge_and_drop_keep_the_stated_order_and_lists() -> None:
    assert run(["c", "a", "b"], stated=["c", "b", "a"], merge=["b+a=x"]).classes == ("c", "x")
    ready = run([["a", "b"], ["b"], [], ["a", "c"]], merge=["a+c=x"], drop=["b"])
    assert ready.rows["label"].to_list() == [["x"], [], ["x"]]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"merge": ["papre+glass=x"]}, "no label 'papre'. Did you mean paper"),
        ({"drop": ["papre"]}, "no label 'papre'. Did you mean paper"),
        ({"merge": ["paper"]}, "'paper' is no rule"),
        ({"merge": ["paper=x", "paper=y"]}, "merged twice"),
    ],
)
def test_unknown_labels_in_rules(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        run(["paper", "glass"], **settings)


def test_row_31_spaced_labels_are_never_merged_silently() -> None:
    with pytest.raises(DataError, match=r"spaces around: ' cat'; the nearest is 'cat'") as caught:
        run(["cat", " cat", "dog"])
    assert '--labels.merge " cat=cat"' in str(caught.value)
    assert run(["cat", " cat", "dog"], merge=[" cat=cat"]).classes == ("cat", "dog")
    with pytest.raises(DataError, match="spaces around"):
        run(["cat; dog", "dog"])
    assert run(["cat; dog", "dog"], label_separator="; ").classes == ("cat", "dog")


@pytest.mark.parametrize("blank", ["", "  ", ["cat", " "]])
def test_row_31_blank_labels(blank: Any) -> None:
    other: Any = ["dog"] if isinstance(blank, list) else "dog"
    with pytest.raises(DataError, match=r"1 image \(0\) with a blank label.*--data.allow-unlabelled"):
        run([blank, other, other])
    ready = run([blank, other, other], allow_unlabelled=True)
    assert ready.rows["label"].to_list() == [None, other, other]
    assert any("1 of 3 images have no label" in note for note in ready.notes)


def test_row_31_unknown_label_where_the_classes_are_stated() -> None:
    with pytest.raises(DataError, match=r"unknown label 'dgo'. Did you mean dog"):
        run(["cat", "dgo"], stated=["cat", "dog"])


def test_case_and_unicode_forms() -> None:
    ready = run(["Cat", "cat", unicodedata.normalize("NFD", "가"), unicodedata.normalize("NFC", "가")])
    assert ready.classes == ("Cat", "cat", "가")
    assert any("Cat / cat" in note for note in ready.notes)


def test_classes_without_images_are_said() -> None:
    ready = run(["a", "b"], stated=["b", "a", "z"])
    assert ready.classes == ("b", "a", "z")
    assert any("1 class (z) without images" in note for note in ready.notes)
