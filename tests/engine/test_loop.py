"""The loop, the optimizers, the plan and the checkpoints."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

from anmok.core.errors import DataError, Interrupted, MachineError, UsageError
from anmok.core.events import Events, read_events
from anmok.core.types import Batch
from anmok.engine import checkpoint
from anmok.engine.config import OptimConfig, RuntimeConfig, ScheduleConfig
from anmok.engine.duration import Duration
from anmok.engine.loop import Course, Hooks, State, fit
from anmok.engine.muon import Muon, orthogonalize
from anmok.engine.optim import build_optimizer
from anmok.engine.plan import choose
from anmok.engine.runtime import Runtime, micro_batches, pick_device
from anmok.models.average import EMA

CPU = Runtime(torch.device("cpu"))


class Outcome(NamedTuple):
    loss: torch.Tensor
    logs: dict[str, torch.Tensor]


class Learner(nn.Module):
    """A linear softmax; `poison` makes the loss NaN from that call on."""

    def __init__(self, poison: int | None = None, dropout: float = 0.0):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Dropout(dropout), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3))
        self.poison, self.calls = poison, 0

    def forward(self, batch: Batch) -> Outcome:
        self.calls += 1
        logits = self.net(batch.images.float() / 255)
        loss = nn.functional.cross_entropy(logits, batch.targets)
        if self.poison is not None and self.calls > self.poison:
            loss = loss * float("nan")
        return Outcome(loss, {"correct": (logits.argmax(1) == batch.targets).sum()})


class Fixed:
    """Seven images in batches of three."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.images = rng.integers(0, 256, (7, 2, 2, 3), np.uint8)
        self.targets = rng.integers(0, 3, 7)
        self.wait_s = 0.0

    def __len__(self) -> int:
        return 3

    def epoch(self, epoch: int, start: int) -> Iterator[Batch]:
        for low in range(3 * start, 7, 3):
            rows = slice(low, low + 3)
            yield Batch(self.images[rows], self.targets[rows], ["x"] * len(self.targets[rows]))


def learner(seed: int = 0, **options: Any) -> Learner:
    torch.manual_seed(seed)
    return Learner(**options)


def hooks(losses: Iterator[float] | None = None, **changes: Any) -> Hooks:
    steady = losses or itertools.repeat(1.0)

    def validate() -> dict[str, float]:
        loss = next(steady)
        return {"loss": loss, "select": -loss}

    usual: dict[str, Any] = {
        "validate": validate, "keep_best": lambda s: None, "due": lambda s: False, "save": lambda s: None,
        "stop": lambda: False,
    }  # fmt: skip
    return Hooks(**{**usual, **changes})


def train(
    module: nn.Module, course: Course, state: State | None = None, events: Events | None = None, **changes: Any
) -> State:
    state = state or State()
    optimizer = build_optimizer(module, OptimConfig(name="sgd", lr=0.1, weight_decay=0))
    fit(module, optimizer, Fixed(), CPU, course, state, hooks(**changes), Events(None))
    return state


def test_parts_of_a_batch_give_the_gradient_of_the_whole() -> None:
    batch = next(Fixed().epoch(0, 0))
    gradients = []
    for parts in (1, 2, 3):
        module = learner()
        pieces = list(micro_batches(batch, parts))
        assert [last for _, last in pieces] == [False] * (parts - 1) + [True]
        for micro, _ in pieces:
            CPU.backward(module(CPU.to_device(micro)).loss * (len(micro) / len(batch)))
        gradients.append([p.grad.clone() for p in module.parameters() if p.grad is not None])
    for other in gradients[1:]:
        for a, b in zip(gradients[0], other, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)


def test_accumulated_training_equals_plain_training() -> None:
    plain, parts = learner(), learner()
    train(plain, Course(2, ScheduleConfig()))
    train(parts, Course(2, ScheduleConfig(), accumulate=2))
    for a, b in zip(plain.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


class Small(Learner):
    """A learner on a device that holds `most` images."""

    def __init__(self, most: int):
        super().__init__()
        self.most = most

    def forward(self, batch: Batch) -> Outcome:
        if len(batch.images) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().forward(batch)


class Eights(Fixed):
    """The same image eight times over, in one batch."""

    def __len__(self) -> int:
        return 1

    def epoch(self, epoch: int, start: int) -> Iterator[Batch]:
        rows = np.arange(8) % 7
        yield Batch(self.images[rows], self.targets[rows], ["x"] * 8)


def test_what_the_devices_memory_does_not_hold_goes_in_parts(tmp_path: Path) -> None:
    results = []
    for most in (8, 2):
        torch.manual_seed(0)
        module, state = Small(most), State()
        events = Events(tmp_path / f"{most}.jsonl")
        optimizer = build_optimizer(module, OptimConfig(name="sgd", lr=0.1, weight_decay=0))
        fit(module, optimizer, Eights(), CPU, Course(2, ScheduleConfig()), state, hooks(), events)
        events.close()
        results.append((module, state, list(read_events(tmp_path / f"{most}.jsonl", "memory"))))
    (whole, _, none), (parts, state, said) = results
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    assert not none
    assert [event["parts"] for event in said] == [2, 4]  # and the second epoch begins with what it found
    assert state.parts == 4
    assert State(**state.to_dict()).parts == 4


def test_a_device_too_small_for_two_images_is_a_clear_end() -> None:
    with pytest.raises(MachineError, match="does not hold 2 images"):
        fit_eights(Small(1))


def fit_eights(module: nn.Module) -> None:
    optimizer = build_optimizer(module, OptimConfig(name="sgd", lr=0.1, weight_decay=0))
    fit(module, optimizer, Eights(), CPU, Course(1, ScheduleConfig()), State(), hooks(), Events(None))


def test_the_epochs_loss_is_the_mean_over_images(tmp_path: Path) -> None:
    module, data = learner(), Fixed()
    events = Events(tmp_path / "events.jsonl")
    optimizer = torch.optim.SGD([{"params": module.parameters(), "peak": 0.0}], lr=0.0)
    fit(module, optimizer, data, CPU, Course(1, ScheduleConfig()), State(), hooks(), events)
    events.close()
    logits = module.net(torch.from_numpy(data.images).float() / 255)
    expected = nn.functional.cross_entropy(logits, torch.from_numpy(data.targets)).item()
    event = next(read_events(tmp_path / "events.jsonl", "epoch"))
    assert event["loss"] == pytest.approx(expected, abs=1e-6)
    assert {"epoch", "loss", "lr", "images_per_s", "wait_share", "val"} <= event.keys()


def test_early_stop_and_best_follow_validation() -> None:
    kept: list[int] = []
    state = train(
        learner(), Course(10, ScheduleConfig(), early_stop=2), losses=iter([3.0, 2.0, 2.5, 2.4, 9.0]),
        keep_best=lambda s: kept.append(s.epoch + 1),
    )  # fmt: skip
    assert kept == [1, 2]
    assert (state.best_epoch, state.epoch, state.stopped_early) == (2, 4, True)


def test_a_loss_that_is_not_finite_ends_the_run() -> None:
    with pytest.raises(DataError, match="not finite"):
        train(learner(poison=1), Course(1, ScheduleConfig()))


def test_row_42_the_images_of_the_first_bad_batch_are_named_and_kept(tmp_path: Path) -> None:
    class Named(Fixed):
        def epoch(self, epoch: int, start: int) -> Iterator[Batch]:
            for batch in super().epoch(epoch, start):
                first = int(np.flatnonzero((self.images == batch.images[0]).all((1, 2, 3)))[0])
                yield Batch(batch.images, batch.targets, [str(first + n) for n in range(len(batch))])

    module, events = learner(poison=4), Events(tmp_path / "events.jsonl")
    optimizer = build_optimizer(module, OptimConfig(name="sgd", lr=0.1, weight_decay=0))
    with pytest.raises(DataError) as caught:
        fit(module, optimizer, Named(), CPU, Course(5, ScheduleConfig()), State(), hooks(), events)
    events.close()
    (event,) = read_events(tmp_path / "events.jsonl", "not-finite")
    assert (event["step"], event["epoch"], event["ids"]) == (5, 2, ["3", "4", "5"])  # the second batch of an epoch
    assert "It was first not in step 5, whose images are 3, 4, 5." in str(caught.value)
    assert caught.value.code == "nan-loss"


def test_a_signal_saves_and_interrupts_and_the_state_goes_on() -> None:
    saved: list[int] = []
    answers = iter([False, True])
    state = State()
    with pytest.raises(Interrupted):
        train(
            learner(),
            Course(1, ScheduleConfig()),
            state,
            stop=lambda: next(answers),
            save=lambda s: saved.append(s.step),
        )
    assert saved == [2]
    assert (state.step, state.batch, state.images) == (2, 2, 6)


@pytest.mark.parametrize(("name", "rate"), [("sgd", 0.3), ("adam", 0.02), ("adamw", 0.02), ("muon", 0.02)])
def test_every_optimizer_learns(name: str, rate: float) -> None:
    module, data = learner(), Fixed()
    optimizer = build_optimizer(module, OptimConfig(name=name, lr=rate, aux_lr=rate))  # type: ignore[arg-type]
    losses = []
    for _ in range(60):
        batch = CPU.to_device(Batch(data.images, data.targets, []))
        loss = module(batch).loss
        CPU.backward(loss)
        CPU.update(optimizer, clip=10.0)
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


def test_weight_decay_is_for_matrices() -> None:
    groups = build_optimizer(learner(), OptimConfig(name="adamw", weight_decay=0.3)).param_groups
    assert {(g["weight_decay"], min(p.ndim for p in g["params"])) for g in groups} == {(0.3, 2), (0.0, 1)}


def test_adam_inside_muon_is_torchs_adamw() -> None:
    mine, theirs = learner(), learner()
    a = build_optimizer(
        mine, OptimConfig(name="muon", aux_lr=0.01, weight_decay=0.1)
    )  # two matrices: neither is hidden
    b = build_optimizer(theirs, OptimConfig(name="adamw", lr=0.01, weight_decay=0.1))
    batch = CPU.to_device(next(Fixed().epoch(0, 0)))
    for _ in range(5):
        for module, optimizer in ((mine, a), (theirs, b)):
            CPU.backward(module(batch).loss)
            CPU.update(optimizer, None)
    for p, q in zip(mine.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-6)


def test_normalized_matrices_turn_as_far_whatever_their_length() -> None:
    found = []
    for length in (1.0, 30.0):
        weight = torch.nn.Parameter(length * torch.randn(6, 3, 3, 3, generator=torch.Generator().manual_seed(0)))
        weight.grad = torch.randn(6, 3, 3, 3, generator=torch.Generator().manual_seed(1))
        direction = weight.detach() * 6**0.5 / weight.detach().norm()
        Muon([{"params": [weight], "muon": True, "lr": 0.1}], momentum=0.0, normalize=True).step()
        step = (direction - weight.detach()).reshape(6, -1) / 0.1
        torch.testing.assert_close(step, orthogonalize(weight.grad.reshape(6, -1)), atol=1e-5, rtol=1e-4)
        found.append(weight.detach())
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("shape", [(20, 50), (50, 20), (16, 16)])
def test_orthogonalised_matrices_have_singular_values_near_one(shape: tuple[int, int]) -> None:
    values = torch.linalg.svdvals(orthogonalize(torch.randn(shape, generator=torch.Generator().manual_seed(0))))
    assert values.max() < 1.3
    assert values[:10].min() > 0.5


def test_the_plan_takes_the_fastest_form_that_stays_true() -> None:
    ticks = itertools.count()
    batch = next(Fixed().epoch(0, 0))
    module, before = learner(), torch.get_rng_state()
    pace = {False: 1.0, True: 0.5}

    class Clock:
        def __init__(self) -> None:
            self.now, self.calls = 0.0, 0

        def __call__(self) -> float:
            # every step asks twice; forms take turns: fp32, fp32 channels_last, bf16, bf16 channels_last
            self.calls += 1
            if self.calls % 2 == 0:
                form = (self.calls // 2 - 1) % 4
                self.now += pace[form == 2]
            return self.now

    plan = choose(module, batch, CPU, RuntimeConfig(), {}, clock=Clock())
    assert (plan.dtype, plan.channels_last) == ("bf16", False)
    assert torch.equal(before, torch.get_rng_state())
    assert next(ticks) == 0
    fixed = choose(learner(), batch, CPU, RuntimeConfig(dtype="fp32", channels_last=True), {})
    assert (fixed.dtype, fixed.channels_last, fixed.timings) == ("fp32", True, {})
    plain = choose(learner(), batch, CPU, RuntimeConfig(plan="none"), {})
    assert (plain.dtype, plain.channels_last) == ("fp32", False)


def test_a_checkpoint_holds_everything_bit_for_bit(tmp_path: Path) -> None:
    module = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = build_optimizer(module, OptimConfig(name="adamw"))
    module(torch.randn(2, 3, 8, 8)).sum().backward()
    optimizer.step()
    tensors, values = checkpoint.pack_optimizer(optimizer)
    rng = checkpoint.rng_state(torch.device("cpu"))
    checkpoint.save(
        tmp_path, 5, {**checkpoint.prefixed("o", tensors), **checkpoint.prefixed("r", rng)}, {"numbers": values}
    )
    expected = torch.rand(3)
    read, found = checkpoint.load(tmp_path / "step-000000005")
    other = build_optimizer(module, OptimConfig(name="adamw"))
    checkpoint.unpack_optimizer(other, checkpoint.under("o", read), found["numbers"])
    checkpoint.set_rng_state(checkpoint.under("r", read), torch.device("cpu"))
    torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)
    for a, b in zip(optimizer.state.values(), other.state.values(), strict=True):
        for key in a:
            torch.testing.assert_close(a[key], b[key], rtol=0, atol=0)
            assert a[key].stride() == b[key].stride()


def test_two_checkpoints_are_kept_and_a_damaged_one_is_passed_over(tmp_path: Path) -> None:
    for step in (1, 2, 10):
        checkpoint.save(tmp_path, step, {"x": torch.full((2,), float(step))}, {})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-000000002", "step-000000010"]
    os.utime(tmp_path / "step-000000002", (4e9, 4e9))  # a clock that was wrong changes nothing
    found = checkpoint.load_latest(tmp_path)
    assert found is not None
    assert found[1]["step"] == 10
    (tmp_path / "step-000000010" / "state.json").write_text(json.dumps({"version": 1, "step": 11}))
    found = checkpoint.load_latest(tmp_path)
    assert found is not None
    assert found[1]["step"] == 2
    assert checkpoint.load_latest(tmp_path / "none") is None


def test_killed_while_saving_the_checkpoint_before_it_is_whole(tmp_path: Path) -> None:
    code = (
        "import sys, torch, pathlib\nfrom anmok.engine import checkpoint\nstep = 0\n"
        "while True:\n    step += 1\n"
        "    checkpoint.save(pathlib.Path(sys.argv[1]), step, {'x': torch.full((400_000,), float(step))}, {})\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    try:
        for _ in range(30_000):
            if sorted(tmp_path.glob("step-*"))[-1:] > [tmp_path / "step-000000005"]:
                break
            os.sched_yield()
            import time

            time.sleep(0.002)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    found = checkpoint.load_latest(tmp_path)
    assert found is not None
    assert (found[0]["x"] == found[1]["step"]).all()


def test_the_moving_average_by_hand() -> None:
    module = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        module.weight.fill_(0.0)
    average = EMA(module, 0.9)
    expected = 0.0
    for update in range(1, 200):
        with torch.no_grad():
            module.weight.fill_(float(update))
        average.update(module)
        keep = min(0.9, (1 + update) / (10 + update))
        expected = keep * expected + (1 - keep) * update
    assert average.weights["weight"].item() == pytest.approx(expected, rel=1e-5)
    assert average.module.weight.item() == average.weights["weight"].item()  # type: ignore[union-attr, operator]


def test_a_device_that_is_not_there_is_never_replaced_silently() -> None:
    if not torch.cuda.is_available():
        with pytest.raises(MachineError, match="not available"):
            pick_device("cuda")
    with pytest.raises(UsageError, match="no such device"):
        pick_device("gpu")
    assert pick_device("cpu").type == "cpu"


@pytest.mark.parametrize(("text", "steps"), [("500 steps", 500), ("3 epochs", 30), ("5%", 6), ("1 epoch", 10)])
def test_durations(text: str, steps: int) -> None:
    assert Duration.parse(text).steps(10, 120) == steps


def test_durations_in_time_and_nonsense() -> None:
    assert Duration.parse("5 min").value == 300
    for wrong in ("soon", "5", "-1 epochs"):
        with pytest.raises(ValueError, match="duration"):
            Duration.parse(wrong)
