"""A run in progress: what it holds, its checkpoints, and the loop over it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from anmok.augment.accept import digest
from anmok.augment.preprocess import Preprocess
from anmok.core.errors import DataError
from anmok.core.events import Events
from anmok.core.progress import say
from anmok.data.batches import Loader
from anmok.data.skip import Skipping
from anmok.data.table import Table
from anmok.engine import checkpoint
from anmok.engine.duration import Duration
from anmok.engine.growth import Growth
from anmok.engine.lookahead import Lookahead
from anmok.engine.loop import Course, Hooks, State, fit
from anmok.engine.pace import Budget
from anmok.engine.plan import Plan
from anmok.engine.ranks import of_all, wait_for_all
from anmok.engine.runtime import Runtime
from anmok.engine.shard import take_state, whole, whole_state
from anmok.models.average import EMA
from anmok.stages.config import LearnConfig
from anmok.stages.faster import begin_epoch
from anmok.stages.features import FeatureBatches
from anmok.stages.ranks import agreed, due_on_all, own_randomness, stop_on_all, tell_ranks
from anmok.stages.rejects import Rejects
from anmok.stages.signals import Stop

OFTEN = 10.0  # seconds between two checkpoints at least, where an epoch takes no time


class Best(NamedTuple):
    """The best weights, where they are not stored yet: the epoch, the tensors, what is stored beside them."""

    state: State
    tensors: dict[str, torch.Tensor]


@dataclass
class Job:
    """Everything a run in progress holds.

    learner: a module that turns a batch into an Outcome. facts: what the event of the start says besides; begin: what
    settles what learns in an epoch, where that changes. best: where an epoch takes no time, the best weights wait here
    for the next checkpoint. steps: of the course, where it does not end with an epoch; budget: the time it keeps to.
    plain: where weights lie in parts over ranks, the learner that takes them whole at the end, on the CPU. growth: how
    images grow; skipping: which of them epochs leave out.
    """

    folder: Path
    config: LearnConfig
    table: Table
    preprocess: Preprocess
    train: Loader
    val: Loader | None
    learner: nn.Module
    runtime: Runtime
    plan: Plan
    epochs: int
    optimizer: torch.optim.Optimizer
    average: EMA | Lookahead | None
    rejects: Rejects
    facts: dict[str, Any] = field(default_factory=dict)
    begin: Callable[[int], None] | None = None
    best: Best | None = None
    steps: int | None = None
    budget: Budget | None = None
    plain: nn.Module | None = None
    growth: Growth | None = None
    skipping: Skipping | None = None

    @property
    def judged(self) -> Any:
        """The learner that is validated and kept: the moving average or the slow weights where there are such."""
        return self.average.module if self.average else self.learner


def run_job(
    job: Job, events: Events, stop: Stop, validate: Callable[[Job], dict[str, float]], tell: Callable[[Job], None]
) -> None:
    """Learn from the newest checkpoint, or from the start (then `tell` says what begins), to the end of the course.

    validate: scores of the judged weights, see `Hooks`. At the end the judged learner has its best weights.
    """
    config = job.config
    own_randomness(job)
    state, position = restore(job)
    events.truncate(position)
    if state.step:
        events.log("resume", step=state.step, epoch=state.epoch)
        say(f"going on at epoch {state.epoch + 1}, step {state.step}")
    else:
        learning = sum(p.numel() for p in job.learner.parameters() if p.requires_grad)
        events.log(
            "start", plan=job.plan.to_dict(), epochs=job.epochs, parameters=learning,
            fingerprint=job.table.fingerprint, **job.facts,
        )  # fmt: skip
        size, device = job.preprocess.image_size, job.runtime.device
        say(f"{config.model.name}: {learning:,} parameters learn; {job.epochs} epochs at {size} px on {device}")
        say(f"plan: {job.plan.describe()}")
        tell(job)
        tell_ranks(job)
    course = Course(
        job.epochs, config.schedule, max(config.optim.accumulate, job.plan.parts), config.optim.clip,
        config.training.early_stop, job.steps, job.budget, job.growth, job.skipping is not None,
    )  # fmt: skip
    per_epoch = len(job.train)
    due = cadence(config.training.checkpoint_every, per_epoch, job.epochs)
    if isinstance(job.train, FeatureBatches):
        due = seldom(due, OFTEN)
    hooks = Hooks(
        validate=agreed(job, validate), keep_best=lambda s: keep_best(job, s), save=lambda s: save(job, s, events),
        due=due_on_all(job, due), stop=stop_on_all(job, stop), begin=lambda s: begin_epoch(job, s, per_epoch),
    )  # fmt: skip
    fit(job.runtime.wrap(job.learner), job.optimizer, job.train, job.runtime, course, state, hooks, events, job.average)
    load_best(job, state)


def cadence(every: str, per_epoch: int, epochs: int) -> Callable[[State], bool]:
    """Whether a checkpoint is due, as a function of the state (and, for a duration in time, of the clock)."""
    duration = Duration.parse(every)
    last = time.monotonic()

    def by_time(state: State) -> bool:
        nonlocal last
        if time.monotonic() - last < duration.value:
            return False
        last = time.monotonic()
        return True

    if duration.unit == "seconds":
        return by_time
    steps = max(1, duration.steps(per_epoch, per_epoch * epochs))
    if steps % per_epoch == 0:  # whole epochs: after their validation, so that it is not done twice
        return lambda state: state.batch == 0 and state.epoch % (steps // per_epoch) == 0
    return lambda state: state.step % steps == 0


def seldom(due: Callable[[State], bool], seconds: float) -> Callable[[State], bool]:
    """`due`, but not again within so many seconds."""
    last = time.monotonic()

    def now(state: State) -> bool:
        nonlocal last
        if not due(state) or time.monotonic() - last < seconds:
            return False
        last = time.monotonic()
        return True

    return now


def keep_best(job: Job, state: State) -> None:
    """Keep the weights just validated: stored at once or, where an epoch takes no time, with the next checkpoint."""
    tensors = whole_state(job.judged)
    if isinstance(job.train, FeatureBatches):
        job.best = Best(replace(state), {k: v.detach().clone() for k, v in tensors.items()})
    else:
        store_best(job, Best(state, tensors))


def store_best(job: Job, best: Best) -> None:
    """Write the best weights under the number of their epoch; those before them go when they are safe."""
    if job.runtime.rank:  # rank 0 writes
        job.best = None
        return
    folder, epoch = job.folder / "checkpoints", best.state.epoch + 1
    kept = checkpoint.save(
        folder, best.state.step, best.tensors, {"epoch": epoch, "select": best.state.best}, name=f"best-{epoch:06d}"
    )
    for old in folder.glob("best-*"):
        if old != kept:
            shutil.rmtree(old, ignore_errors=True)
    job.best = None


def load_best(job: Job, state: State) -> None:
    """Bring the best weights back into the judged classifier."""
    if job.best is not None:
        store_best(job, job.best)
    wait_for_all(job.runtime.world)
    tensors, values = checkpoint.load(job.folder / "checkpoints" / f"best-{state.best_epoch:06d}")
    take_state(job.judged, tensors)
    say(f"best validation in epoch {values['epoch']}")


def save(job: Job, state: State, events: Events) -> None:
    """A checkpoint of everything that the rest of the run depends on."""
    events.sync()
    if job.best is not None:
        store_best(job, job.best)
    optimizer, numbers = checkpoint.pack_optimizer(job.optimizer)
    tensors = checkpoint.prefixed("model", whole_state(job.learner))
    tensors |= checkpoint.prefixed("optimizer", {k: whole(v) for k, v in optimizer.items()})
    for rank, generators in enumerate(of_all(checkpoint.rng_state(job.runtime.device), job.runtime.world)):
        tensors |= checkpoint.prefixed(f"rng-{rank}" if rank else "rng", generators)
    if job.skipping:
        tensors |= checkpoint.prefixed("skip", {k: torch.from_numpy(v) for k, v in job.skipping.state().items()})
    if job.runtime.rank:  # rank 0 writes
        return
    values: dict[str, Any] = {"state": state.to_dict(), "optimizer": numbers, "events": events.position}
    if job.average:
        tensors |= checkpoint.prefixed("average", job.average.weights)
        values["average"] = job.average.updates
    if job.runtime.scaler:
        values["scaler"] = job.runtime.scaler.state_dict()
    values["table"], values["classes"] = job.table.fingerprint, job.table.class_hash
    values["augment"] = digest(job.config.augment, job.folder)
    checkpoint.save(job.folder / "checkpoints", state.step, tensors, values)


def restore(job: Job) -> tuple[State, int]:
    """Go back to the newest whole checkpoint: the state, and the event log's length. A new State if there is none.

    DataError if the checkpoint is of other data or of classes in another order.
    """
    found = checkpoint.load_latest(job.folder / "checkpoints")
    if found is None:
        return State(), 0
    tensors, values = found
    for key, mine, what in (
        ("classes", job.table.class_hash, "its classes are others, or in another order"),
        ("table", job.table.fingerprint, "its table is another one"),
        ("augment", digest(job.config.augment, job.folder), "its augmentation's file is another one"),
    ):
        if values.get(key) != mine:
            raise DataError(
                f"the checkpoint does not belong to this run: {what}.", where=str(job.folder), code="fingerprint"
            )
    take_state(job.learner, checkpoint.under("model", tensors))
    checkpoint.unpack_optimizer(job.optimizer, checkpoint.under("optimizer", tensors), values["optimizer"])
    if job.average:
        job.average.restore(checkpoint.under("average", tensors), values["average"])
    if job.skipping:
        job.skipping.restore({k: v.numpy() for k, v in checkpoint.under("skip", tensors).items()})
    if job.runtime.scaler:
        job.runtime.scaler.load_state_dict(values["scaler"])
    own = checkpoint.under(f"rng-{job.runtime.rank}" if job.runtime.rank else "rng", tensors)
    if own:
        checkpoint.set_rng_state(own, job.runtime.device)
    else:  # of a run that had fewer ranks
        own_randomness(job, values["step"])
    return State(**values["state"]), int(values["events"])
