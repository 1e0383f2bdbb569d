"""The model folder, written and read by anmok itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from model_folders import KOREAN, Make, picture, wake
from safetensors.torch import load_file
from torch import nn

from anmok.augment.preprocess import Preprocess
from anmok.core.errors import DataError, UsageError
from anmok.core.files import verify_manifest, write_json, write_manifest
from anmok.deploy.bundle import load_model, save_bundle
from anmok.models.build import build
from anmok.models.classifier import Classifier
from anmok.models.config import ModelConfig
from anmok.models.lenet import LeNet

FILES = {"config.json", "model.safetensors", "preprocess.json", "decision.json", "README.md", "MANIFEST.sha256"}

OWN_CODE = """
from torch import nn

def make(num_classes, in_chans):
    return nn.Sequential(nn.Conv2d(in_chans, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes))

class Net(nn.Module):
    def __init__(self, num_classes=5, in_chans=3):
        super().__init__()
        self.net = make(num_classes, in_chans)

    def forward(self, x):
        return self.net(x)

class Fixed(Net):
    def __init__(self):
        super().__init__(3, 3)

class Scaled(Fixed):
    scale = 1.0

    def forward(self, x):
        return self.net(x) * self.scale

class Asks(Fixed):
    def __init__(self, width):
        super().__init__()
"""


@pytest.fixture
def own_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module of the user's own in the current folder."""
    name = f"users_code_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(OWN_CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return __import__(name)


def save_object(
    folder: Path, module: nn.Module, classes: list[str] = KOREAN, task: Any = "multiclass"
) -> tuple[Path, Classifier, Preprocess]:
    classifier = build(ModelConfig(), classes, task, 3, 20, module=module).classifier.eval()
    wake(classifier)
    preprocess = Preprocess(20, mean=classifier.pixel_mean, std=classifier.pixel_std)
    return save_bundle(folder, classifier, preprocess, architecture="object"), classifier, preprocess


def agree(folder: Path, classifier: Classifier, preprocess: Preprocess, **options: Any) -> None:
    pixels = np.stack([preprocess.apply(picture(40, 50, i)[..., : preprocess.depth]) for i in range(3)])
    with torch.no_grad():
        expected = classifier.probabilities(torch.from_numpy(pixels))
    assert expected.std() > 1e-3
    model = load_model(folder, **options)
    np.testing.assert_allclose(model.probabilities(pixels), expected, atol=1e-6)
    assert model.classes == classifier.classes
    assert model.task == classifier.task
    assert model.preprocess == preprocess


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("lenet", {"size": 28, "channels": 1}),
        ("lenet", {"size": None, "classes": ["no", "yes"], "task": "binary"}),
        ("lenet", {"size": 40, "task": "multilabel", "fit": "letterbox"}),
        ("torchvision/mobilenet_v3_small", {"size": 48, "channels": 1}),
        ("torchvision/vit_b_32", {"size": 64, "classes": ["no", "yes"], "task": "binary"}),
        ("test_resnet", {"size": 32, "channels": 1}),
        ("test_vit", {"size": 64, "classes": ["no", "yes"], "task": "binary"}),
    ],
)
def test_a_network_by_name_comes_back(make: Make, name: str, options: dict[str, Any]) -> None:
    folder, classifier, preprocess = make(name, **options)
    assert {p.name for p in folder.iterdir()} == FILES
    verify_manifest(folder)
    agree(folder, classifier, preprocess)
    state = load_file(folder / "model.safetensors")
    assert all(v.dtype in (torch.float32, torch.int64) for v in state.values())


def test_a_module_is_passed_over_for_a_network_built_by_name(make: Make) -> None:
    folder, classifier, preprocess = make("lenet", ["no", "yes"], "binary")
    agree(folder, classifier, preprocess, module=classifier.backbone)


def test_one_logit_is_written_as_two(make: Make) -> None:
    folder, classifier, _ = make("lenet", ["no", "yes"], "binary", size=None)
    state = load_file(folder / "model.safetensors")
    assert torch.equal(state["fc3.weight"][1:], classifier.backbone.fc3.weight)
    assert not state["fc3.weight"][:1].any()
    assert not state["fc3.bias"][:1].any()
    assert load_model(folder).classifier.outputs == 2
    built = build(ModelConfig(name="lenet", weights=str(folder)), ["no", "yes"], "binary")
    assert torch.equal(built.classifier.backbone.fc3.weight, classifier.backbone.fc3.weight)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_grey_folder_gives_weights_for_grey_and_colour(make: Make, channels: int) -> None:
    folder, classifier, _ = make("test_resnet", size=32, channels=1)
    built = build(ModelConfig(name="test_resnet", weights=str(folder)), KOREAN, "multiclass", channels, 32)
    first = next(iter(built.classifier.backbone.state_dict().values()))
    theirs = next(iter(classifier.backbone.state_dict().values()))
    torch.testing.assert_close(first.sum(1, keepdim=True), theirs)


def test_own_code_comes_back_from_where_it_lies(own_code: Any, make: Make) -> None:
    folder, classifier, preprocess = make(f"{own_code.__name__}:make", size=20)
    agree(folder, classifier, preprocess)
    config = json.loads((folder / "config.json").read_text())
    assert config["architecture"] == f"{own_code.__name__}:make"
    assert "pretrained_cfg" not in config
    assert "never from this folder" in (folder / "README.md").read_text()


def test_own_code_that_is_gone_is_named(own_code: Any, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, classifier, preprocess = make(f"{own_code.__name__}:make", size=20)
    monkeypatch.delitem(sys.modules, own_code.__name__)
    Path(f"{own_code.__name__}.py").unlink()
    with pytest.raises(UsageError, match=f"cannot import {own_code.__name__}"):
        load_model(folder)
    agree(folder, classifier, preprocess, module=own_code.make(3, 3))


@pytest.mark.parametrize(("name", "arguments"), [("Net", {"num_classes": 3, "in_chans": 3}), ("Fixed", {})])
def test_an_object_comes_back_by_its_class(own_code: Any, tmp_path: Path, name: str, arguments: dict[str, int]) -> None:
    module = getattr(own_code, name)(**arguments)
    folder, classifier, preprocess = save_object(tmp_path / "model", module)
    ours = json.loads((folder / "config.json").read_text())["anmok"]
    assert ours["module"] == f"{own_code.__name__}:{name}"
    assert ours["arguments"] == arguments
    agree(folder, classifier, preprocess)


def test_an_object_of_a_binary_task_keeps_its_logit(own_code: Any, tmp_path: Path) -> None:
    folder, classifier, preprocess = save_object(tmp_path / "model", own_code.Net(1), ["no", "yes"], "binary")
    agree(folder, classifier, preprocess)
    assert load_model(folder).classifier.outputs == 1


def test_an_object_nobody_can_build_needs_module(own_code: Any, tmp_path: Path) -> None:
    changed = own_code.Scaled()
    changed.scale = 2.0  # the class alone would give other logits
    sequence = nn.Sequential(nn.Flatten(), nn.Linear(20 * 20 * 3, 3))
    for i, module in enumerate([changed, own_code.Asks(3), sequence]):
        folder, classifier, preprocess = save_object(tmp_path / str(i), module)
        with pytest.raises(DataError, match=r"module=network") as caught:
            load_model(folder)
        assert caught.value.code == "module"
        again = {
            0: own_code.Scaled,
            1: lambda: own_code.Asks(3),
            2: lambda: nn.Sequential(nn.Flatten(), nn.Linear(1200, 3)),
        }[i]()
        if i == 0:
            again.scale = 2.0
        agree(folder, classifier, preprocess, module=again)
        assert "module=network" in (folder / "README.md").read_text()
    with pytest.raises(DataError, match="do not fit"):
        load_model(folder, module=nn.Sequential(nn.Flatten(), nn.Linear(1200, 4)))


def test_a_lazy_module_takes_the_shapes_of_its_file(tmp_path: Path) -> None:
    def lazy() -> nn.Module:
        return nn.Sequential(nn.LazyConv2d(4, 3), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.LazyLinear(3))

    folder, classifier, preprocess = save_object(tmp_path / "model", lazy())
    agree(folder, classifier, preprocess, module=lazy())


def test_half_precision_and_shared_tensors(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.out = nn.Linear(1200, 3), nn.Linear(1200, 3)
            self.out.weight = self.one.weight
            self.register_buffer("view", self.one.weight.detach()[0])

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.one(x.flatten(1).to(self.one.weight.dtype)) + self.out(x.flatten(1).to(self.one.weight.dtype))

    module = Tied().to(torch.bfloat16)
    classifier = Classifier(module, KOREAN, "multiclass", (0.5,) * 3, (0.5,) * 3).eval()
    preprocess = Preprocess(20, mean=(0.5,) * 3, std=(0.5,) * 3)
    folder = save_bundle(tmp_path / "model", classifier, preprocess, architecture="object")
    state = load_file(folder / "model.safetensors")
    assert {v.dtype for v in state.values()} == {torch.float32}
    assert torch.equal(state["one.weight"], module.one.weight.float())
    pixels = preprocess.apply(picture(30, 30))[None].copy()
    with torch.no_grad():
        expected = classifier.probabilities(torch.from_numpy(pixels))
    np.testing.assert_allclose(load_model(folder, module=Tied()).probabilities(pixels), expected, atol=0.02)


def test_a_compiled_network_is_saved_as_itself(tmp_path: Path) -> None:
    class Compiled(nn.Module):  # what torch.compile returns, as far as its state goes
        def __init__(self, inner: nn.Module):
            super().__init__()
            self._orig_mod = inner

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self._orig_mod(x)

    classifier = Classifier(Compiled(LeNet(3, 3)), KOREAN, "multiclass", (0.5,) * 3, (0.5,) * 3).eval()
    folder = save_bundle(
        tmp_path / "m", classifier, Preprocess(32, mean=(0.5,) * 3, std=(0.5,) * 3), architecture="lenet"
    )
    assert "conv1.weight" in load_file(folder / "model.safetensors")


def test_a_name_that_builds_another_network_is_refused(tmp_path: Path) -> None:
    classifier = Classifier(LeNet(3, 3), KOREAN, "multiclass", (0.5,) * 3, (0.5,) * 3).eval()
    preprocess = Preprocess(32, mean=(0.5,) * 3, std=(0.5,) * 3)
    with pytest.raises(UsageError, match="does not build this network again"):
        save_bundle(tmp_path / "model", classifier, preprocess, architecture="test_resnet")
    assert list(tmp_path.iterdir()) == []
    for other in (Preprocess(32), Preprocess(32, "gray", mean=(0.5,), std=(0.5,))):
        with pytest.raises(ValueError, match="normalises"):
            save_bundle(tmp_path / "model", classifier, other, architecture="lenet")
    with pytest.raises(ValueError, match="checkpoint_path"):
        save_bundle(
            tmp_path / "model", classifier, preprocess, architecture="lenet", model_args={"checkpoint_path": "x"}
        )


def test_saving_again_replaces_the_folder(make: Make) -> None:
    folder, _, _ = make("lenet")
    (folder / "left-over.txt").write_text("x")
    first = load_model(folder).hash
    folder, classifier, preprocess = make("lenet", ["x", "y"], "binary")
    assert {p.name for p in folder.iterdir()} == FILES
    assert load_model(folder).hash != first
    agree(folder, classifier, preprocess)
    assert [p.name for p in folder.parent.iterdir() if p.name.startswith(".")] == []


def test_saving_and_loading_leave_the_generator_alone(make: Make, tmp_path: Path) -> None:
    folder, classifier, preprocess = make("lenet")
    before = torch.get_rng_state()
    save_bundle(folder, classifier, preprocess, architecture="lenet")
    load_model(folder)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_run_folder_means_its_model(make: Make, tmp_path: Path) -> None:
    folder, _, _ = make("lenet")
    assert load_model(tmp_path).hash == load_model(folder).hash


def test_no_model(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no model here"):
        load_model(tmp_path)
    with pytest.raises(UsageError, match="no model here"):
        load_model(tmp_path / "absent")


def edit(folder: Path, name: str, **values: Any) -> None:
    content = json.loads((folder / name).read_text(encoding="utf-8"))
    for path, value in values.items():
        node, (*parts, last) = content, path.split("__")
        for part in parts:
            node = node[part]
        node[last] = value
    write_json(folder / name, content)
    write_manifest(folder)


@pytest.mark.parametrize(
    ("name", "values", "code", "match"),
    [
        ("config.json", {"anmok__version": 2}, "version", "version 2 is not known"),
        ("config.json", {"anmok": None}, "version", "not written by anmok"),
        ("config.json", {"label_names": ["a"]}, "damaged", "label_names"),
        ("config.json", {"label_names": ["a", "b"]}, "damaged", "outputs"),
        ("config.json", {"anmok__task": "regression"}, "damaged", "task"),
        ("config.json", {"model_args__checkpoint_path": 1}, "damaged", "unknown model_args: checkpoint_path"),
        ("config.json", {"model_args__drop_rate": "x.pth"}, "damaged", "model_args"),
        ("config.json", {"anmok__arguments": {"path": "x.pth"}}, "damaged", "arguments"),
        ("config.json", {"architecture": "test_efficientnet"}, "weights-mismatch", "do not fit"),
        ("preprocess.json", {"version": 7}, "damaged", "version 7"),
        ("preprocess.json", {"surprise": 7}, "damaged", "surprise"),
        ("decision.json", {"version": 7}, "version", "decision.json"),
        ("decision.json", {"temperature": 0}, "damaged", "temperature"),
    ],
)
def test_settings_of_another_version_or_damaged(
    make: Make, name: str, values: dict[str, Any], code: str, match: str
) -> None:
    folder, _, _ = make("test_resnet", size=32)
    load_model(folder)
    edit(folder, name, **values)
    with pytest.raises(DataError, match=match) as caught:
        load_model(folder)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("task", "classes", "thresholds"),
    [
        ("multiclass", KOREAN, None),
        ("binary", ["no", "yes"], {"yes": 0.5}),
        ("multilabel", ["a", "b"], {"a": 0.5, "b": 0.5}),
    ],
)
def test_the_default_decision(make: Make, task: str, classes: list[str], thresholds: Any) -> None:
    folder, _, _ = make("lenet", classes, task)
    expected = {"version": 1, "temperature": 1.0, "thresholds": thresholds, "costs": None}
    assert json.loads((folder / "decision.json").read_text()) == expected


def test_temperature_divides_the_logits(make: Make) -> None:
    decision = {"version": 1, "temperature": 2.0, "thresholds": None, "costs": None}
    folder, classifier, preprocess = make("lenet", decision=decision)
    pixels = preprocess.apply(picture(30, 30))[None].copy()
    with torch.no_grad():
        expected = (classifier(torch.from_numpy(pixels)) / 2).softmax(1)
    np.testing.assert_allclose(load_model(folder).probabilities(pixels), expected, atol=1e-6)


def test_the_manifest_is_what_sha256sum_reads(make: Make) -> None:
    folder, _, _ = make("lenet")
    done = subprocess.run(
        ["sha256sum", "-c", "MANIFEST.sha256"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(": OK") == 5
