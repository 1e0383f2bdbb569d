"""Model folders whose preprocessing has steps that only anmok knows: they come back whole, and say so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from huggingface_hub import ModelCard
from model_folders import KOREAN, picture, wake
from PIL import Image

from anmok.augment.preprocess import Preprocess
from anmok.core.errors import DataError
from anmok.core.files import MANIFEST, write_json, write_manifest
from anmok.data.decode import decode
from anmok.deploy.bundle import load_model, save_bundle
from anmok.deploy.card import Card, write_card
from anmok.models.build import build
from anmok.models.classifier import Classifier
from anmok.models.config import ModelConfig

CASES = [
    {"equalize": "clahe", "clip_limit": 3.0, "tiles": 4, "colorspace": "lab"},
    {"equalize": "global", "fit": "letterbox", "background": (9, 80, 200)},
    {"colorspace": "hsv", "fit": "crop", "crop_pct": 0.9},
    {"equalize": "luminance", "normalize": "zscore"},
    {"colorspace": "ycrcb", "normalize": "minmax"},
    {"channels": "gray", "equalize": "clahe", "normalize": "zscore"},
]


def saved(folder: Path, name: str = "test_resnet", **steps: Any) -> tuple[Path, Classifier, Preprocess]:
    pre = Preprocess(48, **steps)
    built = build(ModelConfig(name=name), KOREAN, "multiclass", pre.depth, 48).classifier
    classifier = Classifier(built.backbone, built.classes, built.task, pre.mean, pre.std, built.outputs).eval()
    wake(classifier)
    return save_bundle(folder / "model", classifier, pre, architecture=name), classifier, pre


@pytest.mark.parametrize("steps", CASES, ids=lambda s: "-".join(map(str, s)))
def test_a_folder_prepares_as_it_was_trained(tmp_path: Path, photos: list[Path], steps: dict[str, Any]) -> None:
    folder, classifier, pre = saved(tmp_path, **steps)
    model = load_model(folder)
    assert model.preprocess == pre
    pixels = np.stack(
        [pre.apply(decode(p.read_bytes(), channels=pre.channels, background=pre.background)) for p in photos]
    )
    with torch.no_grad():
        expected = classifier.probabilities(torch.from_numpy(pixels)).numpy()
    np.testing.assert_allclose(model.predict(photos).probs, expected, atol=1e-6)
    plain = Preprocess(48, pre.channels, pre.fit, pre.crop_pct, background=pre.background)
    raw = np.stack([plain.apply(decode(p.read_bytes(), channels=pre.channels)) for p in photos])
    assert np.abs(model.probabilities(raw) - expected).max() > 1e-3  # the steps matter


@pytest.mark.parametrize("steps", [CASES[0], CASES[3], CASES[5]], ids=lambda s: "-".join(map(str, s)))
def test_timm_answers_the_same_for_pixels_that_are_prepared(tmp_path: Path, steps: dict[str, Any]) -> None:
    folder, classifier, pre = saved(tmp_path, **steps)
    pixels = torch.from_numpy(pre.apply(picture(90, 70)[..., : pre.depth].copy())[None])
    theirs = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    cfg = theirs.pretrained_cfg
    tensor = (pixels.permute(0, 3, 1, 2) / 255).expand(-1, 3, -1, -1)
    tensor = (tensor - torch.tensor(cfg["mean"]).view(1, 3, 1, 1)) / torch.tensor(cfg["std"]).view(1, 3, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(theirs(tensor).softmax(1), classifier.probabilities(pixels), atol=1e-5, rtol=0)


def test_the_card_says_what_others_do_not_do(tmp_path: Path) -> None:
    folder, _, _ = saved(tmp_path, **CASES[0])
    text = (folder / "README.md").read_text(encoding="utf-8")
    for part in (
        "Only anmok prepares images so.", "what they answer for an image file is wrong", "CLAHE 3, 4×4, Lab",
        "short side resized to 62 pixels", "equalised by CLAHE (clip limit 3, 4×4 tiles)", "converted to lab",
        "mean 0.501, 0.505, 0.531", "anmok.load(",
    ):  # fmt: skip
        assert part in text, part
    assert "timm.create_model" not in text
    assert "pipeline(" not in text
    card = ModelCard.load(folder / "README.md")
    assert card.data.library_name == "anmok"
    assert not {"timm", "transformers"} & set(card.data.tags)


@pytest.mark.parametrize(
    ("steps", "part"),
    [
        ({"equalize": "global"}, "the histogram of each channel equalised"),
        ({"equalize": "luminance"}, "its luminance (Y of YCrCb) equalised"),
        ({"colorspace": "xyz"}, "CIE XYZ in 8 bits as shares of white"),
        ({"normalize": "minmax"}, "its channels together stretched from its own minimum and maximum"),
        ({"colorspace": "lab", "normalize": "minmax"}, "each channel stretched"),
        ({"normalize": "zscore"}, "mean 127.5 and standard deviation 31.875"),
    ],
)
def test_every_step_is_told(steps: dict[str, Any], part: str) -> None:
    config = {"anmok": {"task": "multiclass", "module": None}, "label_names": KOREAN, "architecture": "lenet"}
    text = write_card(Card(), config, Preprocess(32, **steps))
    assert part in text
    assert "timm" not in text  # lenet is nobody else's


def test_without_normalisation_others_still_agree(tmp_path: Path, photos: list[Path]) -> None:
    folder, _, pre = saved(tmp_path, normalize="none")
    assert pre.plain
    theirs = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(theirs))
    ours = load_model(folder).predict(photos).probs
    with torch.no_grad():
        probs = torch.cat([theirs(transform(Image.open(p).convert("RGB"))[None]).softmax(1) for p in photos]).numpy()
    np.testing.assert_allclose(probs, ours, atol=0.02)
    assert "timm.create_model" in (folder / "README.md").read_text(encoding="utf-8")


def test_an_unknown_step_is_refused(tmp_path: Path) -> None:
    folder, _, pre = saved(tmp_path, "lenet", colorspace="lab")
    write_json(folder / "preprocess.json", {**pre.to_dict(), "colorspace": "oklab"})
    (folder / MANIFEST).unlink()
    write_manifest(folder)
    assert json.loads((folder / "preprocess.json").read_text())["colorspace"] == "oklab"
    with pytest.raises(DataError, match="no such colorspace as oklab"):
        load_model(folder)
