"""One small run, and everything that is asked of it."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import anmok
from anmok.core.artifacts import load_predictions
from anmok.core.config import read_toml
from anmok.core.errors import DataError, UsageError
from anmok.core.files import verify_manifest
from anmok.stages.predict import predict
from anmok.stages.run import Run

SMALL = {"model": "lenet", "image_size": 32, "epochs": 3, "batch_size": 16, "plan": "none", "augment": "none"}
ARTIFACTS = {
    "config.toml", "table.parquet", "plan.json", "events.jsonl", "checkpoints", "predictions", "evaluation.json",
    "evaluation-val.json", "report.html", "rejects.parquet", "model",
}  # fmt: skip


@pytest.fixture(scope="module")
def run(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return anmok.train(digits, out=tmp_path_factory.mktemp("small") / "run", **SMALL)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def test_a_run_leaves_what_was_promised(run: Run) -> None:
    assert {p.name for p in run.path.iterdir() if p.name != ".lock"} >= ARTIFACTS
    verify_manifest(run.path / "model")
    assert read_toml(run.path / "config.toml")["model"]["name"] == "lenet"
    assert run.config.epochs == 3
    assert run.finished
    assert len(run.history) == 3
    assert "lenet" in repr(run)
    assert "lenet" in run._repr_html_()


def test_stored_predictions_are_those_of_the_saved_model(run: Run) -> None:
    stored = run.predictions("val")
    images = [run.table.root / p for p in run.table.where(split="val").rows["image"]]
    again = run.predict(images)
    np.testing.assert_allclose(stored.probs, again.probs, atol=1e-5)
    assert stored.fingerprint == run.table.fingerprint
    assert stored.model_hash == run.model.hash


def test_evaluate_takes_the_test_split_and_counts_looks(run: Run) -> None:
    first, second = anmok.evaluate(run), anmok.evaluate(run)
    assert (first["split"], first["n"]) == ("test", len(run.table.where(split="test")))
    assert (first["looks"], second["looks"]) == (1, 2)
    assert set(first["baselines"]) == {"majority", "nearest-neighbour"}
    assert (run.path / "report-test.html").is_file()
    from_file = anmok.evaluate(run.path / "predictions" / "test.parquet")
    assert from_file.value("accuracy") == first.value("accuracy")
    with pytest.raises(UsageError, match="Did you mean test"):
        anmok.evaluate(run, split="tset")


def test_predict_writes_csv_and_parquet_alike(run: Run, digits: Path, tmp_path: Path) -> None:
    predictions = predict(run, digits, out=tmp_path / "p.csv")
    predict(run, digits, out=tmp_path / "p.parquet")
    stored = load_predictions(tmp_path / "p.parquet")
    rows = rows_of(tmp_path / "p.csv")
    assert [r["id"] for r in rows] == stored.ids == predictions.ids
    assert [r["label"] for r in rows] == stored.labels
    top = predict(run, digits, out=tmp_path / "top.csv", top_k=2)
    first = rows_of(tmp_path / "top.csv")[0]
    assert first["label_1"] == top.labels[0]
    assert float(first["probability_1"]) >= float(first["probability_2"])
    with pytest.raises(UsageError, match="exists already"):
        predict(run, digits, out=tmp_path / "p.csv")
    with pytest.raises(UsageError, match=r"\.csv or \.parquet"):
        predict(run, digits, out=tmp_path / "p.xlsx")


def test_bad_images_and_hostile_names_are_rows(run: Run, digits: Path, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    good = next(digits.rglob("*.png")).read_bytes()
    for name in ("=cmd.png", "유리.png", "line\nbreak.png"):
        (folder / name).write_bytes(good)
    (folder / "cut.png").write_bytes(good[:40])
    predict(run, folder, out=tmp_path / "p.csv", sort_into=tmp_path / "sorted")
    rows = {r["id"]: r for r in rows_of(tmp_path / "p.csv")}
    assert rows["'=cmd.png"]["label"].startswith("digit-")
    assert rows["유리.png"]["label"].startswith("digit-")
    assert rows["cut.png"]["label"] == ""
    assert rows["cut.png"]["error"]
    assert len(rows) == 4
    assert len([p for p in (tmp_path / "sorted").rglob("*") if p.is_file()]) == 4
    assert (tmp_path / "sorted" / "_unreadable" / "cut.png").is_file()


def test_a_template_is_filled_in_its_own_order(run: Run, digits: Path, tmp_path: Path) -> None:
    names = sorted(p.name for p in (digits / "digit-2").iterdir())[:5]
    folder = tmp_path / "images"
    folder.mkdir()
    for name in names:
        (folder / name).write_bytes((digits / "digit-2" / name).read_bytes())
    template = tmp_path / "sample.csv"
    template.write_text("id,label\n" + "".join(f"{Path(n).stem},x\n" for n in reversed(names)))
    predictions = predict(run, folder, out=tmp_path / "out.csv", template=template)
    labels = dict(zip(predictions.ids, predictions.labels, strict=True))
    rows = rows_of(tmp_path / "out.csv")
    assert [r["id"] for r in rows] == [Path(n).stem for n in reversed(names)]
    assert [r["label"] for r in rows] == [labels[n] for n in reversed(names)]
    template.write_text("id,label\nnobody,x\n")
    with pytest.raises(UsageError, match="nobody"):
        predict(run, folder, out=tmp_path / "other.csv", template=template)


def test_images_may_be_paths_bytes_arrays_or_pictures(run: Run, digits: Path) -> None:
    path = next(digits.rglob("*.png"))
    picture = Image.open(path)
    several = [path, path.read_bytes(), np.asarray(picture), picture]
    probs = run.predict(several).probs
    for row in probs[1:]:
        np.testing.assert_allclose(row, probs[0], atol=1e-6)


def test_leaked_rows_are_scored_apart_and_strict_refuses_them(digits: Path, tmp_path: Path) -> None:
    files = sorted(digits.rglob("*.png"))
    lines = ["image,label,split"]
    for i, file in enumerate(files):
        lines.append(f"{file},{file.parent.name},{('train', 'train', 'val', 'test')[i % 4]}")
    copy = tmp_path / "copy.png"
    copy.write_bytes(files[0].read_bytes())
    lines.append(f"{copy},{files[0].parent.name},test")
    table = tmp_path / "table.csv"
    table.write_text("\n".join(lines) + "\n")
    options = {"data": {"allow_links": True}, **SMALL, "epochs": 1}
    run = anmok.train(table, out=tmp_path / "run", **options)
    evaluation = anmok.evaluate(run)
    assert evaluation["leaked"]["n"] == evaluation["n"] - 1
    with pytest.raises(DataError, match="identical"):
        anmok.train(table, out=tmp_path / "strict", split="strict", **options)
    assert not (tmp_path / "strict").exists()


def test_a_binary_task_learns_one_logit(digits: Path, tmp_path: Path) -> None:
    run = anmok.train(digits, out=tmp_path / "run", labels={"drop": ["digit-2", "digit-3"]}, **{**SMALL, "epochs": 2})
    assert run.model.task == "binary"
    predictions = run.predictions("val")
    assert predictions.probs.shape[1] == 2
    np.testing.assert_allclose(predictions.probs.sum(1), 1, atol=1e-6)


def test_several_labels_an_image(digits: Path, tmp_path: Path) -> None:
    lines = ["image,label"]
    for i, file in enumerate(sorted(digits.rglob("*.png"))):
        lines.append(f"{file.relative_to(digits)},{file.parent.name}{';odd' if i % 2 else ''}")
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    run = anmok.train(tmp_path / "labels.csv", out=tmp_path / "run", image_root=str(digits), **{**SMALL, "epochs": 2})
    assert run.model.task == "multilabel"
    assert run.predictions("val").probs.shape[1] == 5
    assert anmok.evaluate(run)["task"] == "multilabel"


def test_too_many_bad_images_end_the_run(digits: Path, tmp_path: Path) -> None:
    import shutil

    images = tmp_path / "images"
    shutil.copytree(digits, images)
    for file in sorted(images.rglob("*.png"))[::10]:
        file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(DataError, match="cannot be used") as caught:
        anmok.train(images, out=tmp_path / "run", **SMALL)
    assert caught.value.exit_code == 3
    assert (tmp_path / "run" / "rejects.parquet").is_file()
    run = anmok.train(images, out=tmp_path / "patient", **{"data.max_rejects": 0.2}, **SMALL)
    assert run.finished


def test_a_module_of_ones_own_trains_saves_and_loads(digits: Path, tmp_path: Path) -> None:
    from torch import nn

    def net() -> nn.Module:
        return nn.Sequential(nn.AdaptiveAvgPool2d(8), nn.Flatten(), nn.Linear(192, 4))

    run = anmok.train(digits, out=tmp_path / "run", **{**SMALL, "model": net()})
    model = anmok.load(tmp_path / "run", module=net())
    np.testing.assert_allclose(model.predict(next(digits.rglob("*.png"))).probs.sum(), 1, atol=1e-6)
    assert run.finished
