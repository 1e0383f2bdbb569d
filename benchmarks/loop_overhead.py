"""What the training loop costs over a bare loop of the same network: forward, backward, optimizer step, nothing else.

    .venv/bin/python benchmarks/loop_overhead.py

Both take the same batches from memory, in turns on the same machine; the figure is the median of the ratios.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterator
from statistics import median

import numpy as np
import torch
from common import Figure, arguments, context, figure, finish, met, rounded, write

from anmok.core.events import Events
from anmok.core.progress import console
from anmok.core.types import Batch
from anmok.engine.config import OptimConfig, ScheduleConfig
from anmok.engine.loop import Course, Hooks, State, fit
from anmok.engine.optim import build_optimizer
from anmok.engine.runtime import Runtime
from anmok.models.build import build
from anmok.models.config import ModelConfig
from anmok.objectives.config import LossConfig
from anmok.objectives.losses import build_loss
from anmok.objectives.supervised import Supervised

BOUND = "<= 2"  # percent


class Memory:
    """The same batches each epoch, from memory."""

    wait_s = 0.0

    def __init__(self, batches: list[Batch]):
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def epoch(self, epoch: int, start: int) -> Iterator[Batch]:
        return itertools.islice(self.batches, start, None)


def bare(learner: Supervised, optimizer: torch.optim.Optimizer, batches: list[Batch]) -> float:
    """Seconds of a loop without anything."""
    learner.train()
    began = time.perf_counter()
    for batch in batches:
        images, targets = torch.from_numpy(batch.images), torch.from_numpy(batch.targets)
        loss = learner.loss(learner.model(images), targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return time.perf_counter() - began


def ours(learner: Supervised, optimizer: torch.optim.Optimizer, batches: list[Batch], runtime: Runtime) -> float:
    """Seconds of one epoch of the loop."""
    hooks = Hooks(dict, lambda s: None, lambda s: False, lambda s: None, lambda: False)
    began = time.perf_counter()
    fit(learner, optimizer, Memory(batches), runtime, Course(1, ScheduleConfig()), State(), hooks, Events(None))
    return time.perf_counter() - began


def compared(options: argparse.Namespace) -> list[Figure]:
    """The step of a bare loop, and what ours takes more, in percent."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    names = [str(k) for k in range(10)]
    built = build(ModelConfig(name=options.model, weights="none"), names, "multiclass", 3, options.image_size, None)
    learner = Supervised(built.classifier, build_loss(LossConfig(), "multiclass", [1] * 10, built.classifier.outputs))
    optimizer = build_optimizer(learner, OptimConfig(name="sgd"))
    rng = np.random.default_rng(0)
    shape = (options.batch_size, options.image_size, options.image_size, 3)
    batches = [
        Batch(rng.integers(0, 256, shape, np.uint8), rng.integers(0, 10, options.batch_size), [""] * options.batch_size)
        for _ in range(options.steps)
    ]
    runtime = Runtime(torch.device("cpu"), threads=options.threads)
    bare(learner, optimizer, batches[:2])
    more, plain = [], []
    for turn in range(options.rounds):  # in turns, and each first as often as the other
        seconds = {}
        for kind in ("bare", "ours") if turn % 2 else ("ours", "bare"):
            seconds[kind] = (
                bare(learner, optimizer, batches) if kind == "bare" else ours(learner, optimizer, batches, runtime)
            )
        more.append(100 * (seconds["ours"] / seconds["bare"] - 1))
        plain.append(1000 * seconds["bare"] / options.steps)
    name = f"{options.model} at {options.image_size} px, batches of {options.batch_size}, {options.threads} thread(s)"
    above = Figure(
        name, "our loop over it", "%", *(rounded(f(more)) for f in (median, min, max)), len(more),
        " ".join(str(rounded(v)) for v in more), bound=BOUND, met=met(BOUND, median(more)),
    )  # fmt: skip
    return [figure(name, "a step of a bare loop", "ms", plain), above]


def main() -> None:
    """Measure, print, write."""
    options = arguments(
        __doc__, model={"default": "resnet18"}, image_size={"type": int, "default": 64},
        batch_size={"type": int, "default": 32}, steps={"type": int, "default": 8},
        rounds={"type": int, "default": 11}, threads={"type": int, "default": 1},
    )  # fmt: skip
    if options.quick:
        options.steps, options.rounds = 2, 2
    console.quiet = True
    figures = compared(options)
    finish(write("loop_overhead", figures, context("random pixels, seed 0"), options.quick), options.quick)


if __name__ == "__main__":
    main()
