"""Learning from labelled and unlabelled images together: FixMatch around the classifier, else as any training."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch

from anmok.augment.accept import as_policy
from anmok.augment.preprocess import Preprocess
from anmok.augment.strong import strong_view
from anmok.augment.views import Views
from anmok.core.config import resolve
from anmok.core.errors import DataError, UsageError
from anmok.core.events import Events
from anmok.core.files import write_json
from anmok.core.progress import say
from anmok.data.batches import Loader
from anmok.data.pixels import KEPT, open_cache
from anmok.data.saved import MOVED, require_root
from anmok.data.sources import open_table
from anmok.data.table import Table, class_counts
from anmok.engine.optim import build_optimizer
from anmok.engine.plan import Plan
from anmok.engine.runtime import Runtime, build_runtime
from anmok.expand.refuse import LEAKS
from anmok.objectives.fixmatch import FixMatch
from anmok.objectives.losses import build_loss
from anmok.stages import learn as supervised
from anmok.stages.averages import build_average
from anmok.stages.config import TrainConfig
from anmok.stages.finish import finish
from anmok.stages.job import Job, run_job
from anmok.stages.learning import refuse_unfreezing, what_learns
from anmok.stages.loaders import build_loaders, whiten_stem
from anmok.stages.pixels import build_for, with_size
from anmok.stages.planning import choose_form, read_length, settle_length, stored_plan
from anmok.stages.predict_settings import ANY, PredictTree
from anmok.stages.pseudo_refused import refuse, tell_leaks, without_labels
from anmok.stages.rejects import Rejects
from anmok.stages.run_folder import check_unchanged
from anmok.stages.semi_batches import SemiBatches
from anmok.stages.signals import Stop

FILE = "unlabeled.parquet"


def lock_unlabeled(folder: Path, config: TrainConfig, table: Table) -> None:
    """Open the unlabelled images, leave out those of the table's validation and test, and lock the rest in the run.

    DataError where none is left; UsageError for a multi-label task.
    """
    if table.task == "multilabel":
        raise UsageError("fixmatch teaches one label an image.", where="--objective", code="setting")
    shared = {"data.allow_links": config.data.allow_links, "data.max_rejects": config.data.max_rejects}
    data = resolve(PredictTree, ANY, shared).data
    rest = without_labels(open_table(str(config.semi.unlabeled), data), table).hashed()
    found = refuse(table, rest, threads=config.runtime.threads)
    refused = {name: why for name, why in found.items() if why in LEAKS}
    tell_leaks(refused)
    rest = rest.take([i for i, name in enumerate(rest.rows["id"]) if name not in refused])
    if not len(rest):
        raise DataError(
            f"none of the unlabelled images is left: {len(refused):,} are validation's or test's.",
            where="--unlabeled", code="empty-table", remedy="Bring images that are in neither.",
        )  # fmt: skip
    rest.save(folder / FILE)


def learn(folder: Path, config: TrainConfig, module: Any, events: Events, stop: Stop, augment: Any = None) -> None:
    """Train the run in `folder` from its newest checkpoint, or from the start, and finish it."""
    job = set_up(folder, config, module, augment)
    run_job(job, events, stop, validate, lambda job: tell(job, config))
    finish(job, events)


def tell(job: Job, config: TrainConfig) -> None:
    """What begins."""
    train: Any = job.train
    say(
        f"fixmatch: {len(train.labelled.table):,} images with and {len(train.unlabelled.table):,} without labels, "
        f"{config.batch_size} and {config.batch_size * config.semi.ratio} a step; an epoch has {len(train)} steps"
    )
    supervised.tell(job)


def validate(job: Job) -> dict[str, float]:
    """Scores of validation; with them `taken`, the share of the epoch's unlabelled images whose pseudo label was sure
    enough, and `agreement`, of these the share whose strong view was recognised as the same.
    """
    scores = supervised.validate(job)
    learner: Any = job.learner
    found = learner.reset()
    if found.seen:
        scores["taken"] = found.taken
    if found.agreement is not None:
        scores["agreement"] = found.agreement
    return scores


def set_up(folder: Path, config: TrainConfig, module: Any, augment: Any = None) -> Job:
    """Build everything a run needs; what was measured or chosen before (plan.json) is taken as it was."""
    began = time.monotonic()
    table, rest = Table.load(folder / "table.parquet"), Table.load(folder / FILE)
    runtime = build_runtime(config.runtime)
    stored = stored_plan(folder, runtime)
    if stored:
        require_root(rest, str(folder / FILE), MOVED.format(run=folder))
        check_unchanged(rest)
    refuse_unfreezing(config, runtime.world)
    torch.manual_seed(config.seed)
    built, preprocess = build_for(config, table, module)
    config = with_size(folder, config, preprocess)
    labelled = table.labelled()
    train, val = labelled.where(split="train"), labelled.where(split="val")
    rejects = Rejects(folder, len(train) + len(val) + len(rest), config.data.max_rejects, table.rejects)
    weak: Any = as_policy(config.augment, preprocess.fit == "squash", preprocess.depth, folder, augment)
    views = Views((weak, strong_view(weak, config.semi.operations, config.semi.magnitude, config.semi.cutout)))
    views.check(preprocess.depth)
    host = on_host(config)
    known, judged_by = build_loaders(host, train, val, preprocess, weak, runtime, rejects, stored)
    batches = SemiBatches(known, unlabelled_loader(host, rest, preprocess, views, runtime, rejects))
    whiten_stem(built.classifier.backbone, built.classifier.normalize, train, config, preprocess, rejects)
    loss = build_loss(config.loss, table.task, list(class_counts(train).values()), built.classifier.outputs)
    semi = config.semi
    learner = FixMatch(built.classifier, loss, semi.threshold, semi.ratio, semi.weight)
    plan = Plan(**stored["plan"]) if stored else choose_form(config, learner, batches, runtime)
    runtime = runtime.form(plan.dtype, plan.channels_last, plan.compiled)
    runtime.place(learner)
    if stored:
        length = read_length(stored)
    else:
        gone = time.monotonic() - began
        length = settle_length(config, plan.seconds_per_image, batches.rows, len(batches), len(val), gone)
        write_json(folder / "plan.json", {"plan": plan.to_dict(), "side": known.side, **length.to_dict()})
    learning = what_learns(config, built, len(batches), length.epochs)
    facts = {**learning.facts, "unlabeled": {"images": len(rest), "fingerprint": rest.fingerprint}}
    average = build_average(learner, config.optim, length.steps or length.epochs * len(batches))
    optimizer = build_optimizer(learner, config.optim, plan.dtype, learning.rates)
    return Job(
        folder, config, table, preprocess, batches, judged_by, learner, runtime, plan, length.epochs, optimizer,
        average, rejects, facts, learning.begin, steps=length.steps, budget=length.budget,
    )  # fmt: skip


def on_host(config: TrainConfig) -> TrainConfig:
    """The settings with pixels kept in RAM where a device was asked for: the two kinds of rows meet on the host."""
    if config.data.cache != "device":
        return config
    return config.model_copy(update={"data": config.data.model_copy(update={"cache": "ram"})})


def unlabelled_loader(
    config: TrainConfig, rest: Table, preprocess: Preprocess, views: Views, runtime: Runtime, rejects: Rejects
) -> Loader:
    """Batches of the unlabelled images in two views, `ratio` times as large as those of the labelled ones."""
    side = config.data.cache_side or round(preprocess.image_size * KEPT)  # kept or not: a resumed run sees the same
    cache = open_cache(
        config.data.cache, rest, preprocess, views, side=side,
        allow_truncated=config.data.allow_truncated, share=config.data.cache_share / 2, epochs=config.epochs or 2,
        processes=runtime.world, aloud=runtime.rank == 0,
    )  # fmt: skip
    return Loader(
        rest, preprocess=preprocess, batch_size=config.batch_size * config.semi.ratio, policy=views, shuffle=True,
        seed=config.seed, threads=config.runtime.threads, cache=cache, cache_side=side,
        allow_truncated=config.data.allow_truncated, rank=runtime.rank, world=runtime.world,
        prefetch=config.data.prefetch, empty=runtime.host_array, on_reject=rejects.add, on_note=rejects.note,
    )  # fmt: skip
