"""Whether a frozen part's features are kept, and of how many views: as network, policy and memory allow."""

from __future__ import annotations

from typing import NamedTuple

import torch

from anmok.augment.guests import Guest
from anmok.augment.policy import Policy
from anmok.core.machine import free_memory_bytes
from anmok.core.progress import say, warn
from anmok.core.text import size_text
from anmok.data.table import Table
from anmok.engine.runtime import Runtime
from anmok.models.build import Built
from anmok.models.cut import Cannot
from anmok.models.split import split_at_frozen
from anmok.stages.config import LearnConfig

VIEWS = 4  # of augmented pictures, where nobody says how many
PROBE = 3  # images that the network is followed with
FLOAT = 4  # bytes of a kept number, at most


class Keeping(NamedTuple):
    """Views whose features are kept, and the bytes that they and the validation's take; no views: the plain way."""

    views: int = 0
    bytes: int = 0

    def share_left(self) -> float:
        """Of the memory that is free now, what is left for pixels."""
        return 1 - min(0.9, self.bytes / max(1, free_memory_bytes()))


def plan_keeping(
    config: LearnConfig, built: Built, train: Table, val: Table, policy: Policy | Guest, runtime: Runtime
) -> Keeping:
    """Decide, say aloud what is decided, and split the classifier where features are kept."""
    adapt = config.model.adapt
    if not (adapt == "head" or adapt.startswith("last:")) or not config.model.keep_features:
        return Keeping()
    reason = _reason(config, policy, runtime)
    if not reason:
        reason, each = _split(built, runtime)
    if reason:
        warn(f"the frozen part is computed in every epoch: {reason}")
        return Keeping()
    wanted = views_wanted(config, policy)
    free = free_memory_bytes()
    views = views_that_fit(wanted, len(train), len(val), each, int(free * config.data.cache_share / runtime.world))
    if not views:
        built.classifier.split = None
        need = size_text((len(train) + len(val)) * each)
        warn(
            f"the frozen part is computed in every epoch: its features take {need}, more than "
            f"{config.data.cache_share:.0%} of the {size_text(free)} of free RAM"
        )
        return Keeping()
    taken = (views * len(train) + len(val)) * each
    fewer = f", not {wanted}, as more do not fit into memory" if views < wanted else ""
    say(f"the frozen part is computed once: features of {views} view(s){fewer}, at most {size_text(taken)}, are kept")
    return Keeping(views, taken)


def views_wanted(config: LearnConfig, policy: Policy | Guest) -> int:
    """As set, else 4, but one without augmentation, and no more than there are epochs."""
    views = config.model.views or (1 if policy.neutral else VIEWS)
    if policy.neutral and views > 1:
        warn("without augmentation all views are the same: one is kept")
        views = 1
    return min(views, config.epochs or views)


def views_that_fit(wanted: int, train: int, val: int, each: int, room: int) -> int:
    """How many views of `train` rows, and one of `val` rows, at `each` bytes a row take no more than `room` bytes."""
    return max(0, min(wanted, (room - val * each) // max(1, train * each)))


def _reason(config: LearnConfig, policy: Policy | Guest, runtime: Runtime) -> str:
    """Why features cannot be kept, '' where they can."""
    if policy.mixes:
        return "mixup and cutmix make other images of every batch"
    if config.training.unfreeze is not None:
        return "with gradual unfreezing it does not stay frozen"
    return "its weights lie in parts over the processes" if config.runtime.shard else ""


def _split(built: Built, runtime: Runtime) -> tuple[str, int]:
    """('', bytes of a row at most) of a classifier that is split now, or (why it cannot be, 0)."""
    classifier = built.classifier
    runtime.place(classifier)
    shape = (PROBE, built.image_size, built.image_size, len(classifier.pixel_mean))
    images = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    pixels = classifier.normalize(images.to(classifier.mean.device))
    try:
        classifier.split = split_at_frozen(classifier.backbone, built.heads, pixels)
    except Cannot as error:
        return str(error), 0
    was = classifier.training
    with torch.no_grad():
        kept = classifier.eval().front(images.to(classifier.mean.device))
    classifier.train(was)
    return "", FLOAT * sum(tensor[0].numel() for tensor in kept)
