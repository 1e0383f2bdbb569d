"""Plans are kept for later runs, and --minutes are turned into steps, said aloud."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from anmok.core.config import resolve
from anmok.core.types import Batch
from anmok.engine.pace import Budget, reserve
from anmok.engine.plan import Plan
from anmok.engine.runtime import Runtime
from anmok.stages import plan_cache, planning
from anmok.stages.config import TrainConfig
from anmok.stages.plan_cache import keep_plan, plan_folder, plan_key, read_plan
from anmok.stages.planning import Length, choose_form, read_length, settle_length

CPU = Runtime(torch.device("cpu"))


class Outcome:
    def __init__(self, loss: torch.Tensor):
        self.loss, self.logs = loss, {}  # type: ignore[var-annotated]


class Learner(nn.Module):
    def __init__(self, width: int = 8):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(12, width), nn.ReLU(), nn.Linear(width, 3))

    def forward(self, batch: Batch) -> Outcome:
        return Outcome(nn.functional.cross_entropy(self.net(batch.images.float() / 255), batch.targets))


class Loader:
    """As many batches of the same twelve images as are asked for."""

    table = range(12)

    def epoch(self, epoch: int) -> Any:
        rng = np.random.default_rng(0)
        yield Batch(rng.integers(0, 256, (12, 2, 2, 3), np.uint8), rng.integers(0, 3, 12), ["x"] * 12)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ANMOK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "plans"


@pytest.fixture
def aloud(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    heard: list[str] = []
    for name in ("say", "warn"):
        monkeypatch.setattr(planning, name, heard.append)
    monkeypatch.setattr(plan_cache, "warn", heard.append)
    return heard


def config_of(**settings: Any) -> TrainConfig:
    return resolve(TrainConfig, {"threads": 1, **settings})


def test_the_same_network_is_not_measured_twice(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert plan_folder() == cache
    first = choose_form(config_of(), Learner(), Loader(), CPU, 1)  # type: ignore[arg-type]
    assert not first.cached
    assert first.timings
    monkeypatch.setattr(planning, "choose", lambda *a, **k: pytest.fail("measured again"))
    again = choose_form(config_of(), Learner(), Loader(), CPU, 1)  # type: ignore[arg-type]
    assert again.cached
    assert {**again.to_dict(), "cached": False} == first.to_dict()
    assert "for an earlier run" in again.describe()
    monkeypatch.setattr(planning, "choose", lambda *a, **k: Plan(dtype="fp32", images=5))
    wider = choose_form(config_of(), Learner(9), Loader(), CPU, 1)  # type: ignore[arg-type]
    asked = choose_form(config_of(**{"runtime.dtype": "fp32"}), Learner(), Loader(), CPU, 1)  # type: ignore[arg-type]
    assert (wider.images, asked.images) == (5, 5)
    assert len(list(cache.glob("*.json"))) == 3


def test_a_kept_plan_without_compiling_is_measured_again_for_a_long_run(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose_form(config_of(), Learner(), Loader(), CPU, 1)  # type: ignore[arg-type]
    asked: list[float] = []

    def choose(*args: Any, expected: Any, **settings: Any) -> Plan:
        asked.append(expected(0.5))
        return Plan(seconds_per_image=0.5, rejected={"compiled": "slower"}, images=5)

    monkeypatch.setattr(planning, "choose", choose)
    long = config_of(epochs=10_000_000)
    assert choose_form(long, Learner(), Loader(), CPU, 1).images == 5  # type: ignore[arg-type]
    assert asked == [0.5 * 12 * 10_000_000]
    assert choose_form(long, Learner(), Loader(), CPU, 1).cached  # type: ignore[arg-type]


def test_what_changes_the_key() -> None:
    batch = next(Loader().epoch(0))
    base = plan_key(Learner(), batch, CPU, {}, {})
    assert base == plan_key(Learner(), batch, CPU, {}, {})
    frozen = Learner()
    frozen.net[1].weight.requires_grad = False
    others = [
        plan_key(frozen, batch, CPU, {}, {}), plan_key(Learner(9), batch, CPU, {}, {}),
        plan_key(Learner(), batch.part(slice(5)), CPU, {}, {}), plan_key(Learner(), batch, CPU, {"dtype": "bf16"}, {}),
        plan_key(Learner(), batch, CPU, {}, {"versions": {"torch": "3"}}),
        plan_key(Learner(), batch, Runtime(torch.device("cpu"), threads=7), {}, {}),
    ]  # fmt: skip
    assert len({base, *others}) == 7


def test_no_room_for_a_plan_is_said_and_a_damaged_one_is_measured_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, aloud: list[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("ANMOK_CACHE", str(tmp_path / "file"))
    keep_plan("k", Plan())
    assert "cannot be kept" in aloud[0]
    assert read_plan("k") is None
    monkeypatch.setenv("ANMOK_CACHE", str(tmp_path / "good"))
    keep_plan("k", Plan(dtype="bf16"))
    assert read_plan("k") == Plan(dtype="bf16", cached=True)
    for damage in ("{", '{"unknown": 1}', "[1]"):
        (plan_folder() / "k.json").write_text(damage)
        assert read_plan("k") is None


@given(st.floats(0.05, 60), st.floats(1e-4, 1.0), st.integers(10, 50_000), st.integers(0, 5_000), st.floats(0, 2))
def test_the_steps_of_some_minutes_fill_them(
    minutes: float, image_s: float, images: int, val: int, gone: float
) -> None:
    per_epoch = -(-images // 64)
    found = settle_length(config_of(minutes=minutes), image_s, images, per_epoch, val, gone)
    assert found.steps is not None
    assert found.budget is not None
    assert found.epochs == -(-found.steps // per_epoch)
    step_s = image_s * images / per_epoch * planning.OVERHEAD
    kept = reserve(found.budget.val_s, minutes * 60)
    took = gone + found.steps * step_s + found.epochs * found.budget.val_s + kept
    if found.steps > 1:
        assert took <= minutes * 60 * 1.05 + found.budget.val_s
    assert took >= minutes * 60 * 0.9 - step_s - found.budget.val_s - kept or minutes * 60 < gone


def test_what_is_chosen_is_said(aloud: list[str]) -> None:
    found = settle_length(config_of(minutes=20), 0.02, 3200, 50, 400, 10.0)
    assert found.budget == Budget(1200, 10.0, pytest.approx(3.84))  # type: ignore[arg-type]
    assert "20 minutes are" in aloud[-1]
    assert "epoch(s) of about 76.8 s" in aloud[-1]
    assert "kept for evaluation" in aloud[-1]
    few = settle_length(config_of(minutes=0.5), 0.02, 3200, 50, 400, 1.0)
    assert few.epochs == 1
    assert few.steps is not None
    assert 1 <= few.steps < 50
    assert f"do not do for one epoch of about 76.8 s: {few.steps} of its 50" in aloud[-1]
    assert settle_length(config_of(minutes=1, epochs=7), 0.02, 3200, 50, 400, 1.0) == Length(7)
    assert settle_length(config_of(), None, 3200, 50, 400, 1.0) == Length(planning.DEFAULT_EPOCHS)


def test_a_length_is_read_as_it_was_written() -> None:
    for length in (Length(3), Length(3, 25, Budget(60.0, 1.0, 2.0))):
        assert read_length(length.to_dict()) == length
    assert read_length({"epochs": 4}) == Length(4)  # of a run from before
