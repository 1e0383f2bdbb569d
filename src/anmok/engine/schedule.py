"""The learning rate as a pure function of the step (of plateau: of the validation history)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from anmok.engine.config import ScheduleConfig
from anmok.engine.duration import Duration


def factor(config: ScheduleConfig, step: float, total: int, per_epoch: int, losses: Sequence[float] = ()) -> float:
    """Share of the peak learning rate at `step` of `total`, in [0, 1].

    Warm-up (linear from 0) comes first, the course fills the steps after it. per_epoch: steps of an epoch. losses: the
    validation losses so far, one an epoch, for plateau.
    """
    warmup = Duration.parse(config.warmup).steps(per_epoch, total)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    step, total = step - warmup, max(1, total - warmup)
    if config.name == "step":
        return config.gamma ** (step // max(1, Duration.parse(config.every).steps(per_epoch, total)))
    if config.name == "exponential":
        return config.gamma ** (step // per_epoch)
    if config.name == "cosine":  # Loshchilov & Hutter 2017
        return config.end + (1 - config.end) * (1 + math.cos(math.pi * min(1, step / total))) / 2
    if config.name == "linear":
        return 1 + (config.end - 1) * min(1, step / total)
    if config.name == "one-cycle":
        return one_cycle(step, total, config.start, config.peak, config.end)
    if config.name == "plateau":
        return plateau(losses, config.gamma, config.patience)
    return 1.0


def one_cycle(step: float, total: int, start: float, peak: float, end: float) -> float:
    """Cosine up from `start` to 1 over the share `peak` of the steps, cosine down to `end` (Smith & Topin 2018).

    torch's OneCycleLR with div_factor 1 / start and final_div_factor start / end.
    """
    top, last = peak * total - 1, total - 1
    if step <= top and top > 0:
        low, high, share = start, 1.0, step / top
    else:
        low, high, share = 1.0, end, min(1.0, (step - top) / max(1e-12, last - top))
    return high + (low - high) * (1 + math.cos(math.pi * share)) / 2


def plateau(losses: Sequence[float], gamma: float, patience: int) -> float:
    """gamma for every stretch of over `patience` epochs without a better loss: torch's ReduceLROnPlateau, min mode.

    Better means lower by more than 0.01 %.
    """
    best, bad, drops = math.inf, 0, 0
    for loss in losses:
        if loss < best * (1 - 1e-4):
            best, bad = loss, 0
        else:
            bad += 1
        if bad > patience:
            drops, bad = drops + 1, 0
    return gamma**drops
