"""One step of a learner in one form: its seconds, its loss, its gradient; and whether these are still true."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn

from anmok.core.types import Batch
from anmok.engine.runtime import Runtime

STRAY = 0.05  # a form whose loss strays further than this from fp32's, relatively, is not taken
# The same of the gradient: norm of the difference over the norm of fp32's. Rounding to bf16 alone makes 0.01 (ConvNeXt,
# ViT) to 0.16 (MobileNetV3, by its batch normalisation) at the start of training, to fp16 0.001 to 0.05.
GRADIENT = {"fp32": 0.01, "bf16": 0.35, "fp16": 0.2}
SCALE = 1024.0  # of an fp16 loss, whose small gradients would be 0 else

Gradient = list[torch.Tensor]


class Step(NamedTuple):
    """Seconds, loss and gradient (empty where it was not asked for) of one forward and backward pass."""

    seconds: float
    loss: float
    gradient: Gradient


def step(
    trial: nn.Module, batch: Batch, runtime: Runtime, clock: Callable[[], float] = time.perf_counter,
    gradient: bool = False,
) -> Step:  # fmt: skip
    """One pass; the same dropout each time, no weight changes. The caller forks torch's generator."""
    data = runtime.to_device(batch)
    trial = runtime.place(trial)
    torch.manual_seed(0)
    runtime.finish()
    scale = SCALE if runtime.dtype == "fp16" else 1.0
    began = clock()
    with runtime.autocast():
        outcome = trial(data)
    (outcome.loss * scale).backward()
    loss = float(outcome.loss.detach())
    runtime.finish()
    seconds = clock() - began
    found = [p.grad.detach().float() / scale for p in trial.parameters() if p.grad is not None] if gradient else []
    trial.zero_grad(set_to_none=True)
    return Step(seconds, loss, found)


def settle(trial: nn.Module, still: bool) -> None:
    """Train mode; still: without what is drawn (dropout, stochastic depth), so that forms can be compared."""
    trial.train(not still)
    if still:
        for module in trial.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.train()


def strays(found: Step, true: Step, dtype: str) -> str:
    """Why a form is not taken: how far its loss or its gradient is from fp32's; empty where both are within bounds."""
    off = abs(found.loss - true.loss) / max(1e-3, abs(true.loss))
    if not off <= STRAY:
        return f"its loss strays by {off:.1%} from fp32's, allowed are {STRAY:.0%}"
    away = distance(found.gradient, true.gradient)
    if not away <= GRADIENT[dtype]:
        return f"its gradient strays by {away:.1%} from fp32's, allowed are {GRADIENT[dtype]:.0%}"
    return ""


def distance(gradient: Gradient, true: Gradient) -> float:
    """Norm of the difference over the norm of the true one; 0 where both are empty or zero."""
    apart = sum(float((a.cpu() - b.cpu()).double().pow(2).sum()) for a, b in zip(gradient, true, strict=True))
    norm = sum(float(b.cpu().double().pow(2).sum()) for b in true)
    return (apart / max(norm, 1e-24)) ** 0.5 if apart or norm else 0.0
