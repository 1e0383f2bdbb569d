"""How a run computes, measured once and kept: precision, memory format, threads, and how many epochs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from anmok.core.files import read_json
from anmok.core.machine import fingerprint
from anmok.core.progress import say, warn
from anmok.data.batches import Loader
from anmok.engine.growth import Growth
from anmok.engine.pace import CLOSE, Budget, fill, near_whole, reserve
from anmok.engine.plan import Plan, choose
from anmok.engine.plan_compile import LEAST
from anmok.engine.ranks import from_first
from anmok.engine.runtime import Runtime
from anmok.stages.config import LearnConfig
from anmok.stages.plan_cache import keep_plan, plan_key, read_plan

DEFAULT_EPOCHS = 30
PLANNING = 20.0  # seconds that planning takes, about, where no time is set
SHARE, MOST = 0.05, 60.0  # of a time that is set, and seconds at most
FORWARD = 0.4  # of an image's time in training, what it takes in validation
OVERHEAD = 1.2  # of a planned epoch over its bare training steps: validation, checkpoints, a colder cache


def choose_form(config: LearnConfig, learner: nn.Module, train: Loader, runtime: Runtime, rounds: int = 4) -> Plan:
    """The form of computing, measured on a real batch or, of the same network on this machine, for an earlier run.

    rounds: of the measurement, fewer where little is computed in the form. Of several ranks one measures.
    """
    measure = config.runtime.plan == "auto" or (config.minutes is not None and config.epochs is None)
    batches = train.epoch(0)
    batch = next(batches)
    batches.close()
    measure, machine = measure and len(batch) > 1, fingerprint()
    limit = PLANNING if config.minutes is None else min(MOST, SHARE * 60 * config.minutes)

    def expected(image_s: float) -> float:
        if config.epochs is None and config.minutes is not None:
            return 60 * config.minutes
        return image_s * len(train.table) * (config.epochs or DEFAULT_EPOCHS)

    def measured() -> Plan:
        return choose(
            learner, batch, runtime, config.runtime, machine, always=measure, rounds=rounds, limit=limit,
            accumulate=config.optim.accumulate, expected=expected,
        )  # fmt: skip

    if not measure:
        return measured()
    asked = {"accumulate": config.optim.accumulate, "limit": limit, "rounds": rounds}
    settings = {**config.runtime.model_dump(mode="json"), **asked}
    key = plan_key(learner, batch, runtime, settings, machine)
    plan = read_plan(key)
    if plan is not None and not _may_repay(plan, config, expected):
        torch.set_num_threads(plan.threads)
        return plan
    plan = measured()
    keep_plan(key, plan)
    return plan


def _may_repay(plan: Plan, config: LearnConfig, expected: Callable[[float], float]) -> bool:
    """Whether compiling may repay itself in this run and was not tried for the kept plan, or the other way round."""
    if config.runtime.compile != "auto" or config.runtime.plan == "none" or plan.seconds_per_image is None:
        return False
    long = expected(plan.seconds_per_image) >= LEAST
    return long != (plan.compiled or "compiled" in plan.rejected)


class Length(NamedTuple):
    """How long a run is: epochs (begun ones count), its steps and its time where --minutes fill them, else None."""

    epochs: int
    steps: int | None = None
    budget: Budget | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for plan.json."""
        return {
            "epochs": self.epochs,
            "steps": self.steps,
            "budget": None if self.budget is None else vars(self.budget),
        }


def read_length(stored: Mapping[str, Any]) -> Length:
    """The length that plan.json of a run holds."""
    budget = stored.get("budget")
    return Length(stored["epochs"], stored.get("steps"), None if budget is None else Budget(**budget))


def settle_length(
    config: LearnConfig, image_s: float | None, images: int, per_epoch: int, val_images: int, gone: float,
    growth: Growth | None = None,
) -> Length:  # fmt: skip
    """Epochs as set, or the steps that --minutes hold, which are said aloud.

    image_s: seconds of an image in training, None where nobody measured it; images, per_epoch: of an epoch, and its
    batches; gone: seconds of the minutes that are gone already. An image in validation is taken for FORWARD of one in
    training. growth: how images grow. As a run learns its speed, its loop settles the steps anew (see `engine.pace`).
    """
    if config.epochs is not None or config.minutes is None or image_s is None:
        return Length(config.epochs or DEFAULT_EPOCHS)
    seconds, step_s = config.minutes * 60, image_s * images / per_epoch * OVERHEAD
    val_s = image_s * FORWARD * val_images * OVERHEAD
    left = seconds - gone - reserve(val_s, seconds)
    steps = fill(left, step_s, val_s, 0, per_epoch)
    if growth is not None:
        step_s *= growth.ahead(0, per_epoch, max(1, steps))
        steps = fill(left, step_s, val_s, 0, per_epoch)
    steps = max(1, near_whole(0, steps, per_epoch, CLOSE * seconds / max(step_s, 1e-9)))
    epochs = math.ceil(steps / per_epoch)
    budget, epoch = Budget(seconds, gone, val_s), step_s * per_epoch
    if steps < per_epoch:
        warn(
            f"{config.minutes:g} minutes do not do for one epoch of about {epoch:.3g} s: {steps} of its {per_epoch} "
            "batches are learned from, and the course of the learning rate is fitted to them"
        )
    else:
        kept = epochs * val_s + reserve(val_s, seconds)
        say(
            f"{config.minutes:g} minutes are {steps / per_epoch:.3g} epoch(s) of about {epoch:.3g} s ({steps} steps); "
            f"{gone:.0f} s went into making ready, about {kept:.0f} s are kept for evaluation"
        )
    return Length(epochs, steps, budget)


def stored_plan(folder: Path, runtime: Runtime) -> dict[str, Any] | None:
    """What was measured and chosen when the run began (plan.json), as rank 0 finds it; None of a new run.

    Its threads are taken up again, and another machine than then is said aloud.
    """
    file = folder / "plan.json"
    stored = from_first(lambda: read_json(file) if file.exists() else None, runtime.world)
    if stored:
        torch.set_num_threads(stored["plan"]["threads"])
        warn_machine(stored["plan"]["machine"])
    return stored


def warn_machine(then: dict[str, Any]) -> None:
    """Say aloud that a resumed run will not repeat bit for bit, where that is so."""
    now = fingerprint()
    before, versions = then.get("versions", {}), now["versions"]
    parts = [f"{k} {then[k]} → {now[k]}" for k in ("cpu", "flags") if k in then and then[k] != now[k]]
    parts += [f"{k} {before[k]} → {versions.get(k)}" for k in before if before[k] != versions.get(k)]
    if parts:
        warn(f"the machine is not the one the run began on ({'; '.join(parts)}); the result may differ in rounding")
