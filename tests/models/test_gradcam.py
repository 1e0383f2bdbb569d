"""Grad-CAM: against class activation maps by hand, finite differences, and every family that lays its map out."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from anmok.core.errors import UsageError
from anmok.models.gradcam import find_layer, grad_cam
from anmok.models.networks import build_network


class Small(nn.Module):
    """Two convolutions, the mean over places, a linear head: here Grad-CAM is the class activation map (Zhou 2016)."""

    def __init__(self, outputs: int = 3):
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 5, 3, stride=2, padding=1)
        self.head = nn.Linear(5, outputs)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.last(F.relu(self.first(images))).mean((2, 3)))


@pytest.mark.parametrize("target", [0, 1, 2])
def test_it_is_the_class_activation_map_of_a_pooled_network(target: int) -> None:
    network, images = Small().eval(), torch.randn(2, 3, 8, 12)
    with torch.no_grad():
        features = network.last(F.relu(network.first(images)))
        expected = torch.zeros(2, 4, 6)
        for k in range(5):  # α_k is the head's weight over the number of places
            expected += network.head.weight[target, k] / 24 * features[:, k]
    found = grad_cam(network, images, torch.tensor([target, target]))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected.clamp(min=0))


def test_the_weights_are_the_slopes_of_the_logit() -> None:
    """Finite differences on a network that is no mean and a head."""
    torch.manual_seed(1)
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(2 * 9, 2)).double().eval()
    image = torch.randn(1, 1, 5, 5, dtype=torch.float64)
    with torch.no_grad():
        features = network[:2](image)
        slopes = torch.zeros_like(features)
        for index in range(features.numel()):
            step = torch.zeros(features.numel(), dtype=torch.float64)
            step[index] = 1e-6
            step = step.view_as(features)
            ends = [network[2:](features + sign * step)[0, 1] for sign in (1, -1)]
            slopes.view(-1)[index] = (ends[0] - ends[1]) / 2e-6
        expected = (slopes.mean((2, 3), keepdim=True) * features).sum(1).clamp(min=0)
    found = grad_cam(network, image, torch.tensor([1]), layer="1")
    torch.testing.assert_close(found.double(), expected, atol=1e-6, rtol=1e-4)


def test_one_logit_has_two_classes() -> None:
    network, images = Small(1).eval(), torch.randn(1, 3, 8, 8)
    both = [grad_cam(network, images, torch.tensor([k])) for k in (0, 1)]
    assert bool((both[0] * both[1] == 0).all())  # what speaks for one speaks against the other
    with torch.no_grad():
        features = network.last(F.relu(network.first(images)))
        signed = (network.head.weight[0].view(1, 5, 1, 1) / 16 * features).sum(1)
    torch.testing.assert_close(both[1] - both[0], signed)


def test_it_does_not_matter_what_surrounds_the_call() -> None:
    network, images, targets = Small(), torch.randn(2, 3, 8, 8), torch.tensor([0, 1])
    network.train()
    network.requires_grad_(False)
    plain = grad_cam(network, images, targets)
    with torch.inference_mode():
        inside = grad_cam(network, images.clone(), targets)
    torch.testing.assert_close(inside, plain, rtol=0, atol=0)
    assert network.training
    assert all(p.grad is None for p in network.parameters())
    assert not network.last._forward_hooks


@pytest.mark.parametrize(
    ("name", "size", "layer", "grid"),
    [
        ("lenet", 32, "cells", (5, 5)),
        ("test_resnet", 96, "layer4", (3, 3)),
        ("test_convnext", 64, "norm_pre", (2, 2)),
        ("test_vit", 160, "blocks.5.norm1", (10, 10)),  # a class token: after its last attention no patch is asked
        ("test_vit2", 64, "norm", (4, 4)),  # the mean over patches
        ("convit_tiny", 64, "blocks.11.norm1", (4, 4)),
        ("swin_tiny_patch4_window7_224", 64, "norm", (2, 2)),
        ("torchvision/squeezenet1_1", 64, "classifier.2", (3, 3)),
    ],
)
def test_every_family_has_a_map(name: str, size: int, layer: str, grid: tuple[int, int]) -> None:
    network, images = build_network(name, 4, 3, size).eval(), torch.randn(2, 3, size, size)
    with torch.no_grad():
        for parameter in network.parameters():  # a head of zeros has no map
            parameter.add_(0.02 * torch.randn_like(parameter))
    assert find_layer(network, images[:1]) == layer
    maps = grad_cam(network, images, torch.tensor([0, 2]))
    assert maps.shape == (2, *grid)
    assert bool((maps >= 0).all())
    assert bool(maps.isfinite().all())
    alone = grad_cam(network, images[1:], torch.tensor([2]), layer)  # one image has no part in another's map
    torch.testing.assert_close(alone[0], maps[1], rtol=1e-3, atol=1e-6)


def test_maps_lie_as_the_image_does() -> None:
    """Patches of a class-token transformer are in rows: what only the last rows hold lights up there."""
    network = build_network("test_vit", 2, 3, 160).eval()
    images = torch.zeros(1, 3, 160, 160)
    images[:, :, 128:] = 3.0
    rows = grad_cam(network, images, torch.tensor([0]))[0] + grad_cam(network, images, torch.tensor([1]))[0]
    assert float(rows[8:].std(0).mean() + rows[:8].std(0).mean()) < float((rows[8:].mean() - rows[:8].mean()).abs())


def test_a_network_without_a_map_says_so() -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(48, 2))
    with pytest.raises(UsageError, match="no map of features of 4 × 4"):
        grad_cam(flat, torch.randn(1, 3, 4, 4), torch.tensor([0]))
    with pytest.raises(UsageError, match="head gives no map"):
        grad_cam(Small(), torch.randn(1, 3, 8, 8), torch.tensor([0]), layer="head")
