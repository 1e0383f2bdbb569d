"""Whether `torch.compile` repays its time: what it costs and what it gains, measured on a copy of the learner."""

from __future__ import annotations

import importlib.util
import os
import shutil
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn

from anmok.core.types import Batch
from anmok.engine.plan_measure import GRADIENT, STRAY, distance, step
from anmok.engine.runtime import Runtime

LEAST = 1200.0  # seconds of training from which on compiling is tried: its minute is then 5 % of them
MARGIN = 1.2  # times its own time, what it has to gain


class Compiled(NamedTuple):
    """What came of compiling: whether it is taken, what it took, seconds of a step with it, and why it is not taken."""

    taken: bool
    compile_s: float | None = None
    step_s: float | None = None
    reason: str = ""


def compiler_missing(device: torch.device) -> str:
    """What `torch.compile` needs and this machine lacks; empty where nothing."""
    if device.type == "cuda":
        return "" if importlib.util.find_spec("triton") else "there is no triton for torch.compile"
    if device.type == "mps":
        return ""
    if os.environ.get("CXX") and shutil.which(os.environ["CXX"]):
        return ""
    if any(shutil.which(name) for name in ("g++", "clang++", "c++", "cl")):
        return ""
    return "there is no C++ compiler for torch.compile"


def try_compiled(
    trial: nn.Module, batch: Batch, runtime: Runtime, eager_s: float, expected_s: float, asked: bool = False,
    rounds: int = 3, clock: Callable[[], float] = time.perf_counter,
    build: Callable[[nn.Module], None] = lambda module: module.compile(),
) -> Compiled:  # fmt: skip
    """Compile the trial and time it. eager_s: of a step without; expected_s: of the whole training without.

    asked: taken wherever it works, whatever it gains. What strays from the same step without it is never taken.
    """
    if reason := compiler_missing(runtime.device):
        return Compiled(False, reason=reason)
    trial.train()
    plain = step(trial, batch, runtime, gradient=True)
    try:
        build(trial)
        began = clock()
        first = step(trial, batch, runtime, gradient=True)
        compile_s = max(0.0, clock() - began - eager_s)
        fastest = min(step(trial, batch, runtime, clock).seconds for _ in range(rounds))
    except RuntimeError as error:  # of dynamo, of the back end, of the compiler
        return Compiled(False, reason=f"torch.compile failed: {str(error).splitlines()[0][:200] if str(error) else ''}")
    if not abs(first.loss - plain.loss) <= STRAY * max(1e-3, abs(plain.loss)):
        return Compiled(False, compile_s, fastest, "its loss strays")
    if not draws(trial) and not distance(first.gradient, plain.gradient) <= GRADIENT[runtime.dtype]:
        return Compiled(False, compile_s, fastest, "its gradient strays")
    gain = expected_s * (1 - fastest / eager_s)
    if not asked and gain < MARGIN * compile_s:
        return Compiled(
            False, compile_s, fastest, f"it would save {max(0.0, gain):.0f} s and takes {compile_s:.0f} s itself"
        )
    return Compiled(True, compile_s, fastest)


def draws(module: nn.Module) -> bool:
    """Whether a pass draws at random (dropout, stochastic depth), which compiled code does in another order."""
    rates = [getattr(m, name, 0.0) for m in module.modules() for name in ("p", "drop_prob")]
    return any(isinstance(rate, float) and rate > 0 for rate in rates)
