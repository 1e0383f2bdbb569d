"""Learning without labels: an encoder, an objective around it, the loop; at the end the encoder as a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from anmok.augment.accept import as_policy
from anmok.augment.preprocess import Preprocess
from anmok.augment.views import Views, two_views
from anmok.core.events import Events
from anmok.core.progress import say
from anmok.data.batches import Loader
from anmok.data.table import Table
from anmok.engine.optim import build_optimizer
from anmok.engine.runtime import build_runtime
from anmok.models.build import Built, build
from anmok.models.encoder import Encoder
from anmok.objectives.catalogue import build_objective
from anmok.stages.averages import build_average
from anmok.stages.config import LearnConfig
from anmok.stages.job import Job, run_job
from anmok.stages.loaders import build_loaders, sample_images, whiten_stem
from anmok.stages.pixels import with_preprocess
from anmok.stages.planning import stored_plan
from anmok.stages.pretrain_finish import finish
from anmok.stages.pretrain_pace import settled
from anmok.stages.pretrain_settings import EPOCHS, PretrainConfig
from anmok.stages.probe import Monitor, probe_loader, probe_rows
from anmok.stages.rejects import Rejects
from anmok.stages.signals import Stop

OUTPUTS = 10  # of the head that the network is built with, which goes at once


def learn(folder: Path, config: PretrainConfig, module: Any, events: Events, stop: Stop, augment: Any = None) -> None:
    """Pretrain in `folder` from its newest checkpoint, or from the start, and finish the run."""
    job, monitor = set_up(folder, config, module, augment)
    run_job(job, events, stop, monitor, lambda job: tell(job, config))
    finish(job, config)


def tell(job: Job, config: PretrainConfig) -> None:
    """What begins."""
    labels = "labels say which images belong together" if config.objective.labels else "labels are ignored"
    say(f"{config.objective.name}: {len(job.train.table):,} images, {labels}")


def set_up(folder: Path, config: PretrainConfig, module: Any, augment: Any = None) -> tuple[Job, Monitor]:
    """Build everything a run needs; what was measured or chosen before (plan.json) is taken as it was."""
    table = Table.load(folder / "table.parquet")
    runtime = build_runtime(config.runtime)
    stored = stored_plan(folder, runtime)
    torch.manual_seed(config.seed)
    built, preprocess = network(config, module)
    train, val = table.where(split="train"), table.where(split="val")
    rejects = Rejects(folder, len(train) + len(val), config.data.max_rejects, table.rejects)
    policy: Any = as_policy(config.augment, preprocess.fit == "squash", preprocess.depth, folder, augment)
    if config.objective.name == "contrastive":
        policy = two_views(policy)
    batches, judged_by = build_loaders(config, train, val, preprocess, policy, runtime, rejects, stored)
    common: dict[str, Any] = {
        "preprocess": preprocess, "batch_size": config.batch_size, "threads": config.runtime.threads,
        "allow_truncated": config.data.allow_truncated, "on_reject": rejects.add, "empty": runtime.host_array,
    }  # fmt: skip
    if judged_by is not None and isinstance(policy, Views):
        judged_by = Loader(val, policy=policy, seed=config.seed, **common)
    learner = prepared(config, built, preprocess, train, rejects)
    plan, epochs = settled(folder, config, EPOCHS, learner, batches, runtime, stored)
    runtime = runtime.form(plan.dtype, plan.channels_last, plan.compiled)
    runtime.place(learner)
    average = build_average(learner, config.optim, epochs * len(batches))
    optimizer = build_optimizer(learner, config.optim, plan.dtype)
    job = Job(
        folder, config, table, preprocess, batches, judged_by, learner, runtime, plan, epochs, optimizer, average,
        rejects,
    )  # fmt: skip
    known, asked = (probe_rows(rows, config.probe_images, config.seed) for rows in (train, val))
    both = known is not None and asked is not None
    monitor = Monitor(
        probe_loader(known if both else None, **common), probe_loader(asked if both else None, **common),
        config.probe_every, config.training.select == "loss",
    )  # fmt: skip
    return job, monitor


def network(settings: LearnConfig, module: Any) -> tuple[Built, Preprocess]:
    """The network with a head that goes at once, and the preprocessing that belongs to it."""
    channels = 1 if settings.preprocess.channels == "gray" else 3
    names = [str(k) for k in range(OUTPUTS)]
    built = build(settings.model, names, "multiclass", channels, settings.preprocess.image_size, module)
    for text in built.said:
        if "head" not in text:  # it has none
            say(text)
    return with_preprocess(built, settings)


def prepared(config: PretrainConfig, built: Built, preprocess: Preprocess, train: Table, rejects: Rejects) -> Any:
    """The objective around the encoder, with what it takes from the training images: a whitened stem, colours."""
    classifier = built.classifier
    encoder = Encoder(classifier.backbone, classifier.outputs, preprocess.image_size, preprocess.depth)
    whiten_stem(encoder.backbone, classifier.normalize, train, config, preprocess, rejects)
    colors = None
    if config.objective.name == "colorize":
        from anmok.objectives.colorize import color_counts

        colors = color_counts(sample_images(train, config, preprocess, rejects))
    return build_objective(
        config.objective, encoder, classifier.pixel_mean, classifier.pixel_std, preprocess.image_size, colors
    )
