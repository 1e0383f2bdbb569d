"""One rank of a training step; started by test_ranks.py with the environment that torchrun would set."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from anmok.core.events import Events
from anmok.core.leave import leave
from anmok.core.types import Batch
from anmok.engine.config import OptimConfig, RuntimeConfig, ScheduleConfig
from anmok.engine.loop import Course, Hooks, State, fit
from anmok.engine.optim import build_optimizer
from anmok.engine.runtime import Runtime, build_runtime

IMAGES = 7  # an odd number: the ranks' shares differ, and so do the parts that are accumulated


class Outcome(NamedTuple):
    loss: torch.Tensor
    logs: dict[str, torch.Tensor]


class Learner(nn.Module):
    """Two layers in the precision of their weights."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 3))

    def forward(self, batch: Batch) -> Outcome:
        logits = self.net(batch.images.to(next(self.parameters()).dtype) / 255)
        return Outcome(nn.functional.cross_entropy(logits, batch.targets), {})


class Share:
    """One batch of an epoch; every rank takes its share of it, as the loader does."""

    def __init__(self, rank: int, world: int):
        rng = np.random.default_rng(0)
        images, targets = rng.integers(0, 256, (IMAGES, 2, 2, 3), np.uint8), rng.integers(0, 3, IMAGES)
        self.rows = np.array_split(np.arange(IMAGES), world)[rank]
        self.batch = Batch(images[self.rows], targets[self.rows], [str(r) for r in self.rows])
        self.wait_s = 0.0

    def __len__(self) -> int:
        return 1

    def epoch(self, epoch: int, start: int) -> Iterator[Batch]:
        return itertools.islice([self.batch], start, None)


def step(runtime: Runtime, dtype: str, accumulate: int) -> dict[str, torch.Tensor]:
    """The gradient of one step: plain descent at rate 1 moves the weights by it."""
    torch.manual_seed(0)
    learner = Learner().to(getattr(torch, dtype))
    before = {k: v.clone() for k, v in learner.state_dict().items()}
    optimizer = build_optimizer(learner, OptimConfig(name="sgd", lr=1, momentum=0, weight_decay=0))
    hooks = Hooks(dict, lambda s: None, lambda s: False, lambda s: None, lambda: False)
    course = Course(1, ScheduleConfig(name="constant"), accumulate=accumulate)
    share = Share(runtime.rank, runtime.world)
    fit(runtime.wrap(learner), optimizer, share, runtime, course, State(), hooks, Events(None))
    return {k: before[k] - v for k, v in learner.state_dict().items()}


def main(out: Path) -> None:
    """Save this rank's gradients, in each precision, whole and in parts."""
    runtime = build_runtime(RuntimeConfig(device="cpu", threads=1))
    for dtype, accumulate in itertools.product(("float64", "float32"), (1, 2)):
        save_file(
            step(runtime, dtype, accumulate), out / f"{dtype}-{accumulate}-{runtime.rank}-{runtime.world}.safetensors"
        )
    if runtime.world > 1:
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    leave(0)
