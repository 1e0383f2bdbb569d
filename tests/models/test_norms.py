from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from anmok.models.lenet import LeNet
from anmok.models.norms import NORMS, build_norm, groups_of


def spread(x: torch.Tensor, dims: tuple[int, ...]) -> torch.Tensor:
    """(x - mean) / std over these dimensions, by the definition."""
    mean = x.mean(dims, keepdim=True)
    return (x - mean) / ((x - mean) ** 2).mean(dims, keepdim=True).sqrt()


def test_each_norm_by_its_definition() -> None:
    x = 3 * torch.randn(4, 8, 5, 6) + 2
    torch.testing.assert_close(build_norm("none", 8)(x), x)
    torch.testing.assert_close(build_norm("batch", 8)(x), spread(x, (0, 2, 3)), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(build_norm("layer", 8)(x), spread(x, (1,)), atol=1e-4, rtol=1e-4)
    grouped = spread(x.reshape(4, 4, 2, 5, 6), (2, 3, 4)).reshape(4, 8, 5, 6)
    torch.testing.assert_close(build_norm("group", 8)(x), grouped, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("channels", "groups"), [(64, 32), (256, 32), (48, 24), (24, 12), (6, 3), (7, 1), (1, 1)])
def test_groups_by_hand(channels: int, groups: int) -> None:
    assert groups_of(channels) == groups


@given(st.integers(1, 600))
def test_groups_divide_the_channels(channels: int) -> None:
    groups = groups_of(channels)
    assert channels % groups == 0
    assert 1 <= groups <= 32
    assert groups == 1 or channels // groups >= 2


@pytest.mark.parametrize("kind", NORMS)
def test_only_batch_normalisation_mixes_images(kind: str) -> None:
    x = torch.randn(3, 8, 4, 4)
    norm = build_norm(kind, 8)
    alone, together = norm(x[:1]), norm(x)[:1]
    assert torch.allclose(alone, together, atol=1e-5) == (kind != "batch")


def test_an_unknown_norm() -> None:
    with pytest.raises(ValueError, match="none, batch, group, layer, found 'instance'"):
        build_norm("instance", 8)


@pytest.mark.parametrize(("kind", "more"), [("none", 0), ("batch", 44), ("group", 44), ("layer", 44)])
def test_lenet_with_norms(kind: str, more: int) -> None:
    net = LeNet(10, 1, norm=kind)
    assert sum(p.numel() for p in net.parameters()) == 61_706 + more  # a scale and a shift of 6 and 16 channels
    images = torch.randn(2, 1, 28, 28)
    x = torch.nn.functional.pad(images, (2, 2, 2, 2))
    for conv, norm in ((net.conv1, net.norm1), (net.conv2, net.norm2)):
        x = nn.functional.max_pool2d(norm(conv(x)).relu(), 2)
    torch.testing.assert_close(net.forward_features(images), x)
