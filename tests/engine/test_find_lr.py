"""The range test against theory: gradient descent on a quadratic is stable below 2 / λmax."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

from anmok.core.errors import DataError
from anmok.core.types import Batch
from anmok.engine.config import OptimConfig
from anmok.engine.find_lr import geometric, smoothed, suggest, sweep
from anmok.engine.optim import build_optimizer
from anmok.engine.runtime import Runtime

CPU = Runtime(torch.device("cpu"))
PLAIN = OptimConfig(name="sgd", lr=0.05, momentum=0, weight_decay=0)


class Outcome(NamedTuple):
    loss: torch.Tensor
    logs: dict[str, torch.Tensor]


class Regression(nn.Module):
    """Half the mean squared error of a linear map that starts at 0."""

    def __init__(self, d: int):
        super().__init__()
        self.map = nn.Linear(d, 1, bias=False)
        nn.init.zeros_(self.map.weight)

    def forward(self, batch: Batch) -> Outcome:
        return Outcome(((self.map(batch.images)[:, 0] - batch.targets) ** 2).mean() / 2, {})


class Rows:
    """Batches of rows in an order of each epoch's own, the last one cut short."""

    wait_s = 0.0

    def __init__(self, x: np.ndarray, y: np.ndarray, size: int):
        self.x, self.y, self.size = x, y, size

    def __len__(self) -> int:
        return -(-len(self.x) // self.size)

    def epoch(self, epoch: int, start: int) -> Iterator[Batch]:
        order = np.random.default_rng(epoch).permutation(len(self.x))
        for low in range(start * self.size, len(order), self.size):
            rows = order[low : low + self.size]
            yield Batch(self.x[rows], self.y[rows], [""] * len(rows))


def rows(scale: float, seed: int = 0, size: int = 128) -> tuple[Rows, float]:
    """Data of a linear law with noise, and the largest stable rate 2 / λmax of the mean squared error's Hessian."""
    rng = np.random.default_rng(seed)
    x = (scale * rng.normal(size=(530, 16)) * np.linspace(1, 0.3, 16)).astype(np.float32)
    y = (x @ rng.normal(size=16) / scale + 0.1 * rng.normal(size=530)).astype(np.float32)
    return Rows(x, y, size), float(2 / np.linalg.eigvalsh(x.T @ x / len(x))[-1])


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("scale", [0.5, 3.0, 20.0])
def test_the_lowest_loss_is_just_below_the_largest_stable_rate(scale: float, seed: int) -> None:
    data, stable = rows(scale, seed)
    learner, rates = Regression(16), geometric(1e-7, 1e3, 120)
    losses = sweep(learner, build_optimizer(learner, PLAIN), data, CPU, 0.05, rates, whole=128)
    found = suggest(rates, losses, len(rates))
    assert 0.4 * stable < found.minimum < 1.2 * stable
    assert found.steepest < found.minimum
    assert found.tenth == pytest.approx(found.minimum / 10, rel=0.01)
    assert not found.falling
    assert len(losses) < len(rates)  # it diverged and ended
    assert rates[len(losses) - 1] < 30 * stable


def test_a_sweep_that_ends_early_says_that_the_loss_still_fell() -> None:
    data, stable = rows(1.0)
    learner, rates = Regression(16), geometric(1e-4 * stable, 0.3 * stable, 60)
    losses = sweep(learner, build_optimizer(learner, PLAIN), data, CPU, 0.05, rates)
    assert suggest(rates, losses, len(rates)).falling


def test_groups_of_another_rate_keep_their_share() -> None:
    data, _ = rows(1.0)
    learner = nn.Module()
    learner.net = nn.Sequential(nn.Linear(16, 4), nn.Linear(4, 1))
    learner.forward = lambda batch: Outcome(learner.net(batch.images).pow(2).mean(), {})  # type: ignore[method-assign]
    shares = {"net.0.weight": 0.25, "net.0.bias": 0.25}
    optimizer = build_optimizer(learner, PLAIN, rates=shares)
    sweep(learner, optimizer, data, CPU, 0.05, geometric(1e-6, 1e-3, 20))
    assert sorted({round(group["lr"], 9) for group in optimizer.param_groups}) == [0.00025, 0.001]


def test_where_nothing_falls_it_is_said() -> None:
    rates = geometric(1e-7, 10, 60)
    for seed in range(20):
        noise = np.random.default_rng(seed).normal(2.3, 0.1, 60)
        with pytest.raises(DataError, match="falls at none") as caught:
            suggest(rates, list(noise), 60)
        assert caught.value.code == "flat"
    data, _ = rows(1.0)
    data.y[:] = np.nan
    learner = Regression(16)
    with pytest.raises(DataError, match="not finite"):
        sweep(learner, build_optimizer(learner, PLAIN), data, CPU, 0.05, rates)


def test_smoothing_moves_nothing_and_divergence_counts_for_little() -> None:
    losses = [2.0] * 30 + [1.0] + [2.0] * 29
    assert int(smoothed(losses).argmin()) == 30
    np.testing.assert_allclose(smoothed([1.5] * 20), 1.5)
    assert smoothed([1.0] * 30 + [1e9]).max() < 2.0
    assert geometric(1e-3, 1e-1, 3) == pytest.approx([1e-3, 1e-2, 1e-1])
