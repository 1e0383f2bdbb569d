"""What makes a training shorter by seeing less: images that grow, and images that are left out of an epoch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from anmok.core.errors import UsageError
from anmok.data.skip import Skipping
from anmok.data.table import Table
from anmok.engine.duration import share_of
from anmok.engine.growth import Growth
from anmok.engine.pace import position
from anmok.engine.ranks import of_all
from anmok.engine.state import State
from anmok.models.families import accepts
from anmok.stages.config import TrainConfig

if TYPE_CHECKING:
    from anmok.augment.guests import Guest
    from anmok.augment.policy import Policy
    from anmok.augment.preprocess import Preprocess
    from anmok.engine.runtime import Runtime
    from anmok.models.classifier import Classifier
    from anmok.objectives.supervised import Supervised
    from anmok.stages.job import Job
    from anmok.stages.keeping import Keeping

STEP = 4  # pixels, of which sides are multiples


def check_faster(config: TrainConfig, image_size: int, named: bool = True) -> None:
    """UsageError for what does not go together, or a network that takes no smaller images; nothing is built.

    named: whether the network is built by its name, which says what it takes.
    """
    found = {}
    if config.training.grow is not None:
        found["training.grow"] = _against_growing(config, image_size, named)
    if config.training.skip is not None:
        found["training.skip"] = _against_skipping(config)
    for where, (reason, way_out) in found.items():
        if reason:
            raise UsageError(reason, where=where, code="setting", remedy=way_out)


def _against_growing(config: TrainConfig, image_size: int, named: bool) -> tuple[str, str]:
    """('', '') where images may grow, else (why not, the way out)."""
    if reason := _objective(config):
        return reason, "Leave it out."
    if (space := config.preprocess.colorspace) in ("hsv", "hls"):
        reason = f"a picture in {space} cannot be made smaller: its hues are angles."
        return reason, "Leave it out, or take another --colorspace."
    return _sizes(config.model.name, growth_of(config, image_size)) if named else ("", "")


def _against_skipping(config: TrainConfig) -> tuple[str, str]:
    """('', '') where epochs may leave images out, else (why not, the way out)."""
    if reason := _objective(config):
        return reason, "Leave it out."
    if config.data.balance != "none":
        reason = "balanced sampling draws some images several times and weighs none."
        return reason, "Leave one of the two out; --loss.class-weights balanced goes with both."
    if config.loss.name == "soft-f1":
        return "soft-f1 is no mean over images, so none has a loss of its own.", "Take another --loss."
    if config.augment.mixup or config.augment.cutmix:
        return "a mixed image has the loss of two.", "Leave mixup and cutmix out, or this."
    if config.runtime.compile == "true":
        return "what each image weighs is looked up, which is not compiled.", "Leave --runtime.compile out."
    return "", ""


def _objective(config: TrainConfig) -> str:
    name = config.objective.name
    return "" if name == "supervised" else f"{name} compares views of images, and needs all of them as they are."


def growth_of(config: TrainConfig, image_size: int) -> Growth:
    """How images grow to image_size; `training.grow` has to be set."""
    assert config.training.grow is not None
    multiple = math.lcm(STEP, accepts(config.model.name).multiple)
    return Growth(config.training.grow, config.training.grow_until, image_size, multiple)


def _sizes(name: str, growth: Growth) -> tuple[str, str]:
    """('', '') where a network takes the sides, else (why not, the way out)."""
    takes, first = accepts(name), growth.side(0, 1, 100)
    if not takes.variable:
        return f"{name} is built for one image size.", "Leave it out, or take a network that takes any: resnet18, …"
    if first < takes.minimum:
        least = -(-takes.minimum // growth.multiple) * growth.multiple / growth.size
        return (
            f"{name} takes images from {takes.minimum} pixels on, and {growth.share:g} of {growth.size} are {first}.",
            f"Pass {math.ceil(least * 100) / 100:g} or more." if least < 1 else "Leave it out.",
        )  # fmt: skip
    return "", ""


def build_growth(
    config: TrainConfig, classifier: Classifier, preprocess: Preprocess, keeping: Keeping, runtime: Runtime
) -> Growth | None:
    """How images grow, None where they do not.  UsageError where the network turns out not to take the first side."""
    if config.training.grow is None:
        return None
    if keeping.views:
        raise _kept("training.grow")
    growth = growth_of(config, preprocess.image_size)
    side = growth.side(0, 1, 100)
    runtime.place(classifier)
    was, images = classifier.training, torch.zeros((2, side, side, preprocess.depth), dtype=torch.uint8)
    try:
        with torch.no_grad():
            classifier.eval()(images.to(classifier.mean.device))
    except (RuntimeError, ValueError, AssertionError) as error:
        raise UsageError(
            f"{config.model.name} does not take images of {side} pixels ({str(error).splitlines()[0]}).",
            where="training.grow", code="setting",
            remedy="Leave it out, begin at a larger share, or take a network for images of any size.",
        ) from error  # fmt: skip
    finally:
        classifier.train(was)
    return growth


def build_skipping(
    config: TrainConfig, train: Table, policy: Policy | Guest, keeping: Keeping, world: int
) -> Skipping | None:
    """What is left out of epochs, None where nothing is.  UsageError where it cannot be."""
    if config.training.skip is None:
        return None
    if keeping.views:
        raise _kept("training.skip")
    if policy.mixes:
        reason = "a mixed image has the loss of two."
        raise UsageError(reason, where="training.skip", code="setting", remedy="Leave it out.")
    ids = train.rows["id"].to_list()
    return Skipping(ids, config.training.skip, config.seed, lambda own: of_all(own, world))


def without_compiling(config: TrainConfig) -> TrainConfig:
    """The settings as skipping needs them: what each image weighs is looked up, which is not compiled."""
    if config.training.skip is None:
        return config
    return config.model_copy(update={"runtime": config.runtime.model_copy(update={"compile": "false"})})


def begin_epoch(job: Job, state: State, per_epoch: int) -> None:
    """Settle what learns in an epoch, and from which rows. per_epoch: batches of all images."""
    if job.begin is not None:
        job.begin(state.epoch)
    if job.skipping is None:
        return
    if not state.batch:
        training: Any = job.config.training
        end = share_of(training.skip_until, per_epoch, state.first)
        job.skipping.begin(state.epoch, everything=position(state) / state.first >= end - 1e-9)
    job.train.pick(job.skipping.picked)


def attach(learner: Supervised, skipping: Skipping | None) -> None:
    """Have the losses of a learner weighed and remembered; after everything that only tries it out."""
    learner.weighing = skipping


def _kept(where: str) -> UsageError:
    return UsageError(
        "a frozen part's features are computed once, and epochs of them take next to nothing.", where=where,
        code="setting", remedy="Leave it out, or compute them in every epoch: --model.no-keep-features.",
    )  # fmt: skip
