from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

import anmok
from anmok.core.artifacts import save_predictions
from anmok.core.errors import DataError, MachineError, UsageError
from anmok.core.types import Predictions
from anmok.data.table import Table
from anmok.stages import fold_network, suspects
from anmok.stages.suspects import from_run, out_of_fold, suspect_labels


@pytest.fixture
def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(module: str, extra: str) -> None:
        raise MachineError(f"this needs the package {module}, which is not installed.", code="missing-package")

    monkeypatch.setattr(suspects, "need", missing)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    texts: list[str] = []
    monkeypatch.setattr(suspects, "say", texts.append)
    monkeypatch.setattr(suspects, "warn", texts.append)
    return texts


def with_labels(table: Table, changed: dict[int, str | list[str] | None]) -> Table:
    labels = table.rows["label"].to_list()
    for row, label in changed.items():
        labels[row] = label
    return table.with_rows(table.rows.with_columns(pl.Series("label", labels)), "labels changed")


def lied(table: Table) -> tuple[Table, set[str]]:
    """Every 20th label turned into the next class."""
    names = list(table.classes)
    rows = range(7, len(table), 20)
    wrong = {i: names[(names.index(table.rows["label"][i]) + 1) % len(names)] for i in rows}
    return with_labels(table, wrong), {table.rows["id"][i] for i in rows}


def test_planted_lies_are_found_by_networks(digits: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]) -> None:
    monkeypatch.setattr(fold_network, "STEPS", 100)
    table, wrong = lied(anmok.open(digits))
    judged = suspect_labels(table, folds=3, seed=1, device="cpu")
    assert judged.predictions.ids == table.rows["id"].to_list()
    assert judged.predictions.fingerprint == table.fingerprint
    worst = [judged.predictions.ids[i] for i in judged.verdict.ranking[: len(wrong)]]
    assert len(wrong & set(worst)) >= 5
    found = [f.ids[0] for f in judged.findings]
    assert {f.kind for f in judged.findings} == {"suspect-label"}
    assert len(wrong & set(found)) >= 5
    assert "labelled digit-" in judged.findings[0].evidence
    assert any(text.startswith(f"suspect labels: {len(found)} of 160 images judged") for text in said)


def test_without_torch_patch_features_find_them_too_and_it_is_said(
    digits: Path, without_torch: None, said: list[str]
) -> None:
    table, wrong = lied(anmok.open(digits))
    judged = suspect_labels(table, folds=3)
    worst = [judged.predictions.ids[i] for i in judged.verdict.ranking[: len(wrong)]]
    assert len(wrong & set(worst)) >= 6
    assert any("torch, which is not installed" in text for text in said)
    again = out_of_fold(table, folds=3)
    np.testing.assert_array_equal(again.probs, judged.predictions.probs)
    assert (out_of_fold(table, folds=3, seed=1).probs != again.probs).any()


def test_unreadable_unlabelled_and_rare_images_have_no_verdict(
    tmp_path: Path, digits: Path, without_torch: None, said: list[str]
) -> None:
    source = tmp_path / "set"
    for path in sorted(digits.rglob("*.png"))[::3]:
        (source / path.parent.name).mkdir(parents=True, exist_ok=True)
        (source / path.parent.name / path.name).write_bytes(path.read_bytes())
    (source / "rare").mkdir()
    for i in range(2):
        Image.fromarray(np.full((8, 8, 3), 90 * i, np.uint8)).save(source / "rare" / f"{i}.png")
    (source / "digit-0" / "bad.png").write_bytes(b"no image")
    table = with_labels(anmok.open(source), {5: None})
    predictions = out_of_fold(table, folds=3)
    assert len(predictions) == len(table) - 1
    assert table.rows["id"][5] not in predictions.ids
    assert list(predictions.errors) == ["digit-0/bad.png"]
    nothing = {i for i, row in zip(predictions.ids, predictions.probs, strict=True) if np.isnan(row).all()}
    assert nothing == {"digit-0/bad.png", "rare/0.png", "rare/1.png"}
    assert "1 class (rare) with fewer images than 3 folds: no verdict on such labels" in said
    assert "2 images only train, without a verdict" in said


def test_copies_are_judged_by_models_that_saw_none_of_them(digits: Path, tmp_path: Path, without_torch: None) -> None:
    """Two copies under two labels: neither verdict comes from a model that learned the other's label."""
    for number, path in enumerate(sorted(digits.rglob("*.png"))[::2]):
        label = "low" if path.parent.name in ("digit-0", "digit-1") else "high"
        (tmp_path / "set" / label).mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / label / f"{number}.png").write_bytes(path.read_bytes())
    copy = tmp_path / "set" / "low" / "0.png"
    (tmp_path / "set" / "high" / "copy.png").write_bytes(copy.read_bytes())
    predictions = out_of_fold(anmok.open(tmp_path / "set"), folds=3)
    place = {i: n for n, i in enumerate(predictions.ids)}
    np.testing.assert_array_equal(predictions.probs[place["low/0.png"]], predictions.probs[place["high/copy.png"]])


def test_multilabel_a_rare_label_has_no_verdict_the_others_do(
    digits: Path, without_torch: None, said: list[str]
) -> None:
    table = anmok.open(digits)
    labels = [
        [name, *(["even"] if name in ("digit-0", "digit-2") else []), *(["odd-one"] if i == 3 else [])]
        for i, name in enumerate(table.rows["label"])
    ]
    rows = table.rows.with_columns(pl.Series("label", labels))
    names = tuple(sorted({name for row in labels for name in row}))
    predictions = out_of_fold(Table(rows, table.root, names, "multilabel"), folds=3)
    assert np.isnan(predictions.probs[:, names.index("odd-one")]).all()
    known = predictions.probs[:, names.index("even")]
    truth = np.array(["even" in row for row in labels])
    judged = ~np.isnan(known)
    assert judged.sum() >= 158
    assert ((known > 0.5) == truth)[judged].mean() > 0.85
    assert any("1 class (odd-one)" in text for text in said)


@pytest.mark.parametrize("folds", [0, 1])
def test_too_few_folds_and_too_few_labels_are_refused(digits: Path, folds: int) -> None:
    table = anmok.open(digits)
    with pytest.raises(UsageError, match="at least 2"):
        out_of_fold(table, folds=folds)
    with pytest.raises(DataError, match="two labels"):
        out_of_fold(table.take(pl.col("label") == "digit-1"))
    with pytest.raises(DataError, match="two labels"):
        out_of_fold(with_labels(table, dict.fromkeys(range(len(table)))))


def test_fewer_images_than_folds_is_no_error(digits: Path) -> None:
    judged = suspect_labels(anmok.open(digits).take([0, 1, 80, 81]), folds=5)
    assert np.isnan(judged.predictions.probs).all()
    assert not judged.findings


def stored(table: Table, rows: list[int], folder: Path, name: str, classes: list[str] | None = None) -> None:
    """Predictions file of some rows: sure of every true label."""
    part = table.take(rows)
    names = classes or list(table.classes)
    targets = part.with_classes(names).targets()
    probs = np.full((len(rows), len(names)), 0.1 / (len(names) - 1), np.float32)
    probs[np.arange(len(rows)), targets] = 0.9
    (folder / "predictions").mkdir(parents=True, exist_ok=True)
    save_predictions(
        Predictions(part.rows["id"].to_list(), names, probs, targets, table.task, None, "hash", table.fingerprint),
        folder / "predictions" / f"{name}.parquet",
    )


def test_a_run_is_judged_by_its_val_and_test_and_the_share_is_said(
    digits: Path, tmp_path: Path, said: list[str]
) -> None:
    table = anmok.open(digits)
    stored(table, list(range(0, 160, 4)), tmp_path, "val")
    stored(table, list(range(1, 160, 4)), tmp_path, "test")
    wrong = with_labels(table, {0: "digit-3", 2: "digit-3", 5: "digit-2"})
    judged = suspect_labels(wrong, tmp_path)
    assert len(judged.predictions) == 80
    assert any("cover 80 of 160 labelled images (50.0%)" in text for text in said)
    ids = table.rows["id"]
    assert {f.ids[0] for f in judged.findings} == {ids[0], ids[5]}  # the table's labels are judged, not the stored ones
    assert judged.findings[0].evidence in (
        "labelled digit-3, likely digit-0 (0.90)", "labelled digit-2, likely digit-0 (0.90)",
    )  # fmt: skip
    stored(table, list(range(160)), tmp_path, "oof", list(reversed(table.classes)))
    assert len(from_run(tmp_path, table)) == 160  # out-of-fold predictions go before all others, in any class order
    assert len(suspect_labels(wrong, tmp_path).findings) == 3
    assert len(from_run(tmp_path / "predictions" / "val.parquet", table)) == 40


def test_predictions_that_do_not_fit_are_refused(digits: Path, tmp_path: Path) -> None:
    table = anmok.open(digits)
    with pytest.raises(UsageError, match="no predictions here"):
        from_run(tmp_path, table)
    stored(table, [0, 1, 2], tmp_path, "val")
    with pytest.raises(DataError, match="none of the table's 100 labelled images"):
        from_run(tmp_path, table.take(range(60, 160)))
    with pytest.raises(DataError, match="no such class"):
        from_run(tmp_path, Table(table.rows.with_columns(label=pl.lit("x")), table.root, ("x",)))
    with pytest.raises(DataError, match="are multiclass"):
        from_run(tmp_path, Table(table.rows, table.root, table.classes, "binary"))
    stored(table, [3], tmp_path, "test", [*table.classes, "more"])
    with pytest.raises(DataError, match="other classes"):
        from_run(tmp_path, table)
    with pytest.raises(DataError, match="not a predictions file"):
        from_run(next(iter(digits.rglob("*.png"))), table)
