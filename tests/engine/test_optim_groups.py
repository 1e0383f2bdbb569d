"""Groups of an optimizer: shares of the learning rate by parameter."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from anmok.engine.config import OptimConfig
from anmok.engine.optim import build_optimizer, set_lr

NAMES = ("sgd", "adam", "adamw", "muon")
RATES = {"0.weight": 0.25, "0.bias": 0.25, "1.weight": 0.5, "1.bias": 0.5}


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2))


@pytest.mark.parametrize("name", NAMES)
def test_each_parameter_is_in_one_group_with_its_share(name: str) -> None:
    module = network()
    optimizer = build_optimizer(module, OptimConfig(name=name, lr=0.1, aux_lr=0.1), rates=RATES)  # type: ignore[arg-type]
    peaks = {id(p): g["peak"] for g in optimizer.param_groups for p in g["params"]}
    assert sum(len(g["params"]) for g in optimizer.param_groups) == len(peaks) == 8
    for key, parameter in module.named_parameters():
        assert peaks[id(parameter)] == pytest.approx(0.1 * RATES.get(key, 1.0))
    assert set_lr(optimizer, 0.5) == pytest.approx(0.05)  # the first group has the largest share
    assert all(g["lr"] == pytest.approx(0.5 * g["peak"]) for g in optimizer.param_groups)


def test_a_step_of_plain_sgd_is_as_long_as_its_share() -> None:
    module = network()
    config = OptimConfig(name="sgd", lr=0.1, momentum=0, weight_decay=0)
    optimizer = build_optimizer(module, config, rates=RATES)
    before = {n: p.detach().clone() for n, p in module.named_parameters()}
    module(torch.ones(2, 4)).sum().backward()
    optimizer.step()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None
        expected = before[name] - 0.1 * RATES.get(name, 1.0) * parameter.grad
        torch.testing.assert_close(parameter.detach(), expected)


@pytest.mark.parametrize("name", NAMES)
def test_shares_of_one_change_nothing(name: str) -> None:
    config = OptimConfig(name=name)  # type: ignore[arg-type]
    plain, shared = (
        build_optimizer(network(), config, rates=rates) for rates in (None, {"0.weight": 1.0, "2.bias": 1.0})
    )
    keep = ("lr", "peak", "weight_decay", "muon")
    assert [{k: g.get(k) for k in keep} for g in plain.param_groups] == [
        {k: g.get(k) for k in keep} for g in shared.param_groups
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_parameter_without_a_gradient_stays(name: str) -> None:
    module = network()
    optimizer = build_optimizer(module, OptimConfig(name=name, lr=0.1))  # type: ignore[arg-type]
    module[0].requires_grad_(False)  # as before it is unfrozen
    before = module[0].weight.detach().clone()
    module(torch.ones(2, 4)).square().sum().backward()
    optimizer.step()
    assert torch.equal(module[0].weight, before)
