"""timm and transformers read the model folder and say what anmok says."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from model_folders import KOREAN, Make, picture
from PIL import Image

from anmok.deploy.bundle import load_model

CASES = [
    pytest.param("test_resnet", {"size": 64}, id="resnet"),
    pytest.param("test_resnet", {"size": 48, "fit": "crop", "crop_pct": 0.95}, id="crop"),
    pytest.param("test_vit", {"size": 96, "drop": 0.2}, id="vit-other-size"),
    pytest.param("test_vit", {"size": None}, id="vit-own-size"),
    pytest.param("test_convnext", {"size": 64, "channels": 1}, id="gray"),
    pytest.param("test_vit2", {"size": 64, "channels": 1}, id="gray-vit"),
    pytest.param("fastvit_t8", {"size": 64, "channels": 1}, id="gray-two-first-layers"),
    pytest.param("test_efficientnet", {"size": 64, "classes": ["아님", "맞음"], "task": "binary"}, id="binary"),
    pytest.param(
        "test_resnet", {"size": 64, "classes": ["no", "yes"], "task": "binary", "channels": 1}, id="binary-gray"
    ),
    pytest.param("test_nfnet", {"size": 64, "task": "multilabel"}, id="multilabel"),
    pytest.param("resnet10t.c3_in1k", {"size": 40}, id="tagged"),
]


def pipeline(folder: Path, k: int) -> Any:
    import transformers

    transformers.utils.logging.set_verbosity_error()
    return transformers.pipeline("image-classification", model=str(folder), top_k=k, device="cpu")


@pytest.mark.parametrize(("name", "options"), CASES)
def test_same_probabilities(make: Make, photos: list[Path], name: str, options: dict[str, Any]) -> None:
    folder, classifier, preprocess = make(name, **options)
    classes, multilabel = classifier.classes, classifier.task == "multilabel"
    pixels = np.stack([preprocess.apply(picture(80, 100, i)[..., : preprocess.depth]) for i in range(3)])
    with torch.no_grad():
        expected = classifier.probabilities(torch.from_numpy(pixels))
        tensor = classifier.normalize(torch.from_numpy(pixels)).expand(-1, 3, -1, -1)
    assert expected.std() > 0.01  # a network that says the same of everything would prove nothing
    model = load_model(folder)
    np.testing.assert_allclose(model.probabilities(pixels), expected, atol=1e-6)

    def activate(logits: torch.Tensor) -> torch.Tensor:
        return logits.sigmoid() if multilabel else logits.softmax(1)

    theirs = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    classify = pipeline(folder, len(classes))
    with torch.no_grad():
        torch.testing.assert_close(activate(theirs(tensor)), expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(activate(classify.model(tensor).logits), expected, atol=1e-5, rtol=0)
    assert list(theirs.pretrained_cfg["label_names"]) == classes
    assert list(classify.model.config.id2label.values()) == classes

    ours = model.predict(photos)
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(theirs))
    for photo, row in zip(photos, ours.probs, strict=True):
        said = {item["label"]: item["score"] for item in classify(str(photo))}
        found = np.array([said[c] for c in classes])
        assert found.argmax() == row.argmax()
        np.testing.assert_allclose(found, row, atol=0.02)
        with torch.no_grad():
            row2 = activate(theirs(transform(Image.open(photo).convert("RGB"))[None]))[0].numpy()
        np.testing.assert_allclose(row2, row, atol=0.02)


def test_letterbox_is_the_same_on_the_same_tensor(make: Make) -> None:
    folder, classifier, preprocess = make("test_resnet", size=48, fit="letterbox")
    pixels = preprocess.apply(picture(30, 50))[None]
    theirs = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    with torch.no_grad():
        found = theirs(classifier.normalize(torch.from_numpy(pixels))).softmax(1)
    np.testing.assert_allclose(found, load_model(folder).probabilities(pixels), atol=1e-5)
    assert theirs.pretrained_cfg["crop_mode"] == "border"
    assert "pad with the mean colour" in (folder / "README.md").read_text()


def test_a_stem_that_cannot_hold_three_channels_is_saved_for_one(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    from anmok.deploy import portable

    honest = portable._same_logits
    monkeypatch.setattr(portable, "_same_logits", lambda b, copy, c, s: copy.in_chans == 1 and honest(b, copy, c, s))
    folder, classifier, preprocess = make("test_resnet", size=48, channels=1)
    theirs = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    pixels = preprocess.apply(picture(30, 50)[..., :1])[None].copy()
    with torch.no_grad():
        found = theirs(classifier.normalize(torch.from_numpy(pixels))).softmax(1)
    np.testing.assert_allclose(found, load_model(folder).probabilities(pixels), atol=1e-5)
    card = (folder / "README.md").read_text()
    assert 'convert("L")' in card
    assert "pipeline(" not in card


def test_what_the_folder_holds_for_others(make: Make) -> None:
    folder, _, _ = make("test_vit", size=96, drop=0.2)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert "유리" in (folder / "config.json").read_text(encoding="utf-8")
    assert config["label_names"] == KOREAN
    assert config["model_args"] == {"in_chans": 3, "img_size": 96, "drop_rate": 0.2}
    assert config["pretrained_cfg"]["interpolation"] == "bilinear"
    assert config["problem_type"] == "single_label_classification"
    assert timm.create_model(f"local-dir:{folder}", pretrained=True).head_drop.p == 0.2


@pytest.mark.parametrize(
    "options",
    [{}, {"task": "multilabel"}, {"classes": ["no", "yes"], "task": "binary"}, {"channels": 1}],
    ids=["multiclass", "multilabel", "binary", "gray"],
)
def test_the_code_on_the_card_runs_and_agrees(
    make: Make, photos: list[Path], capsys: pytest.CaptureFixture[str], options: dict[str, Any]
) -> None:
    folder, classifier, _ = make("test_resnet", size=64, **options)
    blocks = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.S)
    assert len(blocks) == 3
    expected = dict(zip(classifier.classes, load_model(folder).predict(photos[0]).probs[0].tolist(), strict=True))
    for block in blocks[1:]:
        with warnings.catch_warnings():
            exec(block.replace("FOLDER", str(folder)).replace("IMAGE", str(photos[0])), {})
    said = [eval(line) for line in capsys.readouterr().out.splitlines() if line.startswith(("{", "["))]
    by_pipeline = {item["label"]: item["score"] for item in said[1]}
    for label, p in expected.items():
        assert said[0][label] == pytest.approx(p, abs=0.005)
        assert by_pipeline[label] == pytest.approx(p, abs=0.005)
