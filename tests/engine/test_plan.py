"""The plan: forms that stray are not taken, memory is found by trying or by account, compiling has to repay itself."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from anmok.core.types import Batch
from anmok.engine import plan as plan_module
from anmok.engine import plan_compile
from anmok.engine.config import RuntimeConfig
from anmok.engine.plan import Plan, choose
from anmok.engine.plan_candidates import candidates, half_precisions, thread_counts
from anmok.engine.plan_compile import Compiled, compiler_missing, try_compiled
from anmok.engine.plan_measure import GRADIENT, Step, distance, settle, step, strays
from anmok.engine.plan_memory import fits, fitting, kept_bytes, largest, parts_for
from anmok.engine.runtime import Runtime

CPU = Runtime(torch.device("cpu"))
ONE = RuntimeConfig(threads=1)


class Outcome(NamedTuple):
    loss: torch.Tensor
    logs: dict[str, torch.Tensor]


class Learner(nn.Module):
    """A small network; `most`: images that its device holds; `crooked`: what its bf16 gradient is multiplied by."""

    def __init__(self, most: int = 1000, crooked: float = 1.0, dropout: float = 0.0):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 3))
        self.most, self.crooked = most, crooked

    def forward(self, batch: Batch) -> Outcome:
        if len(batch) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        logits = self.net(batch.images.float() / 255)
        if logits.dtype == torch.bfloat16 and self.crooked != 1.0:
            logits = logits.detach() + (logits - logits.detach()) * self.crooked
        return Outcome(nn.functional.cross_entropy(logits.float(), batch.targets), {})


def batch_of(images: int) -> Batch:
    rng = np.random.default_rng(0)
    return Batch(rng.integers(0, 256, (images, 2, 2, 3), np.uint8), rng.integers(0, 3, images), ["x"] * images)


def learner(**options: Any) -> Learner:
    torch.manual_seed(0)
    return Learner(**options)


@given(st.integers(0, 300), st.integers(1, 300))
def test_bisection_finds_the_largest_that_fits(holds: int, most: int) -> None:
    asked: list[int] = []

    def ask(n: int) -> bool:
        asked.append(n)
        return n <= holds

    assert largest(ask, most) == min(holds, most)
    assert len(asked) <= 11


def test_running_out_of_memory_is_survived() -> None:
    module = learner(most=5)
    assert [fits(module, batch_of(n), CPU) for n in (5, 6)] == [True, False]
    assert all(p.grad is None for p in module.parameters())
    assert largest(lambda n: fits(module, batch_of(n), CPU), 32) == 5


def test_parts_are_those_that_fit() -> None:
    assert [parts_for(64, n) for n in (64, 40, 32, 10, 1, 0)] == [1, 2, 2, 7, 32, 32]
    for images, most in ((64, 5), (63, 9), (7, 3)):
        assert -(-images // parts_for(images, most)) <= most


def test_what_a_step_keeps_by_hand() -> None:
    module = nn.Module()
    module.layer = nn.Linear(12, 8, bias=False)  # type: ignore[assignment]

    def forward(batch: Batch) -> Outcome:
        images = batch.images.flatten(1).float()
        return Outcome(module.layer(images).relu().sum(), {})  # type: ignore[operator]

    module.forward = forward  # type: ignore[method-assign]
    # the layer keeps its input float32[10, 12], the rectifier its output float32[10, 8]
    assert kept_bytes(module, batch_of(10), CPU) == 10 * 12 * 4 + 10 * 8 * 4


def test_a_cpu_without_memory_takes_a_batch_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    each = kept_bytes(learner(), batch_of(16), CPU) / 16
    assert fitting(learner(), batch_of(64), CPU, 1 << 40, 16) == 64
    assert fitting(learner(), batch_of(64), CPU, int(each * 2 * 20 / 0.8) + 8, 16) == 20
    monkeypatch.setattr(plan_module, "free_memory_bytes", lambda: int(each * 2 * 20 / 0.8) + 8)
    plan = choose(learner(), batch_of(64), CPU, ONE, {})
    assert (plan.parts, plan.images) == (4, 20)
    assert "4 parts" in plan.describe()


def test_a_form_whose_gradient_strays_is_not_taken() -> None:
    plan = choose(learner(crooked=3.0), batch_of(32), CPU, ONE, {})
    assert plan.dtype == "fp32"
    assert "gradient strays by 200" in plan.rejected["bf16"]
    assert set(plan.timings) == {"fp32", "fp32 channels_last"}
    assert "not bf16" in plan.describe()
    straight = choose(learner(dropout=0.5), batch_of(32), CPU, ONE, {})  # dropout is no straying
    assert not straight.rejected
    assert straight.images == 32


def test_an_operation_that_a_form_lacks_rejects_it() -> None:
    class Lacking(Learner):
        def forward(self, batch: Batch) -> Outcome:
            if torch.is_autocast_enabled("cpu"):
                raise NotImplementedError("'odd_op' not implemented for 'BFloat16'")
            return super().forward(batch)

    torch.manual_seed(0)
    plan = choose(Lacking(), batch_of(8), CPU, ONE, {})
    assert plan.dtype == "fp32"
    assert "odd_op" in plan.rejected["bf16"]


def test_distance_and_bounds_by_hand() -> None:
    true = Step(1.0, 2.0, [torch.tensor([3.0, 4.0])])
    assert distance([torch.tensor([3.0, 5.0])], true.gradient) == pytest.approx(0.2)
    assert distance([], []) == 0
    assert not strays(Step(1.0, 2.0, [torch.tensor([3.0, 5.0])]), true, "bf16")
    assert "gradient" in strays(Step(1.0, 2.0, [torch.tensor([3.0, 5.0])]), true, "fp32")
    assert "loss" in strays(Step(1.0, 2.2, true.gradient), true, "bf16")
    assert "loss" in strays(Step(1.0, float("nan"), true.gradient), true, "bf16")
    assert "gradient" in strays(Step(1.0, 2.0, [torch.tensor([3.0, float("nan")])]), true, "bf16")
    assert GRADIENT["fp32"] < GRADIENT["fp16"] < GRADIENT["bf16"]


def test_a_steps_gradient_is_torchs() -> None:
    module, batch = learner(), batch_of(9)
    settle(module, still=True)
    found = step(module, batch, CPU, gradient=True)
    loss = nn.functional.cross_entropy(
        module.net(torch.from_numpy(batch.images) / 255), torch.from_numpy(batch.targets)
    )
    expected = torch.autograd.grad(loss, list(module.parameters()))
    assert found.loss == pytest.approx(loss.item())
    assert distance(found.gradient, list(expected)) < 1e-6


def test_candidates_of_each_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    assert half_precisions(torch.device("cuda")) == ["bf16", "fp16"]
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    assert half_precisions(torch.device("cuda")) == ["fp16"]
    for new, expected in ((True, ["bf16", "fp16"]), (False, ["fp16"])):
        monkeypatch.setattr(torch.backends.mps, "is_macos_or_newer", lambda *version, new=new: new)
        assert half_precisions(torch.device("mps")) == expected
    assert candidates(RuntimeConfig(dtype="bf16"), CPU.device)[0] == ["bf16"]
    assert candidates(RuntimeConfig(plan="none"), CPU.device) == (["fp32"], [False])
    assert [thread_counts(n) for n in (1, 2, 16)] == [[1], [1, 2], [1, 8, 16]]


def test_planning_keeps_to_its_time_and_leaves_the_learner_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    module = learner()
    before = copy.deepcopy(module.state_dict())
    monkeypatch.setattr(plan_module, "step", lambda *a, **k: Step(1.0, 0.0, []))  # of PROBE images
    part, turns = plan_module._affordable(module, batch_of(64), CPU, limit=20, forms=4, rounds=4)
    assert (len(part), turns) == (26, 2)  # 4 forms, 3 passes each, 1/16 s an image
    part, turns = plan_module._affordable(module, batch_of(64), CPU, limit=60, forms=4, rounds=4)
    assert (len(part), turns) == (64, 2)
    monkeypatch.undo()
    choose(module, batch_of(64), CPU, ONE, {})
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])


def test_an_accumulated_batch_is_measured_in_its_parts() -> None:
    assert choose(learner(), batch_of(64), CPU, ONE, {}, accumulate=4).images == 16


def test_compiling_has_to_repay_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[float, bool]] = []

    def tried(trial: Any, batch: Any, form: Any, eager_s: float, expected_s: float, must: bool) -> Compiled:
        asked.append((expected_s, must))
        return Compiled(True, 40.0, eager_s / 2)

    monkeypatch.setattr(plan_module, "try_compiled", tried)
    monkeypatch.setattr(plan_module, "compiler_missing", lambda device: "")
    short = choose(learner(), batch_of(8), CPU, ONE, {}, expected=lambda s: 100.0)
    assert not short.compiled
    assert not asked
    long = choose(learner(), batch_of(8), CPU, ONE, {}, expected=lambda s: 5000.0)
    assert long.compiled
    assert long.compile_s == 40
    assert asked == [(5000.0, False)]
    assert "compiled" in long.describe()
    never = choose(
        learner(), batch_of(8), CPU, RuntimeConfig(threads=1, compile="false"), {}, expected=lambda s: 5000.0
    )
    assert not never.compiled
    must = choose(learner(), batch_of(8), CPU, RuntimeConfig(threads=1, compile="true", plan="none"), {})
    assert must.compiled
    assert RuntimeConfig.model_validate({"compile": True}).compile == "true"


def test_without_a_compiler_the_next_best_is_taken_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    warned: list[str] = []
    monkeypatch.setattr(plan_module, "warn", warned.append)
    monkeypatch.setattr(plan_compile.shutil, "which", lambda name: None)
    monkeypatch.delenv("CXX", raising=False)
    assert "C++" in compiler_missing(CPU.device)
    plan = choose(learner(), batch_of(8), CPU, RuntimeConfig(threads=1, compile="true"), {})
    assert not plan.compiled
    assert "no C++ compiler" in warned[0]
    assert "no C++ compiler" in plan.rejected["compiled"]


def ticking(*seconds: float) -> Any:
    """A clock that shows the sums of these seconds."""
    shown = iter(np.cumsum(seconds).tolist())
    return lambda: next(shown)


def test_what_compiling_costs_and_gains_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_compile, "compiler_missing", lambda device: "")
    common: dict[str, Any] = {"rounds": 1, "build": lambda m: m.compile(backend="eager")}
    times = (0, 31, 0, 0.5)  # the first call, and one step of half a second
    gains = try_compiled(learner(), batch_of(8), CPU, 1.0, 5000.0, clock=ticking(*times), **common)
    assert gains == Compiled(True, 30.0, 0.5)
    loses = try_compiled(learner(), batch_of(8), CPU, 1.0, 60.0, clock=ticking(*times), **common)
    assert not loses.taken
    assert "save 30 s and takes 30 s" in loses.reason

    def fail(module: nn.Module) -> None:
        raise RuntimeError("the back end broke\nat length")

    broken = try_compiled(learner(), batch_of(8), CPU, 1.0, 5000.0, build=fail)
    assert broken == Compiled(False, reason="torch.compile failed: the back end broke")

    def spoil(module: nn.Module) -> None:
        with torch.no_grad():
            for p in module.parameters():
                p.add_(1.0)

    assert "strays" in try_compiled(learner(), batch_of(8), CPU, 1.0, 5000.0, build=spoil).reason
    torch.compiler.reset()


def test_a_compiled_learner_keeps_its_names(monkeypatch: pytest.MonkeyPatch) -> None:
    module, asked = learner(), []
    monkeypatch.setattr(Learner, "compile", lambda self: asked.append(self))
    names = set(module.state_dict())
    form = Runtime(torch.device("cpu"), compiled=True)
    wrapped = form.wrap(module)
    assert wrapped is module
    assert asked == [module]
    assert set(module.state_dict()) == names


def test_fewer_threads_have_to_be_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    used = torch.get_num_threads()
    try:
        for one, taken in ((0.5, 1), (0.99, 4)):
            pace = {1: one, 2: 1.2, 4: 1.0}
            monkeypatch.setattr(
                plan_module, "step", lambda *a, pace=pace, **k: Step(pace[torch.get_num_threads()], 0.0, [])
            )
            plan = Plan(threads=4, seconds_per_image=1.0 / 8, timings={})
            found = plan_module._with_threads(plan, learner(), batch_of(8), Runtime(torch.device("cpu"), threads=4))
            assert found.threads == taken
            assert torch.get_num_threads() == taken
            assert set(found.timings) == {"1 thread(s)", "2 thread(s)"}
    finally:
        torch.set_num_threads(used)
