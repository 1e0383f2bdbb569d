"""The network without its head gives what the head would have seen, and a map with the places where they lie."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from anmok.core.errors import AnmokError
from anmok.models.encoder import Encoder
from anmok.models.heads import head_names
from anmok.models.networks import build_network

# name, side, expected map [C, h, w]
NETWORKS = [
    ("lenet", 32, (16, 5, 5)),
    ("resnet10t", 64, (512, 2, 2)),
    ("test_vit", 160, (64, 10, 10)),
    ("test_convnext", 64, (64, 2, 2)),
    ("mobilenetv3_small_050", 64, (288, 2, 2)),
    ("torchvision/resnet18", 64, (512, 2, 2)),
    ("torchvision/squeezenet1_1", 64, (512, 3, 3)),
]


@pytest.mark.parametrize(("name", "side", "shape"), NETWORKS, ids=[n for n, _, _ in NETWORKS])
def test_vectors_are_what_the_head_sees(name: str, side: int, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    network = build_network(name, 7, 3, side).eval()
    images = torch.randn(2, 3, side, side)
    seen: list[torch.Tensor] = []
    head = network.get_submodule(head_names(network, 7)[0])
    hook = head.register_forward_pre_hook(lambda _m, given: seen.append(given[0].detach()))
    with torch.no_grad():
        network(images)
    hook.remove()
    encoder = Encoder(network, 7, side)
    with torch.no_grad():
        vectors, grid = encoder(images), encoder.grid(images)
    if seen[0].ndim == 2:
        assert torch.equal(vectors, seen[0])
    assert vectors.shape == (2, encoder.width)
    assert grid.shape == (2, *shape)
    assert encoder.grid_width == shape[0]
    assert not [k for k in encoder.state_dict() if k.removeprefix("backbone.").startswith(encoder.heads)]


def test_tokens_lie_as_the_patches_do() -> None:
    torch.manual_seed(0)
    network = build_network("test_vit", 3, 3, 160).eval()
    tokens = torch.arange(1 + 100.0)[None, :, None].expand(1, 101, 64)  # the class token first
    network.forward_features = lambda _images, **_: tokens  # type: ignore[method-assign, assignment]
    grid = Encoder(network, 3, 160).grid(torch.zeros(1, 3, 160, 160))
    assert grid[0, 0, 0].tolist() == list(range(1, 11))
    assert grid[0, 0, :, 0].tolist() == list(range(1, 101, 10))


def test_a_channels_last_map_is_turned() -> None:
    network = build_network("swin_tiny_patch4_window7_224", 3, 3, 224).eval()
    encoder = Encoder(network, 3, 224)
    assert (encoder.width, encoder.grid_width) == (768, 768)


def test_a_network_without_a_map_says_so() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 5), nn.ReLU(), nn.Linear(5, 2))
    with pytest.raises(AnmokError, match="no map of features"):
        Encoder(network, 2, 8)
