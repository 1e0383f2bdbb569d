"""What learns in a run, how fast, from when on, and from what: images, or a frozen part's kept features."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn

from anmok.core.errors import UsageError
from anmok.core.progress import say
from anmok.data.batches import Loader
from anmok.engine.config import RuntimeConfig
from anmok.engine.duration import Duration
from anmok.engine.plan import Plan, choose
from anmok.engine.runtime import Runtime
from anmok.models.adapt import Unfreezing, as_plain, parts_of
from anmok.models.build import Built
from anmok.models.depth import rate_factors
from anmok.models.heads import head_names
from anmok.stages.config import LearnConfig
from anmok.stages.features import FeatureBatches, keep_features
from anmok.stages.keeping import Keeping

UNDER = "model.backbone."  # where the network lies in a learner


class Learning(NamedTuple):
    """rates: share of the learning rate by name of a parameter of the learner, None where all have the whole; begin:
    what settles what learns in an epoch, None where that stays; facts: for the event of the start.
    """

    rates: dict[str, float] | None
    begin: Callable[[int], None] | None
    facts: dict[str, Any]


def what_learns(config: LearnConfig, built: Built, per_epoch: int, epochs: int) -> Learning:
    """As the settings say.  UsageError where a duration is none of steps."""
    decay, unfreeze = config.optim.layer_decay, config.training.unfreeze
    if config.model.adapt == "full" and decay is None and unfreeze is None:
        return Learning(None, None, {})
    backbone = built.classifier.backbone
    heads = built.heads or head_names(backbone, built.classifier.outputs)
    rates = None if decay is None else rate_factors(backbone, heads, decay)
    every = None if unfreeze is None else epochs_between(unfreeze, per_epoch, epochs)
    facts = {"adapt": config.model.adapt, "parts": as_plain(parts_of(backbone, heads, rates, every))}
    begin = None if every is None else Unfreezing(backbone, heads, every).begin
    return Learning(None if rates is None else {UNDER + n: r for n, r in rates.items()}, begin, facts)


def refuse_unfreezing(config: LearnConfig, world: int) -> None:
    """UsageError where stages cannot join by and by, before anything is built."""
    if config.training.unfreeze is None:
        return
    reason = ""
    if config.model.adapt in ("head", "lora"):
        reason = f"with --adapt {config.model.adapt} there is no stage that could join"
    elif world > 1:
        reason = "several processes agree on what learns before they start"
    if reason:
        raise UsageError(f"{reason}.", where="training.unfreeze", remedy="Leave it out.", code="setting")
    epochs_between(config.training.unfreeze, 1, 1)


def epochs_between(unfreeze: str, per_epoch: int, epochs: int) -> float:
    """Epochs from one stage's unfreezing to the next one's.  UsageError for a duration in time."""
    try:
        steps = Duration.parse(unfreeze).steps(per_epoch, per_epoch * epochs)
    except ValueError as error:
        raise UsageError(
            f"{error}.", where="training.unfreeze", remedy="Give epochs, steps or a share: '1 epoch', '10%'.",
            code="setting",
        ) from error  # fmt: skip
    return max(1, steps) / per_epoch


def with_features(
    loaders: tuple[Loader, Loader | None], learner: nn.Module, runtime: Runtime, keeping: Keeping, plan: Plan,
    measure: bool,
) -> tuple[tuple[Loader, Loader | None], float | None, float]:  # fmt: skip
    """(what is learned from and validated on, seconds of an image in training, seconds that this took).

    Where features are kept they are computed here: those of validation in fp32, as the saved model computes, so that
    they serve the last judgement too. measure: whether the speed of learning from them matters.
    """
    if not keeping.views:
        return loaders, plan.seconds_per_image, 0.0
    began = time.monotonic()
    model: Any = learner.model
    train = keep_features(loaders[0], model, runtime, keeping.views, "features")
    exact = runtime.form("fp32", runtime.channels_last)
    val = None if loaders[1] is None else keep_features(loaders[1], model, exact, 1, "validation features")
    loaders[0].close()  # its pixels are not needed any more
    spent = time.monotonic() - began
    say(f"features of {keeping.views * len(train.table):,} training images in {spent:.1f} s")
    return (train, val), _measured(learner, train, runtime, plan) if measure else None, spent


def _measured(learner: nn.Module, train: FeatureBatches, runtime: Runtime, plan: Plan) -> float | None:
    """Seconds of an image in training from kept features."""
    form: Any = {"dtype": plan.dtype, "channels_last": plan.channels_last, "threads": plan.threads, "compile": "false"}
    with torch.random.fork_rng(devices=[]):
        chosen = choose(learner, next(train.epoch(0)), runtime, RuntimeConfig(**form), {}, always=True)
    train.wait_s = 0.0
    return chosen.seconds_per_image
