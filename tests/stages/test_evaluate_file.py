"""Anybody's predictions, in several forms, scored as scikit-learn scores them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import accuracy_score, f1_score, log_loss

from anmok.core.artifacts import save_predictions
from anmok.core.errors import DataError
from anmok.core.types import Predictions
from anmok.stages.evaluate import evaluate
from anmok.stages.evaluate_file import read_predictions

NAMES = ["bottle", "can", "유리"]


def drawn(n: int = 60, k: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    targets = np.r_[np.arange(k), rng.integers(0, k, n - k)]
    logits = rng.normal(size=(n, k)) + 1.5 * np.eye(k)[targets]
    e = np.exp(logits)
    return (e / e.sum(1, keepdims=True)).astype(np.float32), targets


def forms(folder: Path) -> dict[str, tuple[Path, np.ndarray, np.ndarray]]:
    """The same predictions as several files."""
    probs, targets = drawn()
    ids, names = [f"i{i}" for i in range(len(targets))], [NAMES[t] for t in targets]
    lists = [row.tolist() for row in probs]
    frames = {
        "lists.parquet": pl.DataFrame({"id": ids, "target": names, "probs": lists}),
        "numbers.parquet": pl.DataFrame({"id": ids, "target": targets, "probs": lists}),
        "json.csv": pl.DataFrame({"id": ids, "target": names, "probs": [str(row) for row in lists]}),
        "spaces.csv": pl.DataFrame({"id": ids, "target": names, "probs": [" ".join(map(str, r)) for r in lists]}),
        "columns.csv": pl.DataFrame(
            {"id": ids, "target": names, **{f"p_{n}": probs[:, i] for i, n in enumerate(NAMES)}}
        ),
        "shuffled.csv": pl.DataFrame({"id": ids, "target": names, **{f"p_{NAMES[i]}": probs[:, i] for i in (2, 0, 1)}}),
    }
    for name, frame in frames.items():
        frame.write_parquet(folder / name) if name.endswith("parquet") else frame.write_csv(folder / name)
    return {name: (folder / name, probs, targets) for name in frames}


@pytest.mark.parametrize(
    "name", ["lists.parquet", "numbers.parquet", "json.csv", "spaces.csv", "columns.csv", "shuffled.csv"]
)
def test_every_form_scores_alike(tmp_path: Path, name: str) -> None:
    file, probs, targets = forms(tmp_path)[name]
    found = evaluate(file)
    said = probs.argmax(1)
    assert found["n"] == 60
    assert found["task"] == "multiclass"
    assert found.value("accuracy") == pytest.approx(accuracy_score(targets, said))
    assert found.value("macro_f1") == pytest.approx(f1_score(targets, said, average="macro"))
    p = probs.astype(np.float64)
    assert found.value("log_loss") == pytest.approx(log_loss(targets, p / p.sum(1, keepdims=True)), abs=1e-5)


def test_answers_alone_have_no_scores_of_probabilities(tmp_path: Path) -> None:
    probs, targets = drawn()
    said = probs.argmax(1)
    file = tmp_path / "p.csv"
    pl.DataFrame({
        "id": range(60), "target": [NAMES[t] for t in targets], "prediction": [NAMES[s] for s in said],
    }).write_csv(file)  # fmt: skip
    found = evaluate(str(file))
    assert found.value("accuracy") == pytest.approx(accuracy_score(targets, said))
    assert found["metrics"]["log_loss"] == {
        "value": None, "reason": "the file has predictions without probabilities",
    }  # fmt: skip
    assert all(row["roc_auc"]["value"] is None for row in found["per_class"].values())
    assert found.value("mcc") is not None


def test_our_own_file_and_its_split(tmp_path: Path) -> None:
    probs, targets = drawn()
    p = Predictions([str(i) for i in range(60)], NAMES, probs, targets, split=["val"] * 30 + ["test"] * 30)
    file = save_predictions(p, tmp_path / "p.parquet")
    assert evaluate(file)["n"] == 30
    assert evaluate(file, split="val")["n"] == 30


def test_several_labels(tmp_path: Path) -> None:
    file = tmp_path / "p.csv"
    file.write_text("id,target,p_a,p_b\n1,a;b,0.9,0.8\n2,b,0.2,0.7\n3,a,0.6,0.6\n4,,0.1,0.1\n")
    found = evaluate(file)
    assert found["task"] == "multilabel"
    assert found.value("accuracy") == pytest.approx(2 / 3)
    assert found["unlabelled"] == 1


def test_two_classes_are_a_binary_task(tmp_path: Path) -> None:
    file = tmp_path / "p.csv"
    file.write_text("id,target,p_no,p_yes\n1,yes,0.1,0.9\n2,no,0.7,0.3\n3,yes,0.6,0.4\n")
    assert evaluate(file)["task"] == "binary"


@pytest.mark.parametrize(
    ("text", "code", "match"),
    [
        ("name,target,probs\n1,a,0.5 0.5\n", "column", "no column id"),
        ("id,target\n1,a\n", "column", "no column probs or prediction"),
        ("id,target,probs\n1,a,0.5 0.5\n2,b,0.2 0.2 0.6\n", "shape", "2, 3 probabilities"),
        ("id,target,probs\n1,a,0.5 0.5\n2,a,0.2 0.8\n", "classes", "the targets name 1 classes"),
        ("id,target,probs\n1,a,much\n", "list", "no list of numbers"),
        ("id,target,p_a,p_b\n1,c,0.5,0.5\n", "class-map", "no probability of the class 'c'"),
        ("id,target,p_a,p_b\n1,a,0.5,often\n", "list", "no number"),
        ("id,target,p_a,p_b\n1,a,0.5,0.9\n", "probabilities", "do not sum to 1"),
        ("id,target,p_a,p_b\n1,a,0.5,0.5\n1,b,0.5,0.5\n", "repeated-id", "more than once"),
    ],
)
def test_what_cannot_be_scored_is_named(tmp_path: Path, text: str, code: str, match: str) -> None:
    file = tmp_path / "p.csv"
    file.write_text(text)
    with pytest.raises(DataError, match=match) as caught:
        evaluate(file)
    assert caught.value.code == code


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_predictions(tmp_path / "p.parquet")
    (tmp_path / "p.parquet").write_text("x")
    with pytest.raises(DataError, match="not a Parquet file"):
        read_predictions(tmp_path / "p.parquet")


def test_an_image_without_probabilities_counts_as_rejected(tmp_path: Path) -> None:
    file = tmp_path / "p.csv"
    file.write_text("id,target,p_a,p_b\n1,a,0.9,0.1\n2,b,,\n3,b,0.2,0.8\n")
    found: Any = evaluate(file)
    assert (found["n"], found["rejected"]) == (2, 1)
