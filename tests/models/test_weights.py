from __future__ import annotations

import json
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from anmok.core.errors import DataError, UsageError
from anmok.core.files import write_manifest
from anmok.models.build import build
from anmok.models.config import ModelConfig
from anmok.models.lenet import LeNet
from anmok.models.weights import PICKLED, find_weights, load_into

ABC = ["a", "b", "c"]


def save(folder: Path, network: torch.nn.Module, classes: list[str] | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    save_file(network.state_dict(), folder / "model.safetensors")
    if classes:
        (folder / "config.json").write_text(json.dumps({"label_names": classes}))
    return folder / "model.safetensors"


def test_a_file_a_folder_and_a_run_mean_the_same(tmp_path: Path) -> None:
    theirs = LeNet(3, 3)
    file = save(tmp_path / "run" / "model", theirs, ABC)
    assert find_weights(file) == find_weights(file.parent) == find_weights(tmp_path / "run") == file
    built = build(ModelConfig(name="lenet", weights=str(tmp_path / "run")), ABC, "multiclass")
    own = built.classifier.backbone.state_dict()
    assert all(torch.equal(own[k], v) for k, v in theirs.state_dict().items())
    assert built.said == []


@pytest.mark.parametrize("classes", [None, ["c", "b", "a"], ["x", "y", "z"]])
def test_the_head_is_kept_only_for_the_same_classes_in_order(tmp_path: Path, classes: list[str] | None) -> None:
    theirs = LeNet(3, 3)
    file = save(tmp_path, theirs, classes)
    built = build(ModelConfig(name="lenet", weights=str(file)), ABC, "multiclass")
    own = built.classifier.backbone
    assert torch.equal(own.conv1.weight, theirs.conv1.weight)
    assert not torch.equal(own.fc3.weight, theirs.fc3.weight)
    assert "starts anew" in built.said[0]


def test_another_number_of_classes(tmp_path: Path) -> None:
    file = save(tmp_path, LeNet(10, 3), [str(i) for i in range(10)])
    assert build(ModelConfig(name="lenet", weights=str(file)), ABC, "multiclass").classifier.outputs == 3


def test_colour_weights_for_grey_images_and_back(tmp_path: Path) -> None:
    colour, grey = LeNet(3, 3), LeNet(3, 1)
    a, b = save(tmp_path / "a", colour, ABC), save(tmp_path / "b", grey, ABC)
    built = build(ModelConfig(name="lenet", weights=str(a)), ABC, "multiclass", channels=1)
    torch.testing.assert_close(
        built.classifier.backbone.conv1.weight.data, colour.conv1.weight.data.sum(1, keepdim=True)
    )
    assert "conv1.weight" in built.said[0]
    built = build(ModelConfig(name="lenet", weights=str(b)), ABC, "multiclass", channels=3)
    torch.testing.assert_close(built.classifier.backbone.conv1.weight.data.sum(1, keepdim=True), grey.conv1.weight.data)


def test_a_head_of_two_logits_becomes_one(tmp_path: Path) -> None:
    theirs = LeNet(2, 3)
    file = save(tmp_path, theirs, ["no", "yes"])
    built = build(ModelConfig(name="lenet", weights=str(file)), ["no", "yes"], "binary")
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        two = theirs.eval()(images)
        torch.testing.assert_close(built.classifier.backbone.eval()(images)[:, 0], two[:, 1] - two[:, 0])


def test_weights_of_another_architecture_name_what_differs_and_load_nothing(tmp_path: Path) -> None:
    file = save(tmp_path, timm.create_model("test_resnet", num_classes=3), ABC)
    with pytest.raises(DataError) as caught:
        build(ModelConfig(name="lenet", weights=str(file)), ABC, "multiclass")
    text = str(caught.value)
    assert caught.value.code == "weights-mismatch"
    assert "missing (conv1.bias" in text
    assert "unknown (bn1.bias" in text
    assert "of another shape" not in text
    network = LeNet(3, 3)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    half = {**LeNet(3, 3).state_dict(), "conv2.weight": torch.zeros(16, 6, 3, 3)}
    save_file(half, tmp_path / "half.safetensors")
    with pytest.raises(DataError, match=r"conv2.weight \(16, 6, 3, 3\) instead of \(16, 6, 5, 5\)"):
        load_into(network, tmp_path / "half.safetensors", ("fc3",), ABC)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


@pytest.mark.parametrize("suffix", sorted(PICKLED))
def test_a_pickled_file_is_refused_unread(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"weights{suffix}"
    file.write_bytes(b"cos\nsystem\n(S'touch ran'\ntR.")
    for path in (file, tmp_path):
        with pytest.raises(DataError, match="pickled") as caught:
            build(ModelConfig(name="lenet", weights=str(path)), ABC, "multiclass")
        assert caught.value.code == "pickle"
        assert "convert --trust" in str(caught.value)


def test_no_weights_and_damaged_weights(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no weights here"):
        find_weights(tmp_path / "nothing")
    (tmp_path / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(DataError, match="not a readable"):
        build(ModelConfig(name="lenet", weights=str(tmp_path)), ABC, "multiclass")


def test_a_folder_that_fails_its_manifest_is_refused(tmp_path: Path) -> None:
    file = save(tmp_path, LeNet(3, 3), ABC)
    write_manifest(tmp_path)
    assert find_weights(tmp_path) == file
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises(DataError, match="SHA-256"):
        find_weights(tmp_path)
