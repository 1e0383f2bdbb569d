"""A calibration in the head: the folder's logits are the calibrated ones, in anmok, timm and transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from model_folders import KOREAN, Make, picture
from safetensors.torch import load_file
from torch import nn

from anmok.augment.preprocess import Preprocess
from anmok.core.errors import DataError
from anmok.core.files import verify_manifest, write_json
from anmok.deploy.bundle import load_model, save_bundle
from anmok.deploy.decision import with_section, write_decision
from anmok.deploy.fold import fold_head
from anmok.deploy.model import Model
from anmok.evaluate.calibrate import Calibration
from anmok.models.classifier import Classifier

WARM = {"multiclass": (1.7, 0.6, 1.2), "binary": (0.8, 1.5), "multilabel": (0.5, 1.4, 2.0)}
SHIFT = {"multiclass": (0.3, -0.4, 0.1), "binary": (-0.2, 0.5), "multilabel": (1.0, -1.0, 0.2)}
CASES = [
    pytest.param("lenet", {"size": 32}, id="own"),
    pytest.param("lenet", {"size": 28, "channels": 1, "classes": ["no", "yes"], "task": "binary"}, id="own-binary"),
    pytest.param("test_resnet", {"size": 64}, id="resnet"),
    pytest.param("test_convnext", {"size": 64, "channels": 1}, id="gray"),
    pytest.param("test_vit", {"size": 64, "classes": ["no", "yes"], "task": "binary"}, id="vit-binary"),
    pytest.param("test_nfnet", {"size": 64, "task": "multilabel"}, id="multilabel"),
]


def prepared(model: Model) -> np.ndarray:
    p = model.preprocess
    return np.stack([p.apply(picture(60, 80, i)[..., : p.depth]) for i in range(4)])


def calibration(kind: Any, task: Any) -> Calibration:
    if kind == "temperature":
        return Calibration(kind, task, 1.8)
    return Calibration(kind, task, weight=WARM[task], bias=SHIFT[task])


def decided(folder: Path, model: Model, made: Calibration) -> Model:
    head = fold_head(model, [made])
    write_decision(folder, {**model.decision, "temperature": 1.0}, head=head, said=["It is calibrated."])
    verify_manifest(folder)
    return load_model(folder)


@pytest.mark.parametrize("kind", ["temperature", "vector"])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_the_folder_gives_calibrated_probabilities(make: Make, name: str, options: dict[str, Any], kind: str) -> None:
    folder, classifier, _ = make(name, **options)
    model = load_model(folder)
    pixels, made = prepared(model), calibration(kind, classifier.task)
    before = model.probabilities(pixels)
    after = decided(folder, model, made)
    assert after.hash != model.hash
    found = after.probabilities(pixels)
    np.testing.assert_allclose(found, made.apply(before), atol=2e-5)
    assert np.abs(found - before).max() > 1e-3  # or nothing would be shown
    if "num_features" in (folder / "config.json").read_text():  # one that timm builds
        theirs = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
        with torch.no_grad():
            tensor = classifier.normalize(torch.from_numpy(pixels)).expand(-1, 3, -1, -1)
            logits = theirs(tensor)
        said = logits.sigmoid() if classifier.task == "multilabel" else logits.softmax(1)
        np.testing.assert_allclose(said, made.apply(before), atol=2e-5)


def test_transformers_reads_the_calibrated_head(make: Make) -> None:
    import transformers

    folder, classifier, _ = make("test_resnet", size=64)
    model = load_model(folder)
    pixels, made = prepared(model), calibration("vector", "multiclass")
    expected = made.apply(model.probabilities(pixels))
    decided(folder, model, made)
    transformers.utils.logging.set_verbosity_error()
    theirs = transformers.AutoModelForImageClassification.from_pretrained(str(folder)).eval()
    with torch.no_grad():
        logits = theirs(classifier.normalize(torch.from_numpy(pixels))).logits
    np.testing.assert_allclose(logits.softmax(1), expected, atol=2e-5)


def test_only_the_head_changes(make: Make) -> None:
    folder, _, _ = make("test_convnext", size=64, channels=1)  # whose first layer is saved for three channels
    before = load_file(folder / "model.safetensors")
    before = {name: value.clone() for name, value in before.items()}
    decided(folder, load_model(folder), calibration("temperature", "multiclass"))
    after = load_file(folder / "model.safetensors")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"head.fc.weight", "head.fc.bias"}
    assert "## Decision\n\n- It is calibrated.\n" in (folder / "README.md").read_text()


def test_calibrations_follow_one_another(make: Make) -> None:
    folder, _, _ = make("lenet", size=32)
    model = load_model(folder)
    first, second = calibration("temperature", "multiclass"), calibration("vector", "multiclass")
    pixels = prepared(model)
    expected = second.apply(first.apply(model.probabilities(pixels)))
    head = fold_head(model, [first, second])
    write_decision(folder, model.decision, head=head)
    np.testing.assert_allclose(load_model(folder).probabilities(pixels), expected, atol=2e-5)


class Scaled(nn.Module):
    """A head whose answer is multiplied, as some networks for small images have it."""

    def __init__(self, factor: float = 0.25, bias: bool = True):
        super().__init__()
        self.factor, self.out = factor, nn.Linear(3 * 16 * 16, 3, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.factor * self.out(x.flatten(1))


class Squashed(Scaled):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(x.flatten(1)).tanh()


def of_module(folder: Path, module: nn.Module) -> Model:
    classifier = Classifier(module, KOREAN, "multiclass", (0.5,) * 3, (0.25,) * 3).eval()
    save_bundle(folder, classifier, Preprocess(16, mean=(0.5,) * 3, std=(0.25,) * 3), architecture="object")
    return load_model(folder, module=module)


@pytest.mark.parametrize("kind", ["temperature", "vector"])
def test_a_head_that_is_multiplied(tmp_path: Path, kind: str) -> None:
    model = of_module(tmp_path / "m", Scaled())
    pixels, made = prepared(model), calibration(kind, "multiclass")
    expected = made.apply(model.probabilities(pixels))
    write_decision(tmp_path / "m", model.decision, head=fold_head(model, [made]))
    np.testing.assert_allclose(load_model(tmp_path / "m", module=Scaled()).probabilities(pixels), expected, atol=2e-5)


def test_what_no_head_can_carry_is_refused(tmp_path: Path) -> None:
    vector = calibration("vector", "multiclass")
    with pytest.raises(DataError, match="no bias") as caught:
        fold_head(of_module(tmp_path / "a", Scaled(bias=False)), [vector])
    assert caught.value.code == "head"
    with pytest.raises(DataError, match="not linear"):
        fold_head(of_module(tmp_path / "b", Squashed()), [vector])
    knots = tuple(((0.0, 1.0), (0.1, 0.9)) for _ in range(3))
    with pytest.raises(DataError, match="isotonic"):
        fold_head(of_module(tmp_path / "c", Scaled()), [Calibration("isotonic", "multiclass", knots=knots)])


def test_a_folder_that_was_changed_is_not_signed_anew(make: Make) -> None:
    folder, _, _ = make("lenet", size=32)
    model = load_model(folder)
    write_json(folder / "preprocess.json", {"changed": True})
    with pytest.raises(DataError, match="does not match") as caught:
        write_decision(folder, model.decision)
    assert caught.value.code == "tampered"


def test_a_failure_leaves_the_folder_as_it_was(make: Make) -> None:
    folder, _, _ = make("lenet", size=32)
    model = load_model(folder)
    with pytest.raises(DataError, match="no tensor"):
        write_decision(folder, {"version": 1, "temperature": 9.0}, head={"absent": torch.zeros(3)})
    assert load_model(folder).hash == model.hash
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]


def test_the_section_of_the_card() -> None:
    card = "# model\n\n## Results\n\nNone.\n\n## Use\n\nSo.\n\n## Limits\n\n- one\n"
    once = with_section(card, ["An alarm *from* 0.2 on."])
    assert once.index("## Results") < once.index("## Decision") < once.index("## Use")
    assert r"\*from\*" in once
    twice = with_section(once, ["Another."])
    assert twice.count("## Decision") == 1
    assert "alarm" not in twice
    assert with_section(twice, []) == card
