"""Measure, then choose: a few real steps in each form, and the fastest that stays true is taken."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import nn

from anmok.core.types import Batch
from anmok.engine.config import RuntimeConfig
from anmok.engine.runtime import Runtime

STRAY = 0.05  # a form whose loss strays further than this from fp32's, relatively, is not taken


@dataclass(frozen=True)
class Plan:
    """What was chosen at the start of a run, stored with it and never chosen again."""

    dtype: str = "fp32"
    channels_last: bool = False
    threads: int = 1
    seconds_per_image: float | None = None
    timings: dict[str, float] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for plan.json."""
        return asdict(self)

    def describe(self) -> str:
        """One line: what was taken, and what each form would have cost."""
        taken = f"{self.dtype}{', channels_last' if self.channels_last else ''}, {self.threads} thread(s)"
        if not self.timings:
            return taken
        return f"{taken}; measured {', '.join(f'{k} {v:.1f} images/s' for k, v in self.timings.items())}"


def choose(
    learner: nn.Module, batch: Batch, runtime: Runtime, config: RuntimeConfig, machine: dict[str, Any],
    always: bool = False, rounds: int = 4, clock: Callable[[], float] = time.perf_counter,
) -> Plan:  # fmt: skip
    """Time forward and backward of `batch` in each candidate form, on a copy of the learner, in `rounds` turns.

    An explicit dtype or channels_last wins over the measurement; plan='none' is plain fp32. A single form is measured
    only if `always`.
    """
    dtypes, layouts = candidates(config, runtime.device)
    forms = [(d, c) for d in dtypes for c in layouts]
    if len(forms) == 1 and not always:
        return Plan(*forms[0], threads=runtime.threads, machine=machine)
    fastest = dict.fromkeys(forms, math.inf)
    losses: dict[tuple[str, bool], float] = {}
    trial = copy.deepcopy(learner).train()
    with torch.random.fork_rng(devices=[runtime.device] if runtime.device.type == "cuda" else []):
        for turn in range(rounds + 1):  # in turns, and the best of each: a busy machine slows one form by chance
            for form in forms:
                seconds, loss = _step(trial, batch, runtime.form(*form), clock)
                losses.setdefault(form, loss)
                if turn:  # the first turn warms up
                    fastest[form] = min(fastest[form], seconds)
    true = losses[forms[0]]
    speeds = {
        form: len(batch) / seconds
        for form, seconds in fastest.items()
        if form == forms[0] or abs(losses[form] - true) <= STRAY * max(1e-3, abs(true))
    }
    best = max(speeds, key=lambda form: speeds[form])
    timings = {f"{d}{' channels_last' if c else ''}": round(v, 2) for (d, c), v in speeds.items()}
    return Plan(*best, runtime.threads, 1 / speeds[best], timings, machine)


def candidates(config: RuntimeConfig, device: torch.device) -> tuple[list[str], list[bool]]:
    """Precisions (fp32 first, as the reference) and memory formats worth timing on a device."""
    dtypes: list[str]
    if config.dtype != "auto":
        dtypes = [config.dtype]
    elif config.plan == "none":
        dtypes = ["fp32"]
    else:
        dtypes = ["fp32", "bf16"]
        if device.type == "cuda" and not torch.cuda.is_bf16_supported():
            dtypes = ["fp32", "fp16"]
    if config.channels_last is not None:
        layouts = [config.channels_last]
    else:
        layouts = [False] if config.plan == "none" else [False, True]
    return dtypes, layouts


def _step(trial: nn.Module, batch: Batch, runtime: Runtime, clock: Callable[[], float]) -> tuple[float, float]:
    """Seconds and loss of one forward and backward pass; the same dropout each time, no weight changes."""
    data = runtime.to_device(batch)
    trial = runtime.place(trial)
    torch.manual_seed(0)  # the caller's generator is forked
    _wait(runtime)
    began = clock()
    with runtime.autocast():
        outcome = trial(data)
    outcome.loss.backward()
    loss = float(outcome.loss.detach())
    _wait(runtime)
    seconds = clock() - began
    trial.zero_grad(set_to_none=True)
    return seconds, loss


def _wait(runtime: Runtime) -> None:
    if runtime.device.type == "cuda":
        torch.cuda.synchronize(runtime.device)
