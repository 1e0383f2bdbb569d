"""First filters and maps of features: the weights and outputs that the network has, chosen by size."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from anmok.core.errors import UsageError
from anmok.models.activations import feature_maps, first_filters
from anmok.models.networks import build_network


@pytest.mark.parametrize(
    ("name", "size", "layer", "shape"),
    [
        ("lenet", 32, "conv1", (6, 3, 5, 5)),
        ("test_resnet", 64, "conv1.0", (16, 3, 3, 3)),
        ("test_vit", 160, "patch_embed.proj", (64, 3, 16, 16)),
    ],
)
def test_first_filters(name: str, size: int, layer: str, shape: tuple[int, ...]) -> None:
    network = build_network(name, 3, 3, size)
    found = first_filters(network, torch.randn(1, 3, size, size))
    assert found.layer == layer
    assert found.weights.shape == shape
    torch.testing.assert_close(found.weights, dict(network.named_parameters())[f"{layer}.weight"].detach())
    assert network.training


def test_the_first_is_the_one_that_runs_first() -> None:
    class Late(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.second, self.first = nn.Conv2d(2, 2, 1), nn.Conv2d(1, 2, 3)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.second(self.first(images))

    assert first_filters(Late(), torch.randn(1, 1, 5, 5)).layer == "first"


def test_a_network_without_filters_on_pixels() -> None:
    for network in (
        nn.Sequential(nn.Flatten(), nn.Linear(48, 2)),
        nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(12, 2, 1)),
    ):
        with pytest.raises(UsageError) as caught:
            first_filters(network, torch.randn(1, 3, 4, 4))
        assert caught.value.code == "no-filters"
    with pytest.raises(UsageError, match="no map of features"):
        feature_maps(nn.Sequential(nn.Flatten(), nn.Linear(48, 2)), torch.randn(1, 3, 4, 4))


def test_maps_of_each_size_are_what_the_layers_gave() -> None:
    network, images = build_network("test_resnet", 3, 3, 64).eval(), torch.randn(2, 3, 64, 64)
    found = feature_maps(network, images, 5)
    assert [layer.layer for layer in found] == ["act1", "layer1", "layer2", "layer3", "layer4"]
    assert [layer.maps.shape[2] for layer in found] == [32, 16, 8, 4, 2]
    with torch.no_grad():
        x = network.maxpool(network.act1(network.bn1(network.conv1(images))))
        x = network.layer2(network.layer1(x))
    torch.testing.assert_close(found[2].maps, x)
    assert [layer.layer for layer in feature_maps(network, images, 2)] == ["act1", "layer4"]
    assert [layer.layer for layer in feature_maps(network, images, 1)] == ["act1"]
    lenet = feature_maps(build_network("lenet", 3, 3, 32), torch.randn(1, 3, 32, 32), 4)
    assert [tuple(layer.maps.shape[1:]) for layer in lenet] == [(6, 28, 28), (16, 10, 10), (16, 5, 5)]


def test_a_transformer_s_blocks_are_laid_out_as_the_patches_lie() -> None:
    network = build_network("test_vit", 3, 3, 160).eval()
    images = torch.zeros(1, 3, 160, 160)
    images[:, :, 48:64, 128:144] = 2.0  # one patch: row 3, column 8
    found = feature_maps(network, images, 3)
    assert [layer.layer for layer in found] == ["blocks.0", "blocks.2", "blocks.5"]
    blank = feature_maps(network, torch.zeros_like(images), 3)
    change = (found[0].maps - blank[0].maps).abs().sum(1)[0]
    assert change.shape == (10, 10)
    assert divmod(int(change.argmax()), 10) == (3, 8)


def test_what_comes_with_something_else_and_lies_deep_is_found() -> None:
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 2, stride=2)

        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, None]:
            return self.conv(images), None

    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.outer = nn.Module()
            self.outer.inner = Pair()

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.outer.inner(images)[0].mean((2, 3))

    network, images = Deep().eval(), torch.randn(1, 1, 8, 8)
    found = feature_maps(network, images)
    assert [layer.layer for layer in found] == ["outer.inner.conv", "outer.inner"]
    torch.testing.assert_close(found[1].maps, network.outer.inner.conv(images).detach())


def test_what_lies_in_nhwc_is_turned() -> None:
    network = build_network("swin_tiny_patch4_window7_224", 3, 3, 64).eval()
    assert [tuple(layer.maps.shape[1:]) for layer in feature_maps(network, torch.randn(1, 3, 64, 64))] == [
        (96, 16, 16), (192, 8, 8), (384, 4, 4), (768, 2, 2),
    ]  # fmt: skip
