"""`zeroshot` as a stage and as a command, on tiny models in the hub's layout."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image
from scipy.special import softmax
from sklearn.metrics import accuracy_score

from anmok.cli import main
from anmok.core.artifacts import load_predictions
from anmok.core.errors import DataError, UsageError
from anmok.models.dual import load_dual
from anmok.nshot.zeroshot import NONE
from anmok.stages import zeroshot as module
from anmok.stages.load import load
from anmok.stages.zeroshot import zeroshot

sys.path.insert(0, str(Path(__file__).parents[1] / "nshot"))
import tiny

CLASSES = "red can, green bottle, blue paper"
COLORS = {"red can": (200, 30, 30), "green bottle": (30, 180, 40), "blue paper": (40, 40, 210)}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {kind: build(folder / kind) for kind, build in tiny.BUILDERS.items()}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labelled images of three colours and several aspects, and one that calls itself an image."""
    root, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for label, color in COLORS.items():
        (root / label).mkdir()
        for n in range(14):
            noise = rng.integers(-40, 40, (40 + 3 * n, 61, 3))
            Image.fromarray(np.clip(np.array(color) + noise, 0, 255).astype(np.uint8)).save(root / label / f"{n}.png")
    (root / "red can" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    return root


@pytest.mark.parametrize("kind", tiny.BUILDERS)
def test_probabilities_are_those_of_transformers(kind: str, models: dict[str, Path], photos: Path) -> None:
    found = zeroshot(photos, CLASSES, model=str(models[kind]), prompts="a photo of a {}.")
    dual = load_dual(models[kind])
    texts = dual.encode_texts([f"a photo of a {name}." for name in COLORS])
    assert found.classes == list(COLORS)
    assert len(found) == 43
    for row in range(0, 43, 7):
        if found.ids[row] in found.errors:
            continue
        image = np.asarray(Image.open(photos / found.ids[row]).convert("RGB"))
        scores = dual.scale * dual.encode_images([dual.prepare(image)]) @ texts.T + dual.bias
        np.testing.assert_allclose(found.probs[row], softmax(scores[0]), atol=1e-5)
    bad = [i for i in found.ids if "broken" in i]
    assert list(found.errors) == bad
    assert np.isnan(found.probs[found.ids.index(bad[0])]).all()


def test_labels_are_evaluated(models: dict[str, Path], photos: Path) -> None:
    found = zeroshot(photos, "red can|rot, green bottle, blue paper", model=str(models["clip"]))
    assert found.evaluation is not None
    assert found.targets is not None
    good = ~np.isnan(found.probs).any(axis=1)
    truth = np.array([list(COLORS).index(i.split("/")[0]) for i in found.ids])
    assert found.evaluation.value("accuracy") == pytest.approx(
        accuracy_score(truth[good], found.probs[good].argmax(axis=1))
    )
    assert zeroshot(photos, "metal,glass", model=str(models["clip"])).evaluation is None


def test_calibration_lowers_the_loss_and_keeps_the_answers(models: dict[str, Path], photos: Path) -> None:
    plain = zeroshot(photos, CLASSES, model=str(models["clip"]))
    fitted = zeroshot(photos, CLASSES, model=str(models["clip"]), calibrate=photos)
    assert fitted.temperature > 1
    assert fitted.labels == plain.labels
    assert plain.evaluation is not None
    assert fitted.evaluation is not None
    assert (fitted.evaluation.value("log_loss") or 0) < (plain.evaluation.value("log_loss") or 0)
    good = ~np.isnan(plain.probs).any(axis=1)
    wanted = softmax(np.log(plain.probs[good].astype(float)) / fitted.temperature, axis=1)
    np.testing.assert_allclose(fitted.probs[good], wanted, atol=1e-5)


def test_none_of_these(models: dict[str, Path], photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.csv"
    found = zeroshot(
        photos, CLASSES, model=str(models["clip"]), none_of_these=True, calibrate=photos, false_alarms=0.2, out=out
    )
    flagged = np.array([label == NONE for label in found.labels])
    good = ~np.isnan(found.probs).any(axis=1)
    assert 0 < flagged[good].mean() <= 0.2
    assert not flagged[~good].any()
    assert found.strange is not None
    assert found.strange[flagged].min() > found.strange[good & ~flagged].max()
    frame = pl.read_csv(out)
    assert frame["label"].to_list().count(NONE) == flagged.sum()
    assert "p_red can" in frame.columns
    free = zeroshot(photos, CLASSES, model=str(models["clip"]), none_of_these=True)
    assert free.strange is not None
    np.testing.assert_array_equal([x == NONE for x in free.labels], free.strange > 0)


@pytest.mark.parametrize("kind", ["clip", "siglip", "align", "flava"])
def test_a_saved_model_predicts_the_same(kind: str, models: dict[str, Path], photos: Path, tmp_path: Path) -> None:
    found = zeroshot(photos, CLASSES, model=str(models[kind]), calibrate=photos, save_model=tmp_path / "m")
    again = load(tmp_path / "m")
    assert again.classes == list(COLORS)
    assert again.decision["temperature"] == found.temperature
    some = [str(photos / i) for i in found.ids[:30:3]]
    np.testing.assert_allclose(again.predict(some).probs, found.probs[:30:3], atol=1e-5)
    assert "same probabilities" in found.text[-1]
    with pytest.raises(UsageError):
        zeroshot(photos, CLASSES, model=str(models[kind]), save_model=tmp_path / "m")


def test_training_goes_on_from_a_saved_model(models: dict[str, Path], photos: Path, tmp_path: Path) -> None:
    from anmok.stages.train import train

    zeroshot(photos, sorted(COLORS), model=str(models["siglip"]), save_model=tmp_path / "m")
    start = load(tmp_path / "m")
    run = train(
        photos, model=load(tmp_path / "m").classifier.backbone, weights=str(tmp_path / "m"), epochs=1, batch_size=8,
        plan="none", out=tmp_path / "run", **{"optim.lr": 1e-9, "data.max_rejects": 0.1},
    )  # fmt: skip
    trained = load(run.path)  # built again from its folder, without the module
    assert trained.classes == start.classes
    assert trained.preprocess.mean == pytest.approx(start.preprocess.mean)
    images = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    wanted = start.probabilities(images)
    assert wanted.std() > 1e-3
    np.testing.assert_allclose(trained.probabilities(images), wanted, atol=1e-4)


def test_what_is_written_can_be_read(models: dict[str, Path], photos: Path, tmp_path: Path) -> None:
    found = zeroshot(photos, CLASSES, model=str(models["siglip2"]), out=tmp_path / "x.parquet")
    again = load_predictions(tmp_path / "x.parquet")
    np.testing.assert_array_equal(again.probs, found.probs)
    assert again.classes == found.classes
    assert again.errors == found.errors


def test_a_writing_that_is_not_known_is_said(
    models: dict[str, Path], photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(module, "warn", said.append)
    few = photos / "red can" / "0.png"
    mixed = zeroshot(few, "유리|glass,종이|paper", model=str(models["clip"]))
    assert mixed.classes == ["유리", "종이"]
    assert "glass stands for it" in said[0]
    english = zeroshot(few, "glass,paper", model=str(models["clip"]))
    np.testing.assert_allclose(mixed.probs, english.probs, atol=1e-6)
    zeroshot(few, "유리,paper", model=str(models["clip"]))
    assert any("writing that the model does not know" in text for text in said)
    said.clear()
    zeroshot(few, "유리,종이", model=str(models["siglip"]))
    assert not said


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"classes": "a,a"}, "class"), ({"prompts": ""}, "prompt"), ({"out": "x.txt"}, "out"),
        ({"none_of_these": True, "out": "x.parquet"}, "out"), ({"false_alarms": 0.1}, "setting"),
        ({"top_k": 2}, "setting"), ({"batch_size": 0}, "setting"),
        ({"save_model": "SELF", "model": "siglip2"}, "model"),
    ],
)  # fmt: skip
def test_wrong_calls(
    arguments: dict[str, Any], code: str, models: dict[str, Path], photos: Path, tmp_path: Path
) -> None:
    given = {"classes": CLASSES, "model": "clip"} | arguments
    given["model"] = str(models[given["model"]])
    for name in ("out", "save_model"):
        if name in given:
            given[name] = tmp_path / given[name]
    with pytest.raises(UsageError) as caught:
        zeroshot(photos, **given)
    assert caught.value.code == code
    assert not list(tmp_path.iterdir())


def test_the_test_split_settles_nothing(models: dict[str, Path], photos: Path, tmp_path: Path) -> None:
    rows = [f"{p.relative_to(photos)},{p.parent.name},test" for p in sorted(photos.rglob("*.png"))]
    listed = photos.parent / "listed.csv"
    listed.write_text("image,label,split\n" + "\n".join(f"{photos.name}/{row}" for row in rows))
    with pytest.raises(UsageError, match="test split"):
        zeroshot(photos, CLASSES, model=str(models["clip"]), calibrate=listed)
    with pytest.raises(DataError):  # too few for so small a share
        zeroshot(photos, CLASSES, model=str(models["clip"]), calibrate=photos, none_of_these=True, false_alarms=0.001)


def test_the_command(models: dict[str, Path], photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "x.csv"
    main([
        "zeroshot", str(photos), "--classes", CLASSES, "--model", str(models["clip"]), "--prompts", "a photo of {}",
        "--out", str(out), "--top-k", "2",
    ])  # fmt: skip
    said = capsys.readouterr().out
    assert "accuracy" in said.lower()
    assert "x.csv" in said
    assert {"label_2", "error"} <= set(pl.read_csv(out).columns)
