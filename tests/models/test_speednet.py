from __future__ import annotations

import pytest
import torch

from anmok.core.errors import UsageError
from anmok.models.airbench import FILTERS, AirBench, stem_for
from anmok.models.networks import build_network
from anmok.models.norms import NORMS


def stage(a: int, b: int) -> int:
    return 9 * a * b + 9 * b * b + 4 * b


def test_parameters_by_hand() -> None:
    learning = stage(24, 64) + stage(64, 256) + stage(256, 256) + 2 * 256 * 10 + 10
    net = build_network("speednet", 10, 3, 32)
    assert sum(p.numel() for p in net.parameters() if p.requires_grad) == learning == 1_975_050
    assert sum(p.numel() for p in net.parameters() if not p.requires_grad) == 24 * 3 * 2 * 2 + 2 * 24
    wide = stage(24, 128) + stage(128, 384) + stage(384, 384) + 2 * 384 * 10 + 10
    net = build_network("speednet_wide", 10, 3, 32)
    assert sum(p.numel() for p in net.parameters() if p.requires_grad) == wide
    small = stage(24, 32) + stage(32, 64) + stage(64, 128) + 2 * 128 * 10 + 10
    net = build_network("speednet_small", 10, 3, 32)
    assert sum(p.numel() for p in net.parameters() if p.requires_grad) == small
    grey = build_network("speednet", 10, 1, 32)  # 2 × 2 patches of one channel have four directions
    assert grey.stem.weight.shape == (8, 1, 2, 2)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("size", "cells"), [(16, 1), (28, 3), (32, 3), (47, 5), (48, 2), (64, 3), (96, 3), (224, 3)])
def test_shapes_at_any_size(size: int, cells: int, channels: int) -> None:
    net = build_network("speednet_small", 7, channels, size)
    images = torch.randn(2, channels, size, size)
    assert net.forward_features(images).shape == (2, 128, cells, cells)
    out = net(images)
    assert out.shape == (2, 7)
    out.sum().backward()
    kernel, stride = stem_for(size)
    assert (size - kernel) // stride + 1 >= 15


@pytest.mark.parametrize("norm", NORMS)
def test_norms(norm: str) -> None:
    net = build_network("speednet_small", 10, 3, 32, {"norm": norm})
    learning = sum(p.numel() for p in net.parameters() if p.requires_grad)
    norms, biases = 2 * 2 * (32 + 64 + 128), 2 * (32 + 64 + 128)
    batch = sum(p.numel() for p in build_network("speednet_small", 10, 3, 32).parameters() if p.requires_grad)
    assert learning == batch + (biases - norms if norm == "none" else 0)
    loss = net(torch.randn(4, 3, 32, 32)).square().mean()
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.requires_grad)


def test_the_whole_network_by_its_definition() -> None:
    """Against plain functions of torch and the state, in evaluation with batch statistics that are not trivial."""
    net = build_network("speednet_small", 5, 3, 32).double()
    for name, value in net.state_dict().items():
        if name.endswith("running_mean"):
            value.normal_()
        if name.endswith("running_var"):
            value.uniform_(0.5, 2)
    state, f = net.eval().state_dict(), torch.nn.functional

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        mean, var, w, b = (
            state[f"{name}.{k}"].view(-1, 1, 1) for k in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-5).sqrt() * w + b

    def silu(x: torch.Tensor) -> torch.Tensor:
        return x / (1 + (-x).exp())

    images = torch.randn(3, 3, 32, 32, dtype=torch.float64)
    x = silu(norm(f.conv2d(images, state["stem.weight"]), "norm"))
    for k in range(3):
        x = f.max_pool2d(f.conv2d(x, state[f"stages.{k}.0.weight"], padding=1), 2)
        x = silu(norm(x, f"stages.{k}.2"))
        x = silu(norm(f.conv2d(x, state[f"stages.{k}.4.weight"], padding=1), f"stages.{k}.5"))
    pooled = torch.cat([x.flatten(2).max(2).values, x.flatten(2).mean(2)], 1)
    torch.testing.assert_close(net(images), pooled @ state["head.weight"].T + state["head.bias"])


@pytest.mark.parametrize(("channels", "size"), [(3, 32), (1, 32), (3, 96)])
def test_prepare_whitens_what_the_stem_gives(channels: int, size: int) -> None:
    coarse = torch.nn.functional.interpolate(torch.randn(80, channels, 8, 8), size, mode="bicubic")
    images = coarse + 0.3 * torch.randn(80, channels, size, size)
    net = build_network("speednet", 3, channels, size)
    assert isinstance(net, AirBench)
    before = net.stem.weight.clone()
    net.prepare(images)
    assert not torch.equal(before, net.stem.weight)
    filters = net.stem.out_channels // 2
    found = net.stem(images).permute(1, 0, 2, 3).reshape(2 * filters, -1)
    assert filters == (FILTERS if channels == 3 else 4)
    torch.testing.assert_close(torch.cov(found)[:filters, :filters], torch.eye(filters), atol=0.12, rtol=0)


def test_an_image_below_the_minimum_is_refused() -> None:
    with pytest.raises(UsageError, match="16 pixels") as caught:
        build_network("speednet", 3, 3, 15)
    assert caught.value.code == "image-size"
