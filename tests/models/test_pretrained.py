from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
from torch import nn

from anmok.core.errors import DataError, MachineError, UsageError
from anmok.core.pixels import GRAY_MEAN, IMAGENET_MEAN
from anmok.models import hub
from anmok.models.build import build
from anmok.models.config import ModelConfig

ABC = ["a", "b", "c"]
Put = Callable[[str, nn.Module], Path]

pytestmark = pytest.mark.usefixtures("no_network")


def test_weights_come_from_the_hubs_cache_and_the_head_starts_anew(hub_cache: Put) -> None:
    theirs = timm.create_model("test_resnet")
    hub_cache("timm/test_resnet.r160_in1k", theirs)
    built = build(ModelConfig(name="test_resnet", weights="pretrained"), ABC, "multiclass", image_size=64)
    state, own = theirs.state_dict(), built.classifier.backbone.state_dict()
    assert all(torch.equal(own[k], v) for k, v in state.items() if not k.startswith("fc."))
    assert own["fc.weight"].shape[0] == 3
    assert built.classifier.pixel_mean == (0.5, 0.5, 0.5)
    assert any("test_resnet.r160_in1k" in text for text in built.said)
    assert any("160" in text for text in built.said)


def test_the_head_starts_anew_for_as_many_classes_too(hub_cache: Put) -> None:
    theirs = timm.create_model("test_efficientnet")
    hub_cache("timm/test_efficientnet.r160_in1k", theirs)
    classes = [str(i) for i in range(1000)]
    built = build(ModelConfig(name="test_efficientnet", weights="pretrained"), classes, "multiclass", image_size=32)
    own = built.classifier.backbone.state_dict()
    assert torch.equal(own["conv_stem.weight"], theirs.conv_stem.weight)
    assert not torch.equal(own["classifier.weight"], theirs.classifier.weight)
    assert built.classifier.pixel_mean == IMAGENET_MEAN


def test_one_channel_sums_the_first_layer(hub_cache: Put) -> None:
    theirs = timm.create_model("test_efficientnet")
    hub_cache("timm/test_efficientnet.r160_in1k", theirs)
    built = build(ModelConfig(name="test_efficientnet", weights="pretrained"), ABC, "multiclass", 1, 32)
    torch.testing.assert_close(
        built.classifier.backbone.state_dict()["conv_stem.weight"], theirs.conv_stem.weight.sum(1, keepdim=True)
    )
    assert built.classifier.pixel_mean == GRAY_MEAN


def test_another_image_size_resizes_the_positions(hub_cache: Put) -> None:
    theirs = timm.create_model("test_vit")
    hub_cache("timm/test_vit.r160_in1k", theirs)
    built = build(ModelConfig(name="test_vit", weights="pretrained"), ABC, "multiclass", 3, 96)
    own = built.classifier.backbone.state_dict()
    assert own["pos_embed"].shape[1] < theirs.pos_embed.shape[1]
    assert torch.equal(own["blocks.0.attn.qkv.weight"], theirs.blocks[0].attn.qkv.weight)


def test_weights_of_another_architecture_in_the_cache(hub_cache: Put) -> None:
    hub_cache("timm/test_resnet.r160_in1k", timm.create_model("test_efficientnet"))
    with pytest.raises(DataError, match="do not fit test_resnet") as caught:
        build(ModelConfig(name="test_resnet", weights="pretrained"), ABC, "multiclass", image_size=32)
    assert caught.value.code == "weights-mismatch"


def test_a_damaged_file_in_the_cache(hub_cache: Put) -> None:
    file = hub_cache("timm/test_resnet.r160_in1k", timm.create_model("test_resnet"))
    file.resolve().write_bytes(b"\x80\x04 no safetensors")
    with pytest.raises(DataError, match="not a readable") as caught:
        build(ModelConfig(name="test_resnet", weights="pretrained"), ABC, "multiclass", image_size=32)
    assert caught.value.code == "damaged"


def test_offline_names_the_weights_and_the_remedy(hub_cache: Put) -> None:
    with pytest.raises(MachineError) as caught:
        build(ModelConfig(name="test_resnet", weights="pretrained"), ABC, "multiclass")
    text = str(caught.value)
    assert caught.value.code == "offline"
    assert caught.value.exit_code == 4
    assert "timm/test_resnet.r160_in1k" in text
    assert "--weights FILE.safetensors" in text
    assert "hf download" in text
    assert huggingface_hub.constants.HF_HUB_CACHE in text


@pytest.mark.parametrize("name", ["lenet", "torchvision/resnet18", "test_mambaout"])
def test_a_name_without_weights(name: str) -> None:
    with pytest.raises(UsageError, match="no weights on the hub"):
        build(ModelConfig(name=name, weights="pretrained"), ABC, "multiclass")


def test_a_module_has_no_weights_on_the_hub() -> None:
    with pytest.raises(UsageError, match="no weights"):
        build(ModelConfig(weights="pretrained"), ABC, "multiclass", module=nn.Flatten())


def test_a_machine_that_cannot_resolve_names_does_not_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    given_up = threading.Event()

    def stuck(*arguments: object) -> None:
        given_up.wait(60)
        raise OSError("no such host")

    monkeypatch.setattr(hub.socket, "create_connection", stuck)
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    waited: list[float] = []
    join = hub.threading.Thread.join
    monkeypatch.setattr(hub.threading.Thread, "join", lambda self, timeout: (waited.append(timeout), join(self, 0.05)))
    assert hub._reachable("https://weights.invalid") is False
    given_up.set()
    assert waited[0] <= 10


def test_no_network_is_told_from_offline(hub_cache: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "_reachable", lambda endpoint: False)
    with pytest.raises(MachineError, match="cannot be reached"):
        hub.fetch("timm/test_resnet.r160_in1k")


def test_a_failed_download_is_an_error_of_ours(hub_cache: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "_reachable", lambda endpoint: True)

    def fail(repo: str, file: str, local_files_only: bool = False, **options: object) -> str:
        if local_files_only:
            raise huggingface_hub.errors.LocalEntryNotFoundError("not here")
        raise huggingface_hub.errors.HTTPError("connection reset")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    with pytest.raises(MachineError, match="connection reset") as caught:
        hub.fetch("timm/test_resnet.r160_in1k")
    assert caught.value.code == "weights"
