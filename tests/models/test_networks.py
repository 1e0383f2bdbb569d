from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from anmok.core.errors import DataError, UsageError
from anmok.models.build import build
from anmok.models.config import ModelConfig
from anmok.models.heads import head_names
from anmok.models.networks import build_network, check_outputs, find_object, kind_of, timm_cfg

ABC = ["a", "b", "c"]

OWN_CODE = """
from torch import nn

def make(num_classes, in_channels=3):
    return nn.Sequential(nn.Conv2d(in_channels, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes))

def with_size(num_classes, image_size, **options):
    assert image_size == 20 and options == {"in_chans": 3}
    return make(num_classes)

def wrong(num_classes):
    return nn.Sequential(nn.Flatten(1), nn.LazyLinear(num_classes + 2))

def needs_more(num_classes, depth):
    return make(num_classes)

def no_module():
    return 3

class Tagged(nn.Module):
    def __init__(self, num_classes=2):
        super().__init__()
        self.net = make(num_classes)

    def forward(self, x):
        return {"logits": self.net(x)}
"""


@pytest.fixture
def own_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module in the current folder; fresh for each test."""
    name = f"own_code_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(OWN_CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p != str(tmp_path)])
    return name


@pytest.mark.parametrize(
    ("name", "kind"),
    [("lenet", "own"), ("torchvision/resnet18", "torchvision"), ("a.b:make", "callable"), ("resnet18.a1_in1k", "timm"),
     ("hf-hub:timm/resnet18", "timm")],
)  # fmt: skip
def test_kind_of(name: str, kind: str) -> None:
    assert kind_of(name) == kind


@pytest.mark.parametrize(
    ("name", "near"),
    [("resnet81", "resnet18"), ("lenett", "lenet"), ("torchvision/resnet81", "resnet18"),
     ("resnet18.a9_in1k", "a1_in1k"), ("hf-hub:timm/resnet18", "")],
)  # fmt: skip
def test_an_unknown_name_is_refused_with_the_nearest(name: str, near: str) -> None:
    with pytest.raises(UsageError) as caught:
        build(ModelConfig(name=name), ABC, "multiclass", image_size=32)
    assert near in str(caught.value)
    assert caught.value.code == "model"


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("name", "size"),
    [("torchvision/squeezenet1_1", 64), ("torchvision/mobilenet_v3_small", 48), ("torchvision/vit_b_32", 64)],
)
def test_torchvision_with_one_channel_and_any_size(name: str, size: int, channels: int) -> None:
    built = build(ModelConfig(name=name), ABC, "multiclass", channels, size)
    images = torch.randint(0, 256, (2, size, size, channels), dtype=torch.uint8)
    with torch.no_grad():
        assert built.classifier.eval()(images).shape == (2, 3)
    assert built.image_size == size


def test_torchvisions_second_heads_are_left_out() -> None:
    network = build_network("torchvision/googlenet", 3, 1, 64)
    assert isinstance(network.train()(torch.zeros(2, 1, 64, 64)), torch.Tensor)


@pytest.mark.parametrize(
    ("name", "channels", "size"), [("test_resnet", 1, 40), ("test_vit", 1, 96), ("test_efficientnet", 3, 64)]
)
def test_timm_with_one_channel_and_any_size(name: str, channels: int, size: int) -> None:
    built = build(ModelConfig(name=name), ["no", "yes"], "binary", channels, size)
    assert built.classifier.outputs == 1
    with torch.no_grad():
        images = torch.zeros(2, size, size, channels, dtype=torch.uint8)
        assert built.classifier.eval().probabilities(images).shape == (2, 2)


def test_own_size_is_the_default() -> None:
    assert build(ModelConfig(name="test_resnet"), ABC, "multiclass").image_size == 160
    assert build(ModelConfig(name="lenet"), ABC, "multiclass").image_size == 32


def test_drop_is_for_timm() -> None:
    built = build(ModelConfig(name="test_resnet", drop=0.25), ABC, "multiclass", image_size=32)
    assert built.classifier.backbone.drop_rate == 0.25
    with pytest.raises(UsageError, match="drop_rate"):
        build(ModelConfig(name="lenet", drop=0.25), ABC, "multiclass")


def test_own_code_is_given_what_it_takes(own_code: str) -> None:
    built = build(ModelConfig(name=f"{own_code}:make"), ABC, "multiclass", channels=1, image_size=16)
    assert built.classifier.backbone[0].in_channels == 1
    assert build(ModelConfig(name=f"{own_code}:with_size"), ABC, "multiclass", image_size=20).image_size == 20


@pytest.mark.parametrize(
    ("callable_name", "reason"),
    [("wrong", r"\(2, 5\).*expected logits \(2, 3\)"), ("Tagged", "gives dict"), ("needs_more", "depth"),
     ("no_module", "int"), ("mak", "make"), ("OWN", "has no OWN")],
)  # fmt: skip
def test_own_code_that_does_not_fit(own_code: str, callable_name: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        build(ModelConfig(name=f"{own_code}:{callable_name}"), ABC, "multiclass", image_size=16)


def test_own_code_that_cannot_be_imported(own_code: str) -> None:
    with pytest.raises(UsageError, match="cannot import no_such_module"):
        build(ModelConfig(name="no_such_module:make"), ABC, "multiclass")
    Path("broken_module.py").write_text("def (")
    with pytest.raises(UsageError, match="cannot import broken_module"):
        build(ModelConfig(name="broken_module:make"), ABC, "multiclass")


def test_code_inside_a_forbidden_folder_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "planted_code.py").write_text("raise SystemExit('ran')")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="inside the model folder") as caught:
        find_object("planted_code:make", forbidden=tmp_path)
    assert caught.value.code == "remote-code"
    assert "planted_code" not in sys.modules
    for path in ("os:system", "__main__:anything"):
        with pytest.raises(DataError, match="belongs to Python"):
            find_object(path, forbidden=tmp_path)


def test_a_module_from_python_may_be_lazy_and_may_have_two_outputs() -> None:
    module = nn.Sequential(nn.LazyConv2d(4, 3), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.LazyLinear(2))
    built = build(ModelConfig(), ["no", "yes"], "binary", image_size=12, module=module)
    assert built.classifier.outputs == 2
    out = built.classifier(torch.zeros(2, 12, 12, 3, dtype=torch.uint8))
    out.sum().backward()
    torch.optim.SGD(built.classifier.parameters(), 0.1).step()  # the lazy parameters are ordinary ones


def test_a_network_that_fails_without_a_word_is_named() -> None:
    class Silent(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise AssertionError

    with pytest.raises(UsageError, match=r"8×8 images with 3 channel.*AssertionError"):
        check_outputs(Silent(), (3,), 3, 8)


def test_a_module_that_fixes_its_input_size() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 3))
    with pytest.raises(UsageError, match="does not take 12×12"):
        build(ModelConfig(), ABC, "multiclass", image_size=12, module=module)


def test_heads() -> None:
    assert head_names(build_network("test_efficientnet", 3, 3, 32), 3) == ("classifier",)
    assert head_names(build_network("deit_tiny_distilled_patch16_224", 3, 3, 224), 3) == ("head", "head_dist")
    assert head_names(build_network("torchvision/squeezenet1_1", 5, 3, 64), 5) == ("classifier.1",)
    assert head_names(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 3)), 3) == ("1",)
    with pytest.raises(DataError, match="head is not known"):
        head_names(nn.Sequential(nn.Linear(4, 4)), 3)


def test_timm_names_without_settings_of_their_own() -> None:
    assert timm_cfg("test_mambaout").input_size == (3, 160, 160)
