"""The learning itself: model, plan, loop, checkpoints; at the end the best weights as a model folder."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from anmok.augment.accept import as_policy, digest
from anmok.augment.guests import Guest
from anmok.augment.policy import Policy
from anmok.augment.preprocess import Preprocess
from anmok.core.errors import DataError
from anmok.core.events import Events
from anmok.core.files import read_json, write_json
from anmok.core.machine import fingerprint
from anmok.core.progress import say, warn
from anmok.core.types import Batch
from anmok.data.batches import Loader
from anmok.data.pixels import KEPT, open_cache
from anmok.data.table import Table, class_counts
from anmok.engine import checkpoint
from anmok.engine.duration import Duration
from anmok.engine.loop import Course, Hooks, State, fit
from anmok.engine.optim import build_optimizer
from anmok.engine.plan import Plan, choose
from anmok.engine.predict import predict
from anmok.engine.runtime import Runtime, build_runtime
from anmok.models.average import EMA
from anmok.models.build import Built, build
from anmok.models.classifier import Classifier
from anmok.objectives.losses import build_loss
from anmok.objectives.supervised import Supervised
from anmok.stages.config import TrainConfig
from anmok.stages.finish import finish
from anmok.stages.pixels import with_preprocess
from anmok.stages.rejects import Rejects
from anmok.stages.score import quick_score
from anmok.stages.signals import Stop

DEFAULT_EPOCHS = 30
PROBE = 16  # images of a planning step
OVERHEAD = 1.2  # of a planned epoch over its bare training steps: validation, checkpoints, a colder cache


@dataclass
class Job:
    """Everything a run in progress holds."""

    folder: Path
    config: TrainConfig
    table: Table
    built: Built
    preprocess: Preprocess
    train: Loader
    val: Loader | None
    learner: Supervised
    runtime: Runtime
    plan: Plan
    epochs: int
    optimizer: torch.optim.Optimizer
    average: EMA | None
    rejects: Rejects

    @property
    def model(self) -> Classifier:
        """The classifier that learns."""
        return self.learner.model

    @property
    def judged(self) -> Classifier:
        """The classifier that is validated and kept: the moving average where there is one."""
        learner = self.average.module if self.average else self.learner
        return learner.model  # type: ignore[return-value]


def learn(folder: Path, config: TrainConfig, module: Any, events: Events, stop: Stop, augment: Any = None) -> None:
    """Train the run in `folder` from its newest checkpoint, or from the start, and finish it."""
    job = set_up(folder, config, module, augment)
    state, position = restore(job)
    events.truncate(position)
    if state.step:
        events.log("resume", step=state.step, epoch=state.epoch)
        say(f"going on at epoch {state.epoch + 1}, step {state.step}")
    else:
        learning = sum(p.numel() for p in job.model.parameters() if p.requires_grad)
        events.log(
            "start", plan=job.plan.to_dict(), epochs=job.epochs, parameters=learning, fingerprint=job.table.fingerprint
        )
        size, device = job.preprocess.image_size, job.runtime.device
        say(f"{config.model.name}: {learning:,} parameters learn; {job.epochs} epochs at {size} px on {device}")
        say(f"plan: {job.plan.describe()}")
        if config.model.weights == "none":
            say("from scratch; --weights pretrained starts from what others have learned, if there is a network")
    course = Course(job.epochs, config.schedule, config.optim.accumulate, config.optim.clip, config.training.early_stop)
    due = cadence(config.training.checkpoint_every, len(job.train), job.epochs)
    hooks = Hooks(
        validate=lambda: validate(job), keep_best=lambda s: keep_best(job, s), due=due,
        save=lambda s: save(job, s, events), stop=stop,
    )  # fmt: skip
    fit(job.runtime.wrap(job.learner), job.optimizer, job.train, job.runtime, course, state, hooks, events, job.average)
    load_best(job, state)
    finish(job, events)


def set_up(folder: Path, config: TrainConfig, module: Any, augment: Any = None) -> Job:
    """Build everything a run needs; what was measured or chosen before (plan.json) is taken as it was."""
    table = Table.load(folder / "table.parquet")
    runtime = build_runtime(config.runtime)
    stored = read_json(folder / "plan.json") if (folder / "plan.json").exists() else None
    if stored:
        torch.set_num_threads(stored["plan"]["threads"])
        warn_machine(stored["plan"]["machine"])
    torch.manual_seed(config.seed)
    built = build(
        config.model, list(table.classes), table.task, 1 if config.preprocess.channels == "gray" else 3,
        config.preprocess.image_size, module,
    )  # fmt: skip
    for text in built.said:
        say(text)
    built, preprocess = with_preprocess(built, config)
    labelled = table.labelled()
    train, val = labelled.where(split="train"), labelled.where(split="val")
    rejects = Rejects(folder, len(train) + len(val), config.data.max_rejects, table.rejects)
    policy = as_policy(config.augment, preprocess.fit == "squash", preprocess.depth, folder, augment)
    loaders = build_loaders(config, train, val, preprocess, policy, runtime, rejects, stored)
    counts = list(class_counts(train).values())
    learner = Supervised(built.classifier, build_loss(config.loss, table.task, counts, built.classifier.outputs))
    if stored:
        plan, epochs = Plan(**stored["plan"]), stored["epochs"]
    else:
        plan, epochs = choose_plan(config, learner, loaders[0], runtime)
        write_json(folder / "plan.json", {"plan": plan.to_dict(), "epochs": epochs, "side": loaders[0].side})
    runtime = runtime.form(plan.dtype, plan.channels_last)
    runtime.place(learner)
    average = EMA(learner, config.optim.ema) if config.optim.ema else None
    optimizer = build_optimizer(learner, config.optim, plan.dtype)
    return Job(
        folder, config, table, built, preprocess, *loaders, learner, runtime, plan, epochs, optimizer, average, rejects
    )


def build_loaders(
    config: TrainConfig, train: Table, val: Table, preprocess: Preprocess, policy: Policy | Guest, runtime: Runtime,
    rejects: Rejects, stored: Mapping[str, Any] | None,
) -> tuple[Loader, Loader | None]:  # fmt: skip
    """The training batches, and the validation batches if there are validation images.

    stored: of a resumed run, whose pictures keep the side they had, wherever they are kept now.
    """
    if policy.mixes and train.task == "binary":
        warn("mixup and cutmix give soft targets; with a binary task they are taken as probabilities of the positive")
    drawn = None if policy.neutral else policy
    side = config.data.cache_side or round(preprocess.image_size * KEPT)
    kept: dict[str, Any] = {
        "allow_truncated": config.data.allow_truncated, "epochs": config.epochs or 2, "processes": runtime.world,
        "device": str(runtime.device),
    }  # fmt: skip
    share = config.data.cache_share * len(train) / (len(train) + len(val))
    wanted = cache_wanted(config, preprocess, drawn)
    cache = open_cache(
        wanted, train, preprocess, drawn, side=side, share=share, aloud=runtime.rank == 0, **kept
    )  # fmt: skip
    common: dict[str, Any] = {
        "preprocess": preprocess, "batch_size": config.batch_size, "threads": config.runtime.threads,
        "allow_truncated": config.data.allow_truncated, "on_reject": rejects.add, "on_note": rejects.note,
        "prefetch": config.data.prefetch, "empty": runtime.host_array,
    }  # fmt: skip
    used = stored["side"] if stored else None if cache.kind == "none" else side
    batches = Loader(
        train, policy=drawn, cache=cache, cache_side=used, shuffle=True, seed=config.seed, balance=config.data.balance,
        rank=runtime.rank, world=runtime.world, **common,
    )  # fmt: skip
    if not len(val):
        return batches, None
    wanted = "ram" if wanted == "device" else wanted
    cache = open_cache(
        wanted, val, preprocess, None, side=side, share=config.data.cache_share - share, aloud=False, **kept
    )
    return batches, Loader(val, cache=cache, **common)


def cache_wanted(config: TrainConfig, preprocess: Preprocess, policy: Policy | Guest | None) -> str:
    """The cache to ask for; in the place of `device`, RAM for what a device cannot do: guests, other colour spaces."""
    if config.data.cache == "device" and (preprocess.finishes or isinstance(policy, Guest)):
        warn("this augmentation or colour space runs on the host: pixels are kept in RAM, not on the device")
        return "ram"
    return config.data.cache


def choose_plan(config: TrainConfig, learner: Supervised, train: Loader, runtime: Runtime) -> tuple[Plan, int]:
    """The measured form of computing, and the number of epochs: as set, or as many as --minutes allow."""
    measure = config.runtime.plan == "auto" or (config.minutes is not None and config.epochs is None)
    batches = train.epoch(0)
    batch = next(batches)
    batches.close()
    probe = Batch(batch.images[:PROBE], batch.targets[:PROBE], batch.ids[:PROBE])
    if len(probe) < 2:
        measure = False
    plan = choose(learner, probe, runtime, config.runtime, fingerprint(), always=measure)
    if config.epochs is not None or config.minutes is None:
        return plan, config.epochs or DEFAULT_EPOCHS
    if plan.seconds_per_image is None:
        return plan, DEFAULT_EPOCHS
    epoch = plan.seconds_per_image * len(train.table) * OVERHEAD
    epochs = max(1, math.floor(config.minutes * 60 / epoch))
    say(f"{config.minutes:g} minutes are {epochs} epoch(s) of about {epoch:.0f} s")
    return plan, epochs


def warn_machine(then: dict[str, Any]) -> None:
    """Say aloud that a resumed run will not repeat bit for bit, where that is so."""
    now = fingerprint()
    before, versions = then.get("versions", {}), now["versions"]
    parts = [f"{k} {then[k]} → {now[k]}" for k in ("cpu", "flags") if k in then and then[k] != now[k]]
    parts += [f"{k} {before[k]} → {versions.get(k)}" for k in before if before[k] != versions.get(k)]
    if parts:
        warn(f"the machine is not the one the run began on ({'; '.join(parts)}); the result may differ in rounding")


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
        return lambda state: state.batch == 0 and state.step % steps == 0
    return lambda state: state.step % steps == 0


def validate(job: Job) -> dict[str, float]:
    """Scores of the judged weights on the validation split, {} if there is none."""
    if job.val is None:
        return {}
    predictions = predict(job.judged, job.val.epoch(), job.runtime, len(job.val.table), "validate")
    return quick_score(predictions, job.config.training.select)


def keep_best(job: Job, state: State) -> None:
    """Store the weights just validated under the number of their epoch; those before them go when they are safe."""
    folder, epoch = job.folder / "checkpoints", state.epoch + 1
    kept = checkpoint.save(
        folder, state.step, job.judged.state_dict(), {"epoch": epoch, "select": state.best}, name=f"best-{epoch:06d}"
    )
    for old in folder.glob("best-*"):
        if old != kept:
            shutil.rmtree(old, ignore_errors=True)


def load_best(job: Job, state: State) -> None:
    """Bring the best weights back into the judged classifier."""
    tensors, values = checkpoint.load(job.folder / "checkpoints" / f"best-{state.best_epoch:06d}")
    job.judged.load_state_dict(tensors)
    say(f"best validation in epoch {values['epoch']}")


def save(job: Job, state: State, events: Events) -> None:
    """A checkpoint of everything that the rest of the run depends on."""
    events.sync()
    optimizer, numbers = checkpoint.pack_optimizer(job.optimizer)
    tensors = checkpoint.prefixed("model", job.model.state_dict())
    tensors |= checkpoint.prefixed("optimizer", optimizer)
    tensors |= checkpoint.prefixed("rng", checkpoint.rng_state(job.runtime.device))
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
    job.model.load_state_dict(checkpoint.under("model", tensors))
    checkpoint.unpack_optimizer(job.optimizer, checkpoint.under("optimizer", tensors), values["optimizer"])
    if job.average:
        job.average.restore(checkpoint.under("average", tensors), values["average"])
    if job.runtime.scaler:
        job.runtime.scaler.load_state_dict(values["scaler"])
    checkpoint.set_rng_state(checkpoint.under("rng", tensors), job.runtime.device)
    return State(**values["state"]), int(values["events"])
