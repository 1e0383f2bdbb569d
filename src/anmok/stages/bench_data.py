"""`anmok bench data`: how fast training would get its batches here, without a model."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anmok.augment.accept import as_policy, is_object, name_for
from anmok.augment.guests import Guest
from anmok.augment.policy import Policy
from anmok.augment.preprocess import Preprocess, build_preprocess
from anmok.core.config import resolve
from anmok.core.errors import DataError
from anmok.core.machine import free_memory_bytes
from anmok.core.optional import need
from anmok.core.progress import bar
from anmok.core.types import Reject
from anmok.data.batches import Loader
from anmok.data.cache_account import choose_cache
from anmok.data.cache_estimate import estimate_bytes
from anmok.data.cache_folder import cache_root, free_disk_bytes
from anmok.data.pixels import KEPT, free_device_bytes, training_frame
from anmok.data.sources import open_table
from anmok.data.table import Table
from anmok.stages.bench_data_measure import Memory, Pass, decode_alone, decoding_clock, one_pass
from anmok.stages.bench_data_result import DataSpeed
from anmok.stages.bench_data_settings import BenchDataTree
from anmok.stages.config import TrainConfig
from anmok.stages.pixels import color
from anmok.stages.rejects import Rejects

if TYPE_CHECKING:
    from anmok.engine.runtime import Runtime

IMAGE_SIZE = 224  # where none is set; a network's own is not known here
WARM = 16  # images
ALONE = 5.0  # seconds that decoding alone takes at most


class Counted(Rejects):
    """Images that cannot be used, counted and not written, however many: nothing is trained here."""

    def add(self, reject: Reject) -> None:
        """Keep one more."""
        self.found[reject.id] = reject

    def note(self, identity: str, text: str) -> None:
        """Nothing: odd images are the audit's."""


def bench_data(
    source: Any, *, config: Path | str | None = None, layers: tuple[Mapping[str, Any], ...] = (), **settings: Any
) -> DataSpeed:
    """Run the loader of training, its order, threads, augmentation and cache, and say how fast it is.

    A first epoch decodes and fills the cache, then decoding alone is timed, then later epochs run, whole ones unless
    the time (`seconds`) ends in the first of them. Where a first epoch is cut short, the later ones read what it has
    read. Of a source with a train split that is read, else all. settings: paths of BenchDataTree or short names
    (augment='randaugment', image_size=224, cache='ram', threads=2, seconds=20).

    DataError where there is no image that can be read; MachineError for a device that is not there.
    """
    augment = settings.pop("augment") if is_object(settings.get("augment")) else None
    if augment is not None:
        settings["augment"] = name_for(augment)
    tree = resolve(BenchDataTree, {"data.allow_unlabelled": True}, *layers, settings, file=config)
    table, split = rows_of(open_table(source, tree.data, tree.labels))
    pre = build_preprocess(tree.preprocess, tree.preprocess.image_size or IMAGE_SIZE, color(tree.data.background))
    policy = as_policy(tree.augment if augment is None else augment, pre.fit == "squash", pre.depth)
    need("torch", "train")
    from anmok.engine.runtime import build_runtime
    from anmok.stages.loaders import build_loaders

    training = training_config(tree)
    runtime = build_runtime(training.runtime)
    rejects = Counted(Path(), len(table), 1.0)
    why = account(training, table, pre, policy, runtime)
    warm_up(training, table, pre, policy, runtime)
    memory = Memory()
    loader = build_loaders(training, table, table.take([]), pre, policy, runtime, rejects, None)[0]
    try:
        return measure(loader, policy, tree, runtime, {"split": split, "cache_why": why}, memory)
    finally:
        loader.close()


def warm_up(config: TrainConfig, table: Table, pre: Preprocess, policy: Policy | Guest, runtime: Runtime) -> None:
    """Load what the loader needs, with a few images of which nothing is kept: a short first epoch would be all that."""
    from anmok.stages.loaders import build_loaders

    quiet = config.model_copy(update={"data": config.data.model_copy(update={"cache": "none"})})
    few = table.take(range(min(len(table), WARM)))
    for _ in build_loaders(quiet, few, few.take([]), pre, policy, runtime, Counted(Path(), len(few), 1.0), None)[0]:
        pass


def rows_of(table: Table) -> tuple[Table, str]:
    """What is read, and what to call it: the train split where the source has one, else all rows."""
    train = table.where(split="train")
    return (train, "train") if len(train) else (table, "all")


def training_config(tree: BenchDataTree) -> TrainConfig:
    """The configuration of the training that these settings would be part of."""
    return TrainConfig.model_validate(tree.model_dump(exclude={"seconds"}))


def account(config: TrainConfig, table: Table, pre: Preprocess, policy: Policy | Guest, runtime: Runtime) -> str:
    """The memory account's sentence on this cache."""
    drawn = None if policy.neutral else policy
    fixed = pre.image_size if drawn is None else training_frame(pre, drawn)
    wanted = config.data.cache
    if wanted == "device" and (pre.finishes or isinstance(policy, Guest)):
        wanted = "ram"  # as training does, which says so
    side = fixed or config.data.cache_side or round(pre.image_size * KEPT)
    return choose_cache(
        wanted, estimate_bytes(table, side, pre.depth, square=fixed is not None), free_ram=free_memory_bytes(),
        free_disk=free_disk_bytes(cache_root()), share=config.data.cache_share, processes=runtime.world,
        free_device=free_device_bytes(str(runtime.device)) if wanted == "device" else None,
    ).why  # fmt: skip


def wait_for(runtime: Runtime) -> None:
    """Until a GPU has all that it was sent."""
    if runtime.device.type == "cuda":
        need("torch", "train").cuda.synchronize(runtime.device)


def measure(
    loader: Loader, policy: Policy | Guest, tree: BenchDataTree, runtime: Runtime, about: dict[str, str], memory: Memory
) -> DataSpeed:
    """The first epoch, decoding alone, and later epochs."""
    read = partial(shown_pass, loader, runtime, memory)
    with decoding_clock(loader.cache) as clock:
        first = read("first epoch", 0, time.perf_counter() + tree.seconds, len(loader))
    if not first.images:
        raise DataError(
            f"none of {len(loader.rejects):,} images can be read.", where=str(loader.table.root), code="no-images",
            remedy="`anmok audit` says what is wrong with each.",
        )  # fmt: skip
    until = time.perf_counter() + min(tree.seconds, ALONE)
    drawn = None if policy.neutral else policy
    alone = decode_alone(loader, drawn, tree.data.allow_truncated, until, first.images)
    later, whole = later_passes(read, first, tree.seconds)
    return DataSpeed(
        images_per_s=later.rate, first_epoch_images_per_s=first.rate,
        decode_share=min(1.0, clock.seconds / (loader.threads * first.seconds)),
        decode_limit_images_per_s=alone.rate, share_of_decode_limit=min(1.0, first.rate / alone.rate),
        images=first.images, rows=len(loader.table), rejected=len(loader.rejects), first_epoch_s=first.seconds,
        first_epoch_whole=first.whole, later_images=later.images, later_s=later.seconds, later_epochs=whole,
        image_size=loader.preprocess.image_size, batch_size=tree.batch_size, threads=loader.threads,
        device=str(runtime.device), policy=tree.augment.policy, cache=loader.cache.kind,
        cache_bytes=loader.cache.held_bytes, cache_side=loader.side, peak_memory_bytes=memory.growth, seed=tree.seed,
        **about,
    )  # fmt: skip


def shown_pass(
    loader: Loader, runtime: Runtime, memory: Memory, title: str, epoch: int, until: float, limit: int
) -> Pass:  # fmt: skip
    """A pass with a bar."""
    done = 0
    with bar(title, min(len(loader.table), limit * len(loader.table) // len(loader))) as shown:

        def seen(images: int, seconds: float) -> None:
            nonlocal done
            done += images
            shown.advance(images, f"{done / seconds:,.0f} images/s")
            memory.look()

        return one_pass(loader, epoch, until, runtime.fed, lambda: wait_for(runtime), limit, seen)


def later_passes(read: Callable[[str, int, float, int], Pass], first: Pass, seconds: float) -> tuple[Pass, int]:
    """The sum of the whole later epochs that there was time for, and their number; else of what there was, and 0."""
    passes: list[Pass] = []
    until = time.perf_counter() + seconds
    while not passes or (passes[-1].whole and time.perf_counter() < until):
        epoch = len(passes) + 1 if first.whole else 0  # of the first epoch's images again
        passes.append(read(f"epoch {len(passes) + 2}", epoch, until, first.batches))
    whole = [p for p in passes if p.whole] or passes
    total = Pass(sum(p.images for p in whole), sum(p.seconds for p in whole), len(whole), whole[0].whole)
    return total, len(whole) if first.whole and total.whole else 0
