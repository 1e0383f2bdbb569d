"""Lookahead: by hand, as the paper's algorithm and as airbench94's code, whole and taken up again."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from anmok.core.config import resolve
from anmok.core.errors import UsageError
from anmok.engine.config import OptimConfig
from anmok.engine.lookahead import Lookahead
from anmok.models.average import EMA
from anmok.stages.averages import build_average


def module(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))


def stepped(net: nn.Sequential, average: Any, steps: range, total: int = 12) -> None:
    """Plain descent on inputs of their own for each step, in training mode."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    for step in steps:
        inputs = torch.randn(8, 4, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        (net(inputs) - inputs[:, :3]).square().mean().backward()
        optimizer.step()
        average.update(net, (step + 1) / total)


def test_one_meeting_by_hand() -> None:
    net = nn.Linear(1, 1, bias=False)
    nn.init.constant_(net.weight, 2.0)
    average = Lookahead(net, 0.25, every=2)
    nn.init.constant_(net.weight, 6.0)
    average.update(net)
    assert (net.weight.item(), average.module.weight.item()) == (6.0, 2.0)  # not yet
    average.update(net)
    assert (net.weight.item(), average.module.weight.item()) == (3.0, 3.0)  # 2 + (6 - 2) / 4, and on from there


def test_the_papers_algorithm() -> None:
    fast = module()
    slow = [p.detach().clone() for p in fast.parameters()]
    mine = copy.deepcopy(fast)
    average = Lookahead(mine, 0.5, every=3)
    stepped(mine, average, range(12))

    class Plain:
        steps = 0

        def update(self, net: nn.Module, done: float) -> None:
            self.steps += 1
            if self.steps % 3 == 0:
                with torch.no_grad():
                    for phi, theta in zip(slow, net.parameters(), strict=True):
                        phi += 0.5 * (theta - phi)
                        theta.copy_(phi)

    stepped(fast, Plain(), range(12))
    assert not torch.equal(slow[0], module()[0].weight)
    for a, b in zip(slow, average.module.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)
    for a, b in zip(fast.parameters(), mine.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


def test_the_share_falls_as_airbenchs_does() -> None:
    average = Lookahead(nn.Linear(1, 1), 1 - 0.95**5, power=3)
    for step in (0, 1, 50, 99, 100):
        decay = 0.95**5 * (step / 100) ** 3  # what airbench94 keeps of the slow weights
        assert average.share_at(step / 100) == pytest.approx(1 - decay, abs=1e-12)
    constant = Lookahead(nn.Linear(1, 1), 0.5)
    assert [constant.share_at(done) for done in (0.0, 0.3, 1.0)] == [0.5] * 3


def test_buffers_are_those_of_the_module_that_learns() -> None:
    net = module()
    average = Lookahead(net, 0.5, every=5)
    stepped(net, average, range(7))
    for mine, theirs in zip(average.module.buffers(), net.buffers(), strict=True):
        assert torch.equal(mine, theirs)
    assert net[1].running_mean.abs().sum() > 0
    assert not torch.equal(average.module[0].weight, net[0].weight)  # the slow ones stay between two meetings


def test_taken_up_in_between_it_is_bit_identical() -> None:
    whole, first = module(), module()
    kept = Lookahead(whole, 0.3, every=5, power=3)
    stepped(whole, kept, range(12))
    before = Lookahead(first, 0.3, every=5, power=3)
    stepped(first, before, range(7))
    # only the momentum of the plain optimizer is forgotten in this test, so both forget it
    again = module(1)
    again.load_state_dict(first.state_dict())
    after = Lookahead(again, 0.3, every=5, power=3)
    after.restore({k: v.clone() for k, v in before.weights.items()}, before.updates)
    stepped(again, after, range(7, 12))
    stepped(first, before, range(7, 12))
    for a, b in zip(before.weights.values(), after.weights.values(), strict=True):
        assert torch.equal(a, b)
    for a, b in zip(first.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_one_average_at_a_time_and_long_enough() -> None:
    with pytest.raises(UsageError, match="leave one of them out"):
        resolve(OptimConfig, {"ema": 0.9, "lookahead": 0.5})
    net = module()
    assert build_average(net, OptimConfig(), 10) is None
    assert isinstance(build_average(net, OptimConfig(ema=0.9), 10), EMA)
    made = build_average(net, OptimConfig(lookahead=0.4, lookahead_every=10, lookahead_power=2), 10)
    assert isinstance(made, Lookahead)
    assert (made.share, made.every, made.power) == (0.4, 10, 2)
    with pytest.raises(UsageError, match="9 steps"):
        build_average(net, OptimConfig(lookahead=0.4, lookahead_every=10), 9)
