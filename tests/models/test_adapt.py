"""What learns: stages, the table, rates, gradual unfreezing."""

from __future__ import annotations

import math

import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from anmok.core.errors import UsageError
from anmok.models.adapt import Unfreezing, freeze, last_stages, parts_of, parts_text
from anmok.models.depth import rate_factors, stages_of
from anmok.models.heads import head_names
from anmok.models.lenet import LeNet


def learning(network: nn.Module) -> set[str]:
    return {n for n, p in network.named_parameters() if p.requires_grad}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet18", ["conv1, bn1", "layer1", "layer2", "layer3", "layer4"]),
        ("test_vit", ["cls_token, pos_embed, patch_embed.proj", *(f"blocks.{i}" for i in range(5)), "blocks.5, norm"]),
        ("test_convnext", ["stem", "stages.0.blocks.0", "stages.1", "stages.2", "stages.3, head.norm"]),
        ("test_efficientnet", ["conv_stem, bn1", *(f"blocks.{i}.0" for i in range(4)), "blocks.4.0, conv_head, bn2"]),
    ],
)
def test_stages_of_timms_networks(name: str, expected: list[str]) -> None:
    network = timm.create_model(name, num_classes=3)
    found = stages_of(network, head_names(network, 3))
    assert [s.name for s in found] == expected
    names = [n for s in found for n in s.parameters]
    assert set(names) < {n for n, _ in network.named_parameters()}
    assert len(names) == len(set(names)) == len(list(network.parameters())) - 2  # all but the head's two


def test_stages_of_a_plain_module_are_its_children() -> None:
    network = LeNet(3, 3)
    assert [s.name for s in stages_of(network, ("fc3",))] == ["conv1", "conv2", "fc1", "fc2"]
    inner = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    wrapped = nn.Sequential(nn.Sequential(inner), nn.Linear(2, 3))
    assert [s.name for s in stages_of(wrapped, ("1",))] == ["0.0.0", "0.0.2"]


def test_head_and_last_stages_learn() -> None:
    network = timm.create_model("resnet18", num_classes=3)
    freeze(network, ("fc",), "full")
    assert len(learning(network)) == len(list(network.parameters()))
    freeze(network, ("fc",), "last:2")
    assert {n.split(".")[0] for n in learning(network)} == {"layer3", "layer4", "fc"}
    freeze(network, ("fc",), "head")
    assert learning(network) == {"fc.weight", "fc.bias"}
    with pytest.raises(UsageError, match=r"5 stage\(s\) before its head \(conv1, bn1; layer1; .* not 6") as caught:
        last_stages(network, ("fc",), 6)
    assert caught.value.code == "adapt"


def test_rates_fall_by_a_factor_a_stage() -> None:
    network = LeNet(3, 3)
    rates = rate_factors(network, ("fc3",), 0.5)
    by_hand = {"fc3": 1.0, "fc2": 0.5, "fc1": 0.25, "conv2": 0.125, "conv1": 0.0625}
    assert rates == {f"{layer}.{kind}": r for layer, r in by_hand.items() for kind in ("weight", "bias")}
    vit = timm.create_model("test_vit", num_classes=3)
    found = rate_factors(vit, ("head",), 0.75)
    assert set(found) == {n for n, _ in vit.named_parameters()}
    assert found["pos_embed"] == 0.75**7  # six blocks and the embedding
    assert found["norm.weight"] == found["blocks.5.mlp.fc1.weight"] == 0.75


def test_the_table_counts_what_learns() -> None:
    network = LeNet(3, 3)
    freeze(network, ("fc3",), "last:1")
    parts = parts_of(network, ("fc3",), rate_factors(network, ("fc3",), 0.5))
    assert sum(p.parameters for p in parts) == sum(p.numel() for p in network.parameters())
    assert [(p.name, p.learning, p.rate) for p in parts] == [
        ("conv1", 0, None), ("conv2", 0, None), ("fc1", 0, None), ("fc2", 10164, 0.5), ("fc3", 255, 1.0),
    ]  # fmt: skip
    lines = parts_text(parts).splitlines()
    assert len(lines) == 6
    assert lines[1].split() == ["conv1", "456", "frozen"]
    assert lines[4].split() == ["fc2", "10,164", "all", "x", "0.5"]


@given(st.floats(0.1, 7), st.integers(0, 40))
def test_unfreezing_is_a_pure_function_of_the_epoch(every: float, epoch: int) -> None:
    network = LeNet(3, 3)
    unfreezing = Unfreezing(network, ("fc3",), every)
    for before in (epoch, 0, 17, epoch):  # whatever was the state
        unfreezing.begin(before)
    joined = ["fc2", "fc1", "conv2", "conv1"][: math.floor(epoch / every + 1e-6)]
    assert {n.split(".")[0] for n in learning(network)} == {"fc3", *joined}


def test_unfreezing_leaves_frozen_what_never_learns() -> None:
    network = LeNet(3, 3)
    freeze(network, ("fc3",), "last:2")
    unfreezing = Unfreezing(network, ("fc3",), 2)
    assert [p.since for p in parts_of(network, ("fc3",), None, 2)] == [None, None, 5, 3, 1]
    for epoch, layers in ((0, {"fc3"}), (2, {"fc3", "fc2"}), (4, {"fc3", "fc2", "fc1"}), (99, {"fc3", "fc2", "fc1"})):
        unfreezing.begin(epoch)
        assert {n.split(".")[0] for n in learning(network)} == layers


def test_a_gradient_from_before_does_not_stay() -> None:
    network = LeNet(3, 3)
    unfreezing = Unfreezing(network, ("fc3",), 1)
    network(torch.randn(2, 3, 32, 32)).sum().backward()
    unfreezing.begin(0)
    assert network.fc2.weight.grad is None
    assert network.fc3.weight.grad is not None
