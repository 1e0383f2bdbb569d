"""Measure, then choose: a few real steps in each form, and the fastest that stays true is taken."""

from __future__ import annotations

import copy
import math
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import nn

from anmok.core.machine import free_memory_bytes
from anmok.core.progress import warn
from anmok.core.types import Batch
from anmok.engine.config import RuntimeConfig
from anmok.engine.plan_candidates import Form, candidates, thread_counts
from anmok.engine.plan_compile import LEAST, compiler_missing, try_compiled
from anmok.engine.plan_measure import Step, settle, step, strays
from anmok.engine.plan_memory import fitting, parts_for
from anmok.engine.runtime import Runtime

PROBE = 16  # images of the first look at speed and memory
LIMIT = 20.0  # seconds that planning takes, about
FEWER = 1.05  # times as fast, what other thread counts have to be


@dataclass(frozen=True)
class Plan:
    """What was chosen at the start of a run, stored with it and never chosen again.

    timings: images/s by form. rejected: forms that were not taken however fast, and why. parts: that a batch goes in,
    as memory holds no more; images: of a measured step. cached: whether it was measured for an earlier run.
    """

    dtype: str = "fp32"
    channels_last: bool = False
    threads: int = 1
    seconds_per_image: float | None = None
    timings: dict[str, float] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    compiled: bool = False
    compile_s: float | None = None
    parts: int = 1
    images: int = 0
    rejected: dict[str, str] = field(default_factory=dict)
    cached: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for plan.json."""
        return asdict(self)

    def describe(self) -> str:
        """One line: what was taken, and what each form would have cost."""
        more = f"{', compiled' if self.compiled else ''}{f', batches in {self.parts} parts' if self.parts > 1 else ''}"
        taken = f"{self.dtype}{', channels_last' if self.channels_last else ''}{more}, {self.threads} thread(s)"
        if not self.timings:
            return taken
        before = "measured for an earlier run" if self.cached else f"measured on {self.images} images"
        speeds = ", ".join(f"{k} {v:.1f} images/s" for k, v in self.timings.items())
        without = "".join(f"; not {name}: {reason}" for name, reason in self.rejected.items())
        return f"{taken}; {before}: {speeds}{without}"


def choose(
    learner: nn.Module, batch: Batch, runtime: Runtime, config: RuntimeConfig, machine: dict[str, Any],
    always: bool = False, rounds: int = 4, clock: Callable[[], float] = time.perf_counter, limit: float = LIMIT,
    accumulate: int = 1, expected: Callable[[float], float] = lambda image_s: 0.0,
) -> Plan:  # fmt: skip
    """Time forward and backward of `batch` in each candidate form, on a copy of the learner, in `rounds` turns.

    An explicit dtype, channels_last, thread count or compile wins over the measurement; plan='none' is plain fp32. A
    single form is measured only if `always`. limit: seconds that this may take, about: the batch is measured in part,
    and in fewer turns, where it would take longer. accumulate: parts that a batch goes in by setting. expected: seconds
    of the whole training by those of an image, for what has to repay itself.
    """
    dtypes, layouts = candidates(config, runtime.device)
    forms = [Form(d, c) for d in dtypes for c in layouts]
    asked = config.compile == "true"
    if len(forms) == 1 and not always and not asked:
        return Plan(*forms[0], threads=runtime.threads, machine=machine)
    trial = copy.deepcopy(learner)
    measured = batch.part(slice(-(-len(batch) // accumulate)))
    with torch.random.fork_rng(devices=[runtime.device] if runtime.device.type == "cuda" else []):
        most = fitting(_train(trial), measured, runtime.form(*forms[0]), free_memory_bytes(), PROBE)
        parts = parts_for(len(batch), most) if most < len(measured) else 1
        measured = measured.part(slice(max(1, most)))
        measured, rounds = _affordable(trial, measured, runtime.form(*forms[0]), limit, len(forms), rounds)
        speeds, rejected = _turns(trial, measured, runtime, forms, rounds, clock, limit)
        best = max(speeds, key=lambda form: speeds[form])
        timings = {str(form): round(speed, 2) for form, speed in speeds.items()}
        plan = Plan(
            *best, runtime.threads, 1 / speeds[best], timings, machine, parts=parts, images=len(measured),
            rejected=rejected,
        )  # fmt: skip
        if config.plan == "auto" and config.threads is None and runtime.device.type == "cpu" and runtime.world == 1:
            plan = _with_threads(plan, trial, measured, runtime)
        if config.compile != "false" and (asked or config.plan == "auto"):
            plan = _with_compile(plan, trial, measured, runtime, expected, asked)
    return plan


def _train(trial: nn.Module) -> nn.Module:
    settle(trial, still=False)
    return trial


def _affordable(
    trial: nn.Module, batch: Batch, runtime: Runtime, limit: float, forms: int, rounds: int
) -> tuple[Batch, int]:
    """The part of the batch, PROBE images at least, and the turns, two at least, that the limit allows."""
    part = batch.part(slice(PROBE))
    step(trial, part, runtime)  # the first is slow
    each = step(trial, part, runtime).seconds / max(1, len(part))
    for turns in range(rounds, 1, -1):
        if forms * (turns + 1) * each * len(batch) <= limit:
            return batch, turns
    turns = min(rounds, 2)
    images = int(limit / (forms * (turns + 1) * max(each, 1e-9)))
    return batch.part(slice(max(PROBE, images))), turns


def _turns(
    trial: nn.Module, batch: Batch, runtime: Runtime, forms: list[Form], rounds: int, clock: Callable[[], float],
    limit: float,
) -> tuple[dict[Form, float], dict[str, str]]:  # fmt: skip
    """Images/s of each form that stays true, and why others do not.

    In turns, and the best of each: a busy machine slows one form by chance. The first turn warms up, and compares what
    the forms compute, with nothing drawn.
    """
    ends, rejected = time.monotonic() + limit, {}
    settle(trial, still=True)
    true: Step | None = None
    for form in forms:
        try:
            found = step(trial, batch, runtime.form(*form), clock, gradient=True)
        except RuntimeError as error:  # the device lacks an operation in this form; the first one has to work
            if true is None:
                raise
            rejected[str(form)] = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            trial.zero_grad(set_to_none=True)
            continue
        true = true or found
        if reason := strays(found, true, form.dtype):
            rejected[str(form)] = reason
    settle(trial, still=False)
    fastest = {form: math.inf for form in forms if str(form) not in rejected or form == forms[0]}
    for turn in range(rounds):
        for form in fastest:
            fastest[form] = min(fastest[form], step(trial, batch, runtime.form(*form), clock).seconds)
        if turn and time.monotonic() > ends:
            break
    return {form: len(batch) / max(seconds, 1e-12) for form, seconds in fastest.items()}, rejected


def _with_threads(plan: Plan, trial: nn.Module, batch: Batch, runtime: Runtime) -> Plan:
    """The plan with fewer threads, where that is faster: small networks lose more to waiting than they gain."""
    others = [n for n in thread_counts(runtime.threads) if n != runtime.threads]
    form, fastest = runtime.form(plan.dtype, plan.channels_last), plan
    try:
        for threads in others:
            torch.set_num_threads(threads)
            image_s = min(step(trial, batch, form).seconds for _ in range(3)) / len(batch)
            plan.timings[f"{threads} thread(s)"] = round(1 / image_s, 2)
            if image_s * FEWER < (fastest.seconds_per_image or math.inf):
                fastest = replace(fastest, threads=threads, seconds_per_image=image_s)
    finally:
        torch.set_num_threads(fastest.threads)
    return fastest


def _with_compile(
    plan: Plan, trial: nn.Module, batch: Batch, runtime: Runtime, expected: Callable[[float], float], asked: bool
) -> Plan:
    """The plan compiled, where that repays itself or is asked for and works."""
    image_s = plan.seconds_per_image or 0.0
    expected_s = expected(image_s)
    if not asked and expected_s < LEAST:
        return plan
    if reason := compiler_missing(runtime.device):
        if asked:
            warn(f"{reason}; the plan is the fastest form without it")
        return replace(plan, rejected={**plan.rejected, "compiled": reason})
    form = runtime.form(plan.dtype, plan.channels_last)
    try:
        found = try_compiled(trial, batch, form, image_s * len(batch), expected_s, asked)
    finally:
        if "torch._dynamo" in sys.modules:  # importing it takes seconds
            torch.compiler.reset()
    timings = dict(plan.timings)
    if found.step_s is not None:
        timings["compiled"] = round(len(batch) / found.step_s, 2)
    plan = replace(plan, compile_s=found.compile_s, timings=timings)
    if found.taken and found.step_s is not None:
        return replace(plan, compiled=True, seconds_per_image=found.step_s / len(batch))
    if asked:
        warn(f"not compiled: {found.reason}")
    return replace(plan, rejected={**plan.rejected, "compiled": found.reason})
