"""A head that learns from standardised features: the same function before, an ordinary layer after."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from anmok.models.standardized import FLOOR, StandardizedHead, fold_standardized, standardize_head


class Net(nn.Module):
    """Features of very different sizes, and a head."""

    def __init__(self, bias: bool = True):
        super().__init__()
        self.pool = nn.Flatten()
        self.head = nn.Linear(12, 3, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.pool(x) * torch.logspace(-1, 2, 12) + 5)


def images(n: int = 40) -> torch.Tensor:
    return torch.randn(n, 3, 2, 2, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("bias", [True, False])
def test_it_says_the_same_before_and_after_and_sees_features_of_one_size(bias: bool) -> None:
    torch.manual_seed(0)
    net, seen = Net(bias).double(), images().double()
    before = net(seen)
    assert standardize_head(net, ("head",), seen)
    torch.testing.assert_close(net(seen), before, rtol=1e-9, atol=1e-9)
    head = net.head
    assert isinstance(head, StandardizedHead)
    inner = (net.pool(seen) * torch.logspace(-1, 2, 12).double() + 5 - head.center) * head.scale
    torch.testing.assert_close(inner.mean(0), torch.zeros(12).double(), rtol=0, atol=1e-6)
    spread = (net.pool(seen) * torch.logspace(-1, 2, 12)).std(0, correction=0)
    torch.testing.assert_close(head.scale, 1 / (spread + FLOOR * spread.mean()), rtol=1e-6, atol=0)
    with torch.no_grad():
        head.weight += torch.randn(head.weight.shape)
    learned = net(seen)
    fold_standardized(net)
    assert type(net.head) is nn.Linear
    torch.testing.assert_close(net(seen), learned, rtol=1e-6, atol=1e-6)


def test_it_learns_where_features_differ_in_size() -> None:
    """Forty steps of gradient descent, each at the best of its rates: the standardised head is far ahead."""
    seen = images(200)
    target = (seen.flatten(1)[:, 0] > 0).long()  # the smallest feature of all says the class

    def loss_after(rate: float, standardised: bool) -> float:
        torch.manual_seed(1)
        net = Net()
        if standardised:
            assert standardize_head(net, ("head",), seen)
        optimizer = torch.optim.SGD(net.parameters(), lr=rate)
        for _ in range(40):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(seen), target)
            loss.backward()
            optimizer.step()
        return float(loss.detach())

    plain = min(loss_after(rate, False) for rate in (1e-4, 3e-4, 1e-3, 3e-3, 1e-2))
    assert min(loss_after(rate, True) for rate in (1.0, 3.0)) < 0.6 < 1 < plain


def test_other_heads_stay_as_they_are() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1))
    assert not standardize_head(net, ("1",), images())
    assert not standardize_head(Net(), ("head", "pool"), images())
    assert not standardize_head(Net(), ("head",), images(1))
    mapped = nn.Sequential(nn.Linear(2, 2))  # applied to every place of a map
    assert not standardize_head(mapped, ("0",), images())
    assert type(mapped[0]) is nn.Linear
