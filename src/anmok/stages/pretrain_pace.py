"""Form and length of a run without labels: how many epochs fit into some minutes is measured on real batches."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from anmok.core.files import write_json
from anmok.core.progress import say
from anmok.data.batches import Loader
from anmok.engine.plan import Plan
from anmok.engine.runtime import Runtime
from anmok.stages.config import LearnConfig
from anmok.stages.planning import choose_form

BATCHES, SECONDS = 12, 20.0  # that a measurement takes at most
OVERHEAD = 1.08  # of an epoch over its training steps: validation, probes, checkpoints, the optimizer


def settled(
    folder: Path, config: LearnConfig, usual: int, learner: nn.Module, batches: Loader, runtime: Runtime,
    stored: Mapping[str, Any] | None,
) -> tuple[Plan, int]:  # fmt: skip
    """The plan and the epochs: as plan.json has them (`stored`), else measured, or `usual`; plan.json has them then."""
    if stored:
        return Plan(**stored["plan"]), stored["epochs"]
    plan, epochs = choose_form(config, learner, batches, runtime), config.epochs or usual
    if config.minutes is not None and config.epochs is None:
        epochs = epochs_for(config.minutes, learner, batches, runtime.form(plan.dtype, plan.channels_last))
    write_json(folder / "plan.json", {"plan": plan.to_dict(), "epochs": epochs, "side": batches.side})
    return plan, epochs


def epochs_for(minutes: float, learner: nn.Module, batches: Loader, runtime: Runtime) -> int:
    """Epochs, at least one, that fill the minutes: a few batches are loaded and learned from by a copy, and timed."""
    seconds, images = pace(learner, batches, runtime)
    epoch = seconds / images * len(batches.table) * OVERHEAD
    epochs = max(1, math.floor(minutes * 60 / epoch))
    say(f"{minutes:g} minutes are {epochs} epoch(s) of about {epoch:.0f} s")
    return epochs


def pace(learner: nn.Module, batches: Loader, runtime: Runtime) -> tuple[float, int]:
    """(seconds, images) of some training steps without an update, after a first one that warms up."""
    trial: Any = runtime.place(copy.deepcopy(learner)).train()
    devices = [runtime.device] if runtime.device.type == "cuda" else []
    began, images = time.perf_counter(), 0
    with torch.random.fork_rng(devices=devices):
        source = batches.epoch(0)
        for number, batch in enumerate(source):
            with runtime.autocast():
                outcome = trial(runtime.to_device(batch))
            outcome.loss.backward()
            trial.zero_grad(set_to_none=True)
            float(outcome.loss.detach())  # a device has done its work when its answer is here
            if number == 0 and len(batches) > 1:
                began = time.perf_counter()
                continue
            images += len(batch)
            if number >= BATCHES or time.perf_counter() - began > SECONDS:
                break
        source.close()
    batches.wait_s = 0.0
    return time.perf_counter() - began, max(1, images)
