from __future__ import annotations

import pytest
import torch
from torch import nn

from anmok.core.errors import UsageError
from anmok.models.macs import cost_by_name, cost_of


def test_a_linear_layer_by_hand() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 4, 7))
    assert cost_of(net, 4) == (48 * 7 + 7, 48 * 7)


def test_a_convolution_by_hand() -> None:
    net = nn.Conv2d(3, 8, 3, stride=2, padding=1)  # 8 × 8 positions of 16 × 16 pixels
    assert cost_of(net, 16) == (8 * 3 * 9 + 8, 8 * 3 * 9 * 64)
    assert cost_of(nn.Conv2d(4, 8, 3, groups=2), (6, 10), channels=4).macs == 8 * 2 * 9 * 4 * 8
    assert cost_of(nn.Conv2d(4, 8, 3, groups=2), (6, 10), channels=4).gmacs == pytest.approx(8 * 2 * 9 * 32 / 1e9)


def test_attention_by_hand() -> None:
    from timm.layers.attention import Attention

    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attn = Attention(16, num_heads=2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.attn(x.flatten(2).transpose(1, 2))

    n, d = 36, 16  # queries, keys, values and the projection; then weights and means of n tokens
    assert cost_of(Tokens(), 6, channels=16).macs == n * d * 3 * d + n * d * d + 2 * n * n * d


@pytest.mark.parametrize(
    ("name", "size", "parameters", "gmacs"),
    [
        ("resnet18", 224, 11_689_512, 1.82), ("torchvision/resnet18", 224, 11_689_512, 1.82),
        ("deit_tiny_patch16_224", 224, 5_717_416, 1.26), ("convnext_tiny", 224, 28_589_128, 4.47),
        ("localvit_tiny", 224, 5_908_696, 1.3), ("cvt_13", 224, 19_997_480, 4.5),
    ],
)  # fmt: skip
def test_published_figures_without_memory(name: str, size: int, parameters: int, gmacs: float) -> None:
    cost = cost_by_name(name, size)
    assert cost.parameters == parameters
    assert cost.gmacs == pytest.approx(gmacs, rel=0.03)


def test_real_weights_and_none_cost_the_same() -> None:
    from anmok.models.networks import build_network

    for name in ("test_vit", "lenet", "speednet_small"):
        network = build_network(name, 1000, 3, 64).train()
        assert cost_of(network, 64) == cost_by_name(name, 64)
        assert network.training


def test_a_cost_in_parameters_that_do_not_learn_and_of_another_type() -> None:
    network = nn.Conv2d(1, 2, 3).to(torch.float64).requires_grad_(False)
    assert cost_of(network, 5, channels=1) == (20, 2 * 9 * 9)


def test_an_unknown_name() -> None:
    with pytest.raises(UsageError, match="resnet18"):
        cost_by_name("resnet81", 224)
