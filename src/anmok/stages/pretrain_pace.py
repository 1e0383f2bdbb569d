"""How many epochs fit into some minutes, measured on real batches."""

from __future__ import annotations

import copy
import math
import time
from typing import Any

import torch
from torch import nn

from anmok.core.progress import say
from anmok.data.batches import Loader
from anmok.engine.runtime import Runtime

BATCHES, SECONDS = 12, 20.0  # that a measurement takes at most
OVERHEAD = 1.08  # of an epoch over its training steps: validation, probes, checkpoints, the optimizer


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
