"""The batches a run learns from and is validated on, with what is kept of their pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from anmok.augment.guests import Guest
from anmok.augment.policy import Policy
from anmok.augment.preprocess import Preprocess
from anmok.core.errors import DataError
from anmok.core.progress import warn
from anmok.data.batches import Loader
from anmok.data.pixels import KEPT, open_cache
from anmok.data.table import Table
from anmok.engine.runtime import Runtime
from anmok.stages.config import LearnConfig
from anmok.stages.keeping import Keeping
from anmok.stages.rejects import Rejects

PLAIN = Keeping()
FIRST = 2000  # images, at most, that something is made ready with before it learns


def build_loaders(
    config: LearnConfig, train: Table, val: Table, preprocess: Preprocess, policy: Policy | Guest, runtime: Runtime,
    rejects: Rejects, stored: Mapping[str, Any] | None, keeping: Keeping = PLAIN,
) -> tuple[Loader, Loader | None]:  # fmt: skip
    """The training batches, and the validation batches if there are validation images.

    stored: of a resumed run, whose pictures keep the side they had, wherever they are kept now. keeping: where a frozen
    part's features are kept, pictures are read once for each view only, and have the memory that these leave.
    """
    if policy.mixes and train.task == "binary":
        warn("mixup and cutmix give soft targets; with a binary task they are taken as probabilities of the positive")
    drawn = None if policy.neutral else policy
    side = config.data.cache_side or round(preprocess.image_size * KEPT)
    kept: dict[str, Any] = {
        "allow_truncated": config.data.allow_truncated, "processes": runtime.world, "device": str(runtime.device),
    }  # fmt: skip
    whole = config.data.cache_share * (keeping.share_left() if keeping.views else 1.0)
    share = whole * len(train) / (len(train) + len(val))
    wanted = cache_wanted(config, preprocess, drawn)
    cache = open_cache(
        wanted, train, preprocess, drawn, side=side, share=share, aloud=runtime.rank == 0,
        epochs=keeping.views or config.epochs or 2, **kept,
    )  # fmt: skip
    common: dict[str, Any] = {
        "preprocess": preprocess, "batch_size": config.batch_size, "threads": config.runtime.threads,
        "allow_truncated": config.data.allow_truncated, "on_reject": rejects.add, "on_note": rejects.note,
        "prefetch": config.data.prefetch, "empty": runtime.host_array, "rank": runtime.rank, "world": runtime.world,
    }  # fmt: skip
    used = stored["side"] if stored else None if cache.kind == "none" else side
    batches = Loader(
        train, policy=drawn, cache=cache, cache_side=used, shuffle=True, seed=config.seed, balance=config.data.balance,
        shares=stored.get("ranks") if stored else None, **common,
    )  # fmt: skip
    if not len(val):
        return batches, None
    wanted = "ram" if wanted == "device" else wanted
    cache = open_cache(
        wanted, val, preprocess, None, side=side, share=whole - share, aloud=False,
        epochs=1 if keeping.views else config.epochs or 2, **kept,
    )  # fmt: skip
    return batches, Loader(val, cache=cache, **common)


def whiten_stem(
    backbone: nn.Module, normalize: Callable[[torch.Tensor], torch.Tensor], train: Table, config: LearnConfig,
    preprocess: Preprocess, rejects: Rejects,
) -> None:  # fmt: skip
    """Whiten the stem of a network that has one to be whitened (`prepare`) and starts from scratch, by some images."""
    prepare = getattr(backbone, "prepare", None)
    if prepare is not None and config.model.weights == "none":
        prepare(normalize(sample_images(train, config, preprocess, rejects)))


def sample_images(
    train: Table, config: LearnConfig, preprocess: Preprocess, rejects: Rejects, most: int = FIRST
) -> torch.Tensor:
    """uint8[N, S, S, C] of up to `most` training images, drawn by the seed, without augmentation.

    For what begins from what the images are like.  DataError where none can be read.
    """
    rows = np.sort(np.random.default_rng(config.seed).permutation(len(train))[:most])
    loader = Loader(
        train.take(rows), preprocess=preprocess, batch_size=config.batch_size, threads=config.runtime.threads,
        allow_truncated=config.data.allow_truncated, on_reject=rejects.add,
    )  # fmt: skip
    batches = [batch.images for batch in loader.epoch(0) if len(batch)]
    if not batches:
        raise DataError("none of the training images can be read.", where=str(train.root), code="rejects")
    return torch.from_numpy(np.concatenate(batches))


def cache_wanted(config: LearnConfig, preprocess: Preprocess, policy: Policy | Guest | None) -> str:
    """The cache to ask for; in the place of `device`, RAM for what a device cannot do: guests, other colour spaces."""
    if config.data.cache == "device" and (preprocess.finishes or isinstance(policy, Guest)):
        warn("this augmentation or colour space runs on the host: pixels are kept in RAM, not on the device")
        return "ram"
    return config.data.cache
