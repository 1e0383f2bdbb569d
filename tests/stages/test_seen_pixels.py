"""What a run's model sees: the same in training, validation, the model folder and predict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import anmok
from anmok.augment.preprocess import Preprocess
from anmok.core.config import resolve
from anmok.core.errors import UsageError
from anmok.core.files import read_json
from anmok.models.build import build
from anmok.models.config import ModelConfig
from anmok.stages.config import TrainConfig
from anmok.stages.pixels import check_pretrained, with_preprocess

SMALL = {"model": "lenet", "image_size": 32, "epochs": 1, "batch_size": 32, "plan": "none"}
STEPS = {"equalize": "clahe", "preprocess.tiles": 2, "colorspace": "lab", "augment": "light"}


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr("anmok.stages.pixels.warn", said.append)
    return said


def test_a_run_with_steps_predicts_as_it_validated(digits: Path, tmp_path: Path, heard: list[str]) -> None:
    run = anmok.train(digits, out=tmp_path / "run", **SMALL, **STEPS)
    expected = Preprocess(32, equalize="clahe", tiles=2, colorspace="lab")
    assert run.model.preprocess == expected
    assert run.model.classifier.pixel_mean == expected.mean
    stored = run.predictions("val")
    images = [run.table.root / p for p in run.table.where(split="val").rows["image"]]
    np.testing.assert_allclose(run.predict(images).probs, stored.probs, atol=1e-5)
    assert read_json(run.path / "model" / "preprocess.json")["version"] == 2
    assert "converted to lab" in (run.path / "model" / "README.md").read_text(encoding="utf-8")
    again = resolve(TrainConfig, {**SMALL, "weights": str(run.path)})
    with_preprocess(build(again.model, run.model.classes, "multiclass", 3, 32), again)
    assert "prepared otherwise (steps then: CLAHE 2, 2×2, Lab; now: none)" in heard[-1]


@pytest.mark.parametrize(
    ("settings", "mean"),
    [
        ({"colorspace": "lab"}, (0.501, 0.505, 0.531)),
        ({"preprocess.normalize": "zscore"}, (0.5, 0.5, 0.5)),
        ({"channels": "gray", "preprocess.normalize": "none"}, (0.0,)),
        ({"equalize": "clahe"}, (0.485, 0.456, 0.406)),
    ],
)
def test_the_network_stands_behind_the_mean_of_its_space(settings: dict[str, Any], mean: tuple[float, ...]) -> None:
    config = resolve(TrainConfig, {**SMALL, **settings, "data.background": "#010203"})
    built = build(config.model, ["a", "b", "c"], "multiclass", len(mean), 32)
    new, preprocess = with_preprocess(built, config)
    assert new.classifier.pixel_mean == preprocess.mean == mean
    assert new.classifier.backbone is built.classifier.backbone
    assert new.image_size == 32
    assert preprocess.background == (1, 2, 3)


def test_pretrained_weights_want_rgb(digits: Path, tmp_path: Path, heard: list[str]) -> None:
    with pytest.raises(UsageError, match=r"pretrained weights expect rgb, found lab\. Leave --colorspace at rgb"):
        anmok.train(digits, out=tmp_path / "run", model="test_resnet", weights="pretrained", colorspace="lab")
    assert not (tmp_path / "run").exists()
    check_pretrained(resolve(TrainConfig, {"weights": "pretrained", "preprocess.normalize": "zscore"}))
    assert "expect normalize standard; with zscore" in heard[0]
    check_pretrained(resolve(TrainConfig, {"weights": "pretrained", "equalize": "clahe"}))
    check_pretrained(resolve(TrainConfig, {"weights": "none", "colorspace": "lab"}))
    assert len(heard) == 1


def test_weights_without_a_folder_say_nothing(tmp_path: Path, heard: list[str]) -> None:
    from safetensors.torch import save_file

    built = build(ModelConfig(name="lenet"), ["a", "b", "c"], "multiclass", 3, 32)
    save_file(built.classifier.backbone.state_dict(), tmp_path / "w.safetensors")
    config = resolve(TrainConfig, {**SMALL, "weights": str(tmp_path / "w.safetensors"), "colorspace": "lab"})
    with_preprocess(built, config)
    assert heard == []
