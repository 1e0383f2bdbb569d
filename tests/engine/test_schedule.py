"""Schedules against torch's own schedulers, step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler as torch_schedules

from anmok.engine.config import ScheduleConfig
from anmok.engine.schedule import factor, plateau

TOTAL, PER_EPOCH = 120, 10


def torch_rates(build: Callable[[Any], Any], steps: int, per: int = 1) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = build(optimizer)
    out = []
    for step in range(steps):
        out.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if (step + 1) % per == 0:
            scheduler.step()
    return out


CASES: dict[str, tuple[ScheduleConfig, Callable[[Any], Any], int]] = {
    "step": (
        ScheduleConfig(name="step", every="3 epochs", gamma=0.5),
        lambda o: torch_schedules.StepLR(o, step_size=30, gamma=0.5), 1,
    ),
    "exponential": (
        ScheduleConfig(name="exponential", gamma=0.9), lambda o: torch_schedules.ExponentialLR(o, gamma=0.9), PER_EPOCH,
    ),
    "cosine": (
        ScheduleConfig(name="cosine", end=0.01),
        lambda o: torch_schedules.CosineAnnealingLR(o, T_max=TOTAL, eta_min=0.01), 1,
    ),
    "linear": (
        ScheduleConfig(name="linear", end=0.1),
        lambda o: torch_schedules.LinearLR(o, start_factor=1.0, end_factor=0.1, total_iters=TOTAL), 1,
    ),
    "one-cycle": (
        ScheduleConfig(name="one-cycle", start=1 / 25, end=1 / 25 / 1e4, peak=0.3),
        lambda o: torch_schedules.OneCycleLR(
            o, max_lr=1.0, total_steps=TOTAL, pct_start=0.3, div_factor=25, final_div_factor=1e4, cycle_momentum=False
        ), 1,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_equals_torchs(name: str) -> None:
    config, build, per = CASES[name]
    mine = [factor(config, step, TOTAL, PER_EPOCH) for step in range(TOTAL)]
    assert mine == pytest.approx(torch_rates(build, TOTAL, per), abs=1e-9)


def test_plateau_equals_torchs() -> None:
    losses = [1.0, 0.9, 0.91, 0.92, 0.93, 0.94, 0.5, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6]
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = torch_schedules.ReduceLROnPlateau(optimizer, factor=0.1, patience=2)
    theirs, mine = [], []
    for n, loss in enumerate(losses):
        scheduler.step(loss)
        theirs.append(optimizer.param_groups[0]["lr"])
        mine.append(plateau(losses[: n + 1], 0.1, 2))
    assert mine == pytest.approx(theirs)


def test_warmup_rises_from_zero_then_gives_way() -> None:
    config = ScheduleConfig(name="constant", warmup="10%")
    rates = [factor(config, step, TOTAL, PER_EPOCH) for step in range(20)]
    assert rates[:12] == pytest.approx([(s + 1) / 13 for s in range(12)])
    assert rates[12:] == [1.0] * 8


@pytest.mark.parametrize("name", ["constant", "step", "exponential", "cosine", "linear", "one-cycle", "plateau"])
def test_a_factor_is_never_negative_nor_above_one(name: str) -> None:
    config = ScheduleConfig(name=name, warmup="1 epoch")  # type: ignore[arg-type]
    for total in (1, 2, 11, 50):
        rates = [factor(config, step, total, 10, [1.0] * (step // 10)) for step in range(total)]
        assert all(0 <= r <= 1 + 1e-12 for r in rates)
