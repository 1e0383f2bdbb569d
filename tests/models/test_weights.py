from __future__ import annotations

import json
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models.vision_transformer import checkpoint_filter_fn
from torchvision import models as torchvision

from anmok.core.errors import DataError, UsageError
from anmok.core.files import write_manifest
from anmok.core.pixels import GRAY_MEAN, IMAGENET_MEAN
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


@pytest.mark.parametrize("classes", [None, ["a", "b", "z"], ["x", "y", "z"]])
def test_the_head_is_kept_only_for_the_same_classes(tmp_path: Path, classes: list[str] | None) -> None:
    theirs = LeNet(3, 3)
    file = save(tmp_path, theirs, classes)
    built = build(ModelConfig(name="lenet", weights=str(file)), ABC, "multiclass")
    own = built.classifier.backbone
    assert torch.equal(own.conv1.weight, theirs.conv1.weight)
    assert not torch.equal(own.fc3.weight, theirs.fc3.weight)
    assert "starts anew" in built.said[0]


def test_a_head_in_another_order_follows_the_names(tmp_path: Path) -> None:
    theirs = LeNet(3, 3)
    file = save(tmp_path, theirs, ["c", "a", "b"])
    built = build(ModelConfig(name="lenet", weights=str(file)), ABC, "multiclass")
    own = built.classifier.backbone
    assert torch.equal(own.fc3.weight, theirs.fc3.weight[[1, 2, 0]])
    assert torch.equal(own.fc3.bias, theirs.fc3.bias[[1, 2, 0]])
    assert torch.equal(own.fc2.weight, theirs.fc2.weight)
    assert "its rows follow their names" in built.said[0]


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


def test_a_pretraining_runs_encoder_has_no_head(tmp_path: Path) -> None:
    theirs = timm.create_model("test_resnet", num_classes=0)
    file = save(tmp_path / "run" / "encoder", theirs)
    (file.parent / "config.json").write_text(json.dumps({"architecture": "test_resnet", "num_classes": 0}))
    assert find_weights(tmp_path / "run") == file == find_weights(file.parent)
    built = build(ModelConfig(name="test_resnet", weights=str(tmp_path / "run")), ABC, "multiclass", image_size=32)
    own = built.classifier.backbone.state_dict()
    assert all(torch.equal(own[k], v) for k, v in theirs.state_dict().items())
    assert built.said == ["the head (fc) starts anew: model.safetensors holds none"]
    save(tmp_path / "run" / "model", timm.create_model("test_resnet", num_classes=3), ABC)
    assert find_weights(tmp_path / "run").parent.name == "model"


def beside(file: Path, **values: object) -> None:
    pre = {"image_size": 48, "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "colorspace": "rgb", **values}
    (file.parent / "preprocess.json").write_text(json.dumps({"normalize": "standard", **pre}))


def test_size_and_normalisation_are_what_the_weights_have_seen(tmp_path: Path) -> None:
    file = save(tmp_path, LeNet(3, 3), ABC)
    beside(file)
    config = ModelConfig(name="lenet", weights=str(file))
    built = build(config, ABC, "multiclass")
    assert built.image_size == 48
    assert (built.classifier.pixel_mean, built.classifier.pixel_std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert "images are 48 pixels" in built.said[0]
    assert "0.1 ± 0.4, 0.2 ± 0.5, 0.3 ± 0.6" in built.said[1]
    built = build(config, ABC, "multiclass", image_size=64)
    assert built.image_size == 64
    assert "trained at 48 pixels, here they see 64" in built.said[0]
    beside(file, normalize="minmax")  # another range: its numbers mean nothing here
    assert build(config, ABC, "multiclass").classifier.pixel_mean == IMAGENET_MEAN
    beside(file)
    assert build(config, ABC, "multiclass", channels=1).classifier.pixel_mean == GRAY_MEAN
    beside(file, image_size="wide")
    with pytest.raises(DataError, match="damaged") as caught:
        build(config, ABC, "multiclass")
    assert caught.value.code == "damaged"


def test_position_embeddings_are_interpolated_as_timm_does(tmp_path: Path) -> None:
    theirs = timm.create_model("test_vit", num_classes=3)
    file = save(tmp_path, theirs, ABC)
    built = build(ModelConfig(name="test_vit", weights=str(file)), ABC, "multiclass", image_size=96)
    expected = timm.create_model("test_vit", num_classes=3, img_size=96)
    filtered = checkpoint_filter_fn(theirs.state_dict(), expected)
    assert all(torch.equal(v, filtered[k]) for k, v in built.classifier.backbone.state_dict().items())
    assert "pos_embed (1, 101, 64) is interpolated to (1, 37, 64)" in built.said[0]


def test_positions_of_a_network_that_is_not_timms(tmp_path: Path) -> None:
    theirs = torchvision.VisionTransformer(32, 8, 1, 1, 16, 16, num_classes=3)
    own = torchvision.VisionTransformer(48, 8, 1, 1, 16, 16, num_classes=3)
    said = load_into(own, save(tmp_path, theirs, ABC), ("heads.head",), ABC)
    assert said == ["encoder.pos_embedding (1, 17, 16) is interpolated to (1, 37, 16)"]
    got, was = own.encoder.pos_embedding[0], theirs.encoder.pos_embedding[0]
    assert torch.equal(got[0], was[0])  # the class token's
    grid = was[1:].detach().T.reshape(1, 16, 4, 4)
    wanted = torch.nn.functional.interpolate(grid, size=(6, 6), mode="bicubic", antialias=True)
    torch.testing.assert_close(got[1:], wanted.reshape(16, 36).T)


def test_positions_that_are_no_grid_are_a_mismatch(tmp_path: Path) -> None:
    theirs = timm.create_model("test_vit", num_classes=3)
    theirs.pos_embed = torch.nn.Parameter(torch.zeros(1, 101, 32))
    network = timm.create_model("test_vit", num_classes=3, img_size=96)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    with pytest.raises(DataError, match=r"pos_embed \(1, 101, 32\) instead of \(1, 37, 64\)") as caught:
        load_into(network, save(tmp_path, theirs, ABC), ("head",), ABC)
    assert caught.value.code == "weights-mismatch"
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
