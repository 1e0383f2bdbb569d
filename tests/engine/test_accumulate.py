"""A batch in parts has the gradient of the whole, in float64 to 1e-10; where it has not, that is said."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from anmok.core.errors import DataError
from anmok.core.events import Events, read_events
from anmok.core.types import Batch
from anmok.engine import loop
from anmok.engine.config import OptimConfig, ScheduleConfig
from anmok.engine.gradients import gradients, split_changes
from anmok.engine.loop import Course, Hooks, State, fit
from anmok.engine.optim import build_optimizer
from anmok.engine.runtime import Runtime
from anmok.engine.totals import Totals
from anmok.objectives.config import LossConfig
from anmok.objectives.contrastive import Contrastive
from anmok.objectives.losses import MeanLoss, build_loss
from anmok.objectives.supervised import Supervised

CPU = Runtime(torch.device("cpu"))
CLASSES = 4


class Network(nn.Module):
    """What `Supervised` asks of a classifier, in float64."""

    def __init__(self, outputs: int, task: str):
        super().__init__()
        self.task = task
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(12, 9), nn.Tanh(), nn.Linear(9, outputs)).double()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images.double() / 255)  # type: ignore[no-any-return]


class Waiting:
    wait_s = 0.0


def batch_of(targets: np.ndarray) -> Batch:
    images = np.random.default_rng(1).integers(0, 256, (len(targets), 2, 2, 3), np.uint8)
    return Batch(images, targets, [str(i) for i in range(len(targets))])


def gradient(loss: MeanLoss, batch: Batch, parts: int, task: str = "multiclass", outputs: int = CLASSES) -> Any:
    """(flat gradient float64, the mean loss as the epoch's totals have it)."""
    torch.manual_seed(0)
    learner: Any = Supervised(Network(outputs, task), loss)  # type: ignore[arg-type]
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.1)
    state = State()
    totals = Totals(state, Waiting(), CPU.device)
    gradients(learner, optimizer, batch, len(batch), CPU, parts, state, totals, Events(None))
    totals.store()
    return torch.cat([p.grad.flatten() for p in learner.parameters()]), state.loss / len(batch)


def cases() -> Iterator[tuple[str, LossConfig, np.ndarray, str, int]]:
    rng = np.random.default_rng(0)
    hard = rng.integers(0, CLASSES, 11)
    soft = rng.dirichlet(np.ones(CLASSES), 11).astype(np.float32)
    many = (rng.random((11, CLASSES)) < 0.4).astype(np.float32)
    unknown = many.copy()
    unknown[:3, 1:] = np.nan
    unknown[7] = np.nan
    weights = [0.1, 3.0, 1.0, 7.0]
    yield "plain", LossConfig(), hard, "multiclass", CLASSES
    yield "class weights", LossConfig(class_weights=weights, label_smoothing=0.1), hard, "multiclass", CLASSES
    yield "mixed targets", LossConfig(class_weights=weights), soft, "multiclass", CLASSES
    yield "an ignored class", LossConfig(ignore_index=int(hard[0]), class_weights=weights), hard, "multiclass", CLASSES
    yield "focal", LossConfig(name="focal", class_weights=weights), hard, "multiclass", CLASSES
    yield "labels", LossConfig(pos_weight=weights), many, "multilabel", CLASSES
    yield "unknown labels", LossConfig(pos_weight=weights, class_weights=weights), unknown, "multilabel", CLASSES
    yield "unknown labels, focal", LossConfig(name="focal"), unknown, "multilabel", CLASSES
    yield "unknown labels, asymmetric", LossConfig(name="asymmetric"), unknown, "multilabel", CLASSES
    yield "unknown labels, bce", LossConfig(name="bce"), unknown, "multilabel", CLASSES
    yield "one output", LossConfig(pos_weight=[3.0], class_weights=[0.2, 2.0]), hard % 2, "binary", 1
    yield "one output, mixed", LossConfig(), rng.dirichlet([1, 1], 11).astype(np.float32), "binary", 1


@pytest.mark.parametrize("parts", [2, 3, 5])
@pytest.mark.parametrize(("name", "config", "targets", "task", "outputs"), list(cases()))
def test_parts_have_the_gradient_of_the_whole(
    name: str, config: LossConfig, targets: np.ndarray, task: str, outputs: int, parts: int
) -> None:
    loss = build_loss(config, task, [1] * max(2, outputs), outputs)  # type: ignore[arg-type]
    whole, mean = gradient(loss, batch_of(targets), 1, task, outputs)
    apart, same = gradient(loss, batch_of(targets), parts, task, outputs)
    assert whole.norm() > 1e-6
    assert float((whole - apart).norm() / whole.norm()) < 1e-10
    assert same == pytest.approx(mean, rel=1e-10)


@given(st.lists(st.integers(0, CLASSES - 1), min_size=2, max_size=24), st.integers(1, 9), st.integers(0, CLASSES - 1))
def test_whatever_is_ignored_parts_equal_torchs_whole(labels: list[int], parts: int, ignored: int) -> None:
    targets = np.array(labels)
    loss = build_loss(LossConfig(ignore_index=ignored), "multiclass", [1] * CLASSES, CLASSES)
    mine, _ = gradient(loss, batch_of(targets), parts)
    torch.manual_seed(0)
    network = Network(CLASSES, "multiclass")
    logits = network(torch.from_numpy(batch_of(targets).images))
    if (targets != ignored).any():
        nn.functional.cross_entropy(logits, torch.from_numpy(targets), ignore_index=ignored).backward()
        theirs = torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])
        assert float((mine - theirs).norm()) <= 1e-10 * max(1.0, float(theirs.norm()))
    else:
        assert not mine.any()


def test_a_mean_of_means_would_have_been_wrong() -> None:
    loss = build_loss(LossConfig(ignore_index=0), "multiclass", [1] * CLASSES, CLASSES)
    batch = batch_of(np.array([0, 0, 0, 1, 2, 3]))
    whole, _ = gradient(loss, batch, 1)
    naive = sum(gradient(loss, batch.part(rows), 1)[0] / 2 for rows in (slice(3), slice(3, 6)))
    assert float((whole - naive).norm() / whole.norm()) > 0.1


class Outcome(NamedTuple):
    loss: torch.Tensor
    logs: dict[str, torch.Tensor]


class Normed(nn.Module):
    """A network with batch normalisation, whose loss overflows in the steps named."""

    def __init__(self, overflowing: tuple[int, ...] = (), whole_batch: str = ""):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(12, 3), nn.BatchNorm1d(3))
        self.overflowing, self.calls, self.whole_batch = overflowing, 0, whole_batch

    def forward(self, batch: Batch) -> Outcome:
        loss = nn.functional.cross_entropy(self.net(batch.images.float() / 255), batch.targets)
        loss = loss * (float("inf") if self.calls in self.overflowing else 1.0)
        self.calls += 1
        return Outcome(loss, {})


class Threes:
    """Four batches of three images."""

    wait_s = 0.0

    def __len__(self) -> int:
        return 4

    def epoch(self, epoch: int, start: int) -> Iterator[Batch]:
        return itertools.repeat(batch_of(np.array([0, 1, 2])), 4 - start)


HOOKS = Hooks(dict, lambda s: None, lambda s: False, lambda s: None, lambda: False)


def run(module: nn.Module, runtime: Runtime, path: Path, **course: Any) -> State:
    state, events = State(), Events(path)
    optimizer = build_optimizer(module, OptimConfig(name="sgd", lr=0.1))
    try:
        fit(module, optimizer, Threes(), runtime, Course(schedule=ScheduleConfig(), **course), state, HOOKS, events)
    finally:
        events.close()
    return state


def test_steps_that_overflow_are_skipped_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(loop, "say", said.append)
    scaled = Runtime(torch.device("cpu"), scaler=torch.amp.GradScaler("cpu", init_scale=4.0))
    run(Normed((1, 2)), scaled, tmp_path / "e.jsonl", epochs=1)
    assert [e["step"] for e in read_events(tmp_path / "e.jsonl", "overflow")] == [1, 2]
    event = next(read_events(tmp_path / "e.jsonl", "epoch"))
    assert event["skipped"] == 2
    assert np.isfinite(event["loss"])
    assert "2 overflowed steps skipped" in said[0]


def test_an_update_says_whether_it_was_made() -> None:
    scaled = Runtime(torch.device("cpu"), scaler=torch.amp.GradScaler("cpu", init_scale=4.0))
    weight = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([{"params": [weight], "peak": 1.0}], lr=1.0)
    scaled.backward(weight.sum() * float("inf"))
    assert not scaled.update(optimizer, clip=1.0)
    assert weight.tolist() == [1.0, 1.0]
    scaled.backward(weight.sum())
    assert scaled.update(optimizer, clip=None)
    assert weight.tolist() == [0.0, 0.0]


def test_a_run_of_nothing_but_overflows_ends(tmp_path: Path) -> None:
    scaled = Runtime(torch.device("cpu"), scaler=torch.amp.GradScaler("cpu"))
    with pytest.raises(DataError, match="overflowed in fp16"):
        run(Normed((0, 1, 2, 3)), scaled, tmp_path / "e.jsonl", epochs=1)


def test_what_parts_change_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warned: list[str] = []
    monkeypatch.setattr(loop, "warn", warned.append)
    run(Normed(), CPU, tmp_path / "plain.jsonl", epochs=2)
    assert not warned
    run(Normed(whole_batch="pairs are negatives"), CPU, tmp_path / "parts.jsonl", epochs=2, accumulate=2)
    assert len(warned) == 1
    assert "pairs are negatives" in warned[0]
    assert "batch normalisation" in warned[0]


def test_who_is_changed_by_parts() -> None:
    assert split_changes(Normed().train()) == ["batch normalisation takes the statistics of each part"]
    assert split_changes(Normed().eval()) == []
    assert "negatives" in Contrastive.whole_batch
    plain: Any = Supervised(Network(3, "multiclass"), build_loss(LossConfig(), "multiclass", [1, 1, 1], 3))  # type: ignore[arg-type]
    assert split_changes(plain) == []
    f1: Any = Supervised(
        Network(3, "multiclass"),  # type: ignore[arg-type]
        build_loss(LossConfig(name="soft-f1"), "multiclass", [1, 1, 1], 3),
    )
    assert "all images of a batch" in split_changes(f1)[0]
