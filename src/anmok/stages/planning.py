"""How a run computes, measured once and kept: precision, memory format, threads, and how many epochs."""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from anmok.core.machine import fingerprint
from anmok.core.progress import say, warn
from anmok.data.batches import Loader
from anmok.engine.plan import Plan, choose
from anmok.engine.runtime import Runtime
from anmok.stages.config import LearnConfig

DEFAULT_EPOCHS = 30
PROBE = 16  # images of a planning step
OVERHEAD = 1.2  # of a planned epoch over its bare training steps: validation, checkpoints, a colder cache


def choose_plan(config: LearnConfig, learner: nn.Module, train: Loader, runtime: Runtime) -> tuple[Plan, int]:
    """The measured form of computing, and the number of epochs: as set, or as many as --minutes allow."""
    plan = choose_form(config, learner, train, runtime)
    return plan, count_epochs(config, plan.seconds_per_image, len(train.table))


def choose_form(config: LearnConfig, learner: nn.Module, train: Loader, runtime: Runtime, rounds: int = 4) -> Plan:
    """The measured form of computing. rounds: of the measurement, fewer where little is computed in the form."""
    measure = config.runtime.plan == "auto" or (config.minutes is not None and config.epochs is None)
    batches = train.epoch(0)
    batch = next(batches)
    batches.close()
    probe = batch.part(slice(PROBE))
    measure = measure and len(probe) > 1
    return choose(learner, probe, runtime, config.runtime, fingerprint(), always=measure, rounds=rounds)


def count_epochs(config: LearnConfig, image_s: float | None, images: int, spent: float = 0.0) -> int:
    """Epochs: as set, or as many as --minutes allow.

    image_s: seconds of an image in training, None where nobody measured it; images: of an epoch; spent: seconds of the
    minutes that are gone already.
    """
    if config.epochs is not None or config.minutes is None or image_s is None:
        return config.epochs or DEFAULT_EPOCHS
    epoch = image_s * images * OVERHEAD
    epochs = max(1, math.floor((config.minutes * 60 - spent) / epoch))
    say(f"{config.minutes:g} minutes are {epochs} epoch(s) of about {epoch:.3g} s")
    return epochs


def warn_machine(then: dict[str, Any]) -> None:
    """Say aloud that a resumed run will not repeat bit for bit, where that is so."""
    now = fingerprint()
    before, versions = then.get("versions", {}), now["versions"]
    parts = [f"{k} {then[k]} → {now[k]}" for k in ("cpu", "flags") if k in then and then[k] != now[k]]
    parts += [f"{k} {before[k]} → {versions.get(k)}" for k in before if before[k] != versions.get(k)]
    if parts:
        warn(f"the machine is not the one the run began on ({'; '.join(parts)}); the result may differ in rounding")
