"""What the training loop costs over a bare loop of the same network: forward, backward, optimizer step, nothing else.

    .venv/bin/python benchmarks/loop_overhead.py --out benchmarks/results/loop-overhead.csv

Both take the same batches from memory, in turns on the same machine; the figure is the median of the ratios.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import platform
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from anmok.core.events import Events
from anmok.core.machine import cpu_name
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


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    console.quiet = True
    torch.manual_seed(0)
    names = [str(k) for k in range(10)]
    built = build(ModelConfig(name=args.model, weights="none"), names, "multiclass", 3, args.image_size, None)
    learner = Supervised(built.classifier, build_loss(LossConfig(), "multiclass", [1] * 10, built.classifier.outputs))
    optimizer = build_optimizer(learner, OptimConfig(name="sgd"))
    rng = np.random.default_rng(0)
    shape = (args.batch_size, args.image_size, args.image_size, 3)
    batches = [
        Batch(rng.integers(0, 256, shape, np.uint8), rng.integers(0, 10, args.batch_size), [""] * args.batch_size)
        for _ in range(args.steps)
    ]
    runtime = Runtime(torch.device("cpu"), threads=args.threads)
    bare(learner, optimizer, batches[:2])
    ratios, plain = [], []
    for turn in range(args.rounds):  # in turns, and each first as often as the other
        both = {}
        for kind in ("bare", "ours") if turn % 2 else ("ours", "bare"):
            both[kind] = (
                bare(learner, optimizer, batches) if kind == "bare" else ours(learner, optimizer, batches, runtime)
            )
        ratios.append(both["ours"] / both["bare"])
        plain.append(both["bare"] / args.steps)
    row = {
        "model": args.model, "image_size": args.image_size, "batch_size": args.batch_size, "threads": args.threads,
        "steps": args.steps, "rounds": args.rounds, "bare_step_ms": round(1000 * statistics.median(plain), 2),
        "overhead_percent": round(100 * (statistics.median(ratios) - 1), 2),
        "lowest_percent": round(100 * (min(ratios) - 1), 2), "highest_percent": round(100 * (max(ratios) - 1), 2),
        "cpu": cpu_name(), "torch": torch.__version__, "python": platform.python_version(), "seed": 0,
    }  # fmt: skip
    print(row)
    if args.out:
        with args.out.open("w", newline="") as handle:
            writer = csv.DictWriter(handle, list(row))
            writer.writeheader()
            writer.writerow(row)


if __name__ == "__main__":
    main()
