"""Where a network is active: by hand on small networks, and what is read of each family."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from anmok.core.errors import UsageError
from anmok.models.activity import ROLLOUT, activity, find_activity
from anmok.models.classifier import evaluating
from anmok.models.networks import build_network
from anmok.models.rollout import attention_rollout


def read(network: nn.Module, images: torch.Tensor) -> tuple[str, torch.Tensor]:
    with evaluating(network):
        layer = find_activity(network, images)
        return layer, activity(network, images, layer)


def test_it_is_the_mean_of_what_the_last_map_gives() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3, stride=2), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(5, 2),
    )  # fmt: skip
    images = torch.randn(2, 3, 13, 21)
    layer, found = read(network, images)
    assert layer == "3"
    with torch.no_grad():
        expected = sum(network[:4](images)[:, k].abs() for k in range(5)) / 5
    torch.testing.assert_close(found, expected)
    assert found.shape == (2, 5, 9)


def test_of_a_small_image_an_earlier_map_is_read() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 2, 2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 1), nn.Flatten(), nn.Linear(16, 2)
    )
    images = torch.randn(1, 3, 8, 8)
    layer, found = read(network, images)
    assert (layer, found.shape) == ("1", (1, 4, 4))  # after it there are 2 × 2 places
    small = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
    assert read(small, images[:, :, :4, :4])[0] == "1"  # there is no larger one


def test_what_a_layer_normalisation_levels_is_passed_over() -> None:
    class Levelled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.norm, self.keep, self.head = (
                nn.Conv2d(3, 6, 4, 4),
                nn.LayerNorm(6),
                nn.Identity(),
                nn.Linear(6, 2),
            )

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            tokens = self.keep(self.norm(self.stem(images).flatten(2).transpose(1, 2)))
            return self.head(tokens.mean(1))

    images = torch.zeros(1, 3, 16, 16)
    images[:, :, 8:, 8:] = 3
    network = Levelled()
    layer, found = read(network, images)
    assert layer == "stem"
    with torch.no_grad():
        torch.testing.assert_close(found, network.stem(images).abs().mean(1))


def test_a_transformer_is_read_by_its_attention() -> None:
    network = build_network("vit_tiny_patch16_224", 3, 3, 64)
    images = torch.randn(2, 3, 64, 64)
    layer, found = read(network, images)
    assert layer == ROLLOUT
    torch.testing.assert_close(found, attention_rollout(network, images))
    assert found.shape == (2, 4, 4)


@pytest.mark.parametrize(
    ("name", "size", "layer", "places"),
    [
        ("resnet10t", 64, "layer3", 4),
        ("convnext_atto", 128, "norm_pre", 4),
        ("swin_tiny_patch4_window7_224", 128, "layers", 4),
        ("speednet", 32, None, None),
        ("torchvision/mobilenet_v3_small", 64, None, None),
    ],
)
def test_every_family_has_a_place_where_it_is_active(
    name: str, size: int, layer: str | None, places: int | None
) -> None:
    network = build_network(name, 3, 3, size)
    images = torch.randn(2, 3, size, size)
    found_layer, found = read(network, images)
    assert layer is None or found_layer == layer
    assert places is None or found.shape == (2, places, places)
    assert found.ndim == 3
    assert found.shape[1] * found.shape[2] > 1
    assert torch.isfinite(found).all()
    assert (found >= 0).all()
    assert (found.flatten(1).std(1) > 0).all()  # one place stands out against another


def test_without_a_map_nothing_is_active() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 8), nn.ReLU(), nn.Linear(8, 2))
    with pytest.raises(UsageError, match="no map of features") as caught:
        read(network, torch.zeros(1, 3, 8, 8))
    assert caught.value.code == "no-maps"
