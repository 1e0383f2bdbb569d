"""Low-rank additions: what they add, which layers take them, and the plain network after merging."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
from torch import nn
from torchvision import models as torchvision

from anmok.core.errors import UsageError
from anmok.models.build import build
from anmok.models.config import ModelConfig
from anmok.models.heads import head_names
from anmok.models.lora import add_lora, merge_lora, suited

ABC = ["a", "b", "c"]
IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))


def with_lora(name: str, rank: int = 4) -> tuple[nn.Module, nn.Module, list[str]]:
    plain = timm.create_model(name, num_classes=3, **({"img_size": 64} if "vit" in name else {})).eval()
    network = copy.deepcopy(plain)
    return plain, network, add_lora(network, head_names(network, 3), rank, 8.0, IMAGES)


@pytest.mark.parametrize("name", ["test_vit", "test_resnet", "test_convnext", "test_efficientnet"])
def test_it_begins_as_the_network_and_merges_into_it(name: str) -> None:
    plain, network, layers = with_lora(name)
    assert layers
    with torch.no_grad():
        torch.testing.assert_close(network.eval()(IMAGES), plain(IMAGES))
        for parameter in network.parameters():  # as if all had learned
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.02)
        expected = network(IMAGES)
    assert not torch.allclose(expected, plain(IMAGES))
    merge_lora(network)
    assert network.state_dict().keys() == plain.state_dict().keys()
    torch.testing.assert_close(network(IMAGES), expected, atol=1e-4, rtol=1e-4)
    plain.load_state_dict(network.state_dict())
    torch.testing.assert_close(plain(IMAGES), expected, atol=1e-4, rtol=1e-4)


def test_what_is_added_is_the_papers_product() -> None:
    plain, network, layers = with_lora("test_vit")
    name = next(n for n in layers if n.endswith("qkv"))
    layer = network.get_submodule(name)
    with torch.no_grad():
        nn.init.normal_(layer.lora_B["default"].weight)
        delta = 8.0 / 4 * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
        expected = plain.get_submodule(name).weight + delta
        merge_lora(network)
    torch.testing.assert_close(network.get_submodule(name).weight, expected)


def test_only_the_additions_and_the_head_learn() -> None:
    _, network, layers = with_lora("test_resnet")
    learns = {n for n, p in network.named_parameters() if p.requires_grad}
    assert learns == {n for n, _ in network.named_parameters() if "lora_" in n} | {"fc.weight", "fc.bias"}
    network(IMAGES).sum().backward()
    assert all(p.grad is not None for n, p in network.named_parameters() if "lora_B" in n)
    assert len(layers) == sum("lora_B" in n for n in learns)


def test_layers_that_suit() -> None:
    vit = timm.create_model("test_vit", num_classes=3, img_size=64)
    layers = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    assert suited(vit, ("head",), IMAGES) == [f"blocks.{i}.{layer}" for i in range(6) for layer in layers]
    grouped = timm.create_model("test_efficientnet", num_classes=3)
    names = suited(grouped, ("classifier",), IMAGES)
    kernels = {n for n, m in grouped.named_modules() if isinstance(m, nn.Conv2d) and m.groups > 1}
    assert kernels
    assert not kernels & set(names)
    # torch's own attention uses its projection's weights without calling it
    theirs = torchvision.VisionTransformer(64, 16, 2, 2, 32, 64, num_classes=3)
    assert not [n for n in suited(theirs, ("heads.head",), IMAGES) if "out_proj" in n]


def test_a_network_without_such_layers() -> None:
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3))
    with pytest.raises(UsageError, match="no linear layer or convolution"):
        add_lora(network, ("2",), 4, 8.0, IMAGES)


def test_built_by_name() -> None:
    torch.manual_seed(0)
    built = build(ModelConfig(name="test_resnet", adapt="lora", lora_rank=2), ABC, "multiclass", 3, 32)
    assert "LoRA of rank 2" in built.said[-1]
    torch.manual_seed(0)
    again = build(ModelConfig(name="test_resnet", adapt="lora", lora_rank=2), ABC, "multiclass", 3, 32)
    state = built.classifier.state_dict()
    assert all(torch.equal(v, state[k]) for k, v in again.classifier.state_dict().items())
