"""What each of two ranks finds of norms, parts of weights and missing images; started by test_ranks_shared.py."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rank_worker import Learner, Outcome, Share
from torch import nn

from anmok.core.events import Events
from anmok.core.leave import leave
from anmok.core.types import Batch, Predictions
from anmok.engine import ranks
from anmok.engine.config import OptimConfig, RuntimeConfig, ScheduleConfig
from anmok.engine.loop import Course, Hooks, State, fit
from anmok.engine.optim import build_optimizer
from anmok.engine.runtime import Runtime, build_runtime
from anmok.engine.shard import shard, take_state, whole_state


class Normed(nn.Module):
    """Batch normalisation in the middle."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Linear(16, 3))

    def forward(self, batch: Batch) -> Outcome:
        logits = self.net(batch.images.float() / 255)
        return Outcome(nn.functional.cross_entropy(logits, batch.targets), {})


class Part(Share):
    """The global batch of 8 in which some ranks may have nothing."""

    def __init__(self, runtime: Runtime, sizes: list[int]):
        rng = np.random.default_rng(1)
        images, targets = rng.integers(0, 256, (sum(sizes), 2, 2, 3), np.uint8), rng.integers(0, 3, sum(sizes))
        start = sum(sizes[: runtime.rank]) if runtime.world > 1 else 0
        n = sizes[runtime.rank] if runtime.world > 1 else sum(sizes)
        rows = slice(start, start + n)
        self.batch = Batch(images[rows], targets[rows], [str(r) for r in range(start, start + n)])
        self.wait_s = 0.0


def learned(
    runtime: Runtime, learner: nn.Module, batches: Any, accumulate: int = 1, lr: float = 1.0
) -> dict[str, torch.Tensor]:  # fmt: skip
    """The state after one step of plain descent, and the loss that the books hold."""
    optimizer = build_optimizer(learner, OptimConfig(name="sgd", lr=lr, momentum=0, weight_decay=0))
    state, losses = State(), []
    hooks = Hooks(dict, lambda s: losses.append((s.loss, s.images)), lambda s: False, lambda s: None, lambda: False)
    course = Course(1, ScheduleConfig(name="constant"), accumulate=accumulate)
    fit(runtime.wrap(learner), optimizer, batches, runtime, course, state, hooks, Events(None))
    return whole_state(learner) | {"booked": torch.tensor(losses, dtype=torch.float64)}


def seeded(kind: type[nn.Module]) -> nn.Module:
    """The same weights on all ranks."""
    torch.manual_seed(0)
    return kind()


def sharded(runtime: Runtime, accumulate: int) -> dict[str, torch.Tensor]:
    """One step in float64 with the weights in parts, where there are ranks."""
    learner = seeded(Learner).double()
    if runtime.world > 1:
        shard(learner.net, runtime.device, smallest=50)
    return learned(runtime, learner, Share(runtime.rank, runtime.world), accumulate)


def answers(runtime: Runtime) -> Predictions:
    """Each rank's share of seven images, as their loader orders them; rank 1 could not read one of its own."""
    shares = np.array_split(np.arange(7), runtime.world) if runtime.world > 1 else [np.arange(7)]
    rows = [int(r) for r in shares[runtime.rank] if r != 5]
    probs = np.array([[r / 10, 1 - r / 10] for r in rows], np.float32)
    own = Predictions([f"i{r}" for r in rows], ["a", "b"], probs, np.array([r % 2 for r in rows]))
    return ranks.in_order(own, [f"i{r}" for r in (3, 6, 5, 0, 1, 2, 4)], runtime.world)


def main(out: Path) -> None:
    """Save what this rank found."""
    runtime = build_runtime(RuntimeConfig(device="cpu", threads=1, rank_timeout=60))
    found: dict[str, Any] = {}
    found["norm"] = learned(runtime, seeded(Normed), Part(runtime, [4, 4]), accumulate=1 if runtime.world > 1 else 2)
    found["missing"] = learned(runtime, seeded(Normed), Part(runtime, [6, 0]))
    for accumulate in (1, 2):
        found[f"shard-{accumulate}"] = sharded(runtime, accumulate)
    found["answers"] = answers(runtime)
    found["agreed"] = (
        ranks.from_first(lambda: f"of {runtime.rank}", runtime.world), ranks.of_all(runtime.rank, runtime.world),
        ranks.any_of(lambda: runtime.rank == runtime.world - 1, runtime.world)(),
        ranks.least(5 + runtime.rank, runtime.world),
    )  # fmt: skip
    if runtime.world > 1:
        learner = seeded(Learner)
        before = whole_state(learner)
        shard(learner.net, runtime.device, smallest=50)
        take_state(learner, {k: v + 1 for k, v in before.items()})
        found["taken"] = [bool((v == before[k] + 1).all()) for k, v in whole_state(learner).items()]
        found["held"] = sum(p.to_local().numel() for p in learner.parameters())
    torch.save(found, out / f"found-{runtime.rank}-{runtime.world}.pt")
    if runtime.world > 1:
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    leave(0)
