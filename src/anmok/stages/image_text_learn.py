"""Learning from pairs: two towers, the loss between them, the loop; at the end the dual encoder as a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from anmok.augment.accept import as_policy
from anmok.augment.preprocess import Preprocess
from anmok.core.events import Events
from anmok.core.progress import say, warn
from anmok.data.batches import Loader
from anmok.data.captions import captions_of
from anmok.data.table import Table
from anmok.engine.optim import build_optimizer
from anmok.engine.runtime import build_runtime
from anmok.models.build import Built
from anmok.models.encoder import Encoder
from anmok.models.text_tokens import Tokenizer, learn_tokenizer
from anmok.models.text_tower import TextTower
from anmok.models.two_towers import TwoTowers
from anmok.objectives.image_text import Captions, ImageText
from anmok.stages.averages import build_average
from anmok.stages.image_text_finish import finish
from anmok.stages.image_text_recall import RecallMonitor, watched_rows
from anmok.stages.image_text_settings import EPOCHS, ImageTextConfig
from anmok.stages.job import Job, run_job
from anmok.stages.loaders import build_loaders, whiten_stem
from anmok.stages.pixels import with_size
from anmok.stages.planning import stored_plan
from anmok.stages.pretrain_learn import network
from anmok.stages.pretrain_pace import settled
from anmok.stages.rejects import Rejects
from anmok.stages.signals import Stop


def learn(
    folder: Path, config: ImageTextConfig, module: Any, events: Events, stop: Stop, augment: Any = None
) -> None:  # fmt: skip
    """Train in `folder` from its newest checkpoint, or from the start, and finish the run."""
    job, monitor = set_up(folder, config, module, augment)
    run_job(job, events, stop, monitor, tell)
    assert isinstance(job.config, ImageTextConfig)  # with the image size that was taken
    finish(job, job.config, events)


def tell(job: Job) -> None:
    """What begins."""
    captions: Captions = job.judged.captions
    said = int(captions.key.max()) + 1
    say(f"image-text: {len(job.table):,} images, {len(captions.texts):,} captions, {said:,} of different words")
    if captions.cut:
        warn(f"{captions.cut:,} captions are longer than --text.length, and their end is cut off")
    if said < len(captions.texts):
        say("  images of one caption, word for word, are not each other's negatives")


def set_up(folder: Path, config: ImageTextConfig, module: Any, augment: Any = None) -> tuple[Job, RecallMonitor]:
    """Build everything a run needs; what was measured or chosen before (plan.json) is taken as it was."""
    table = Table.load(folder / "table.parquet")
    runtime = build_runtime(config.runtime)
    stored = stored_plan(folder, runtime)
    torch.manual_seed(config.seed)
    built, preprocess = network(config, module)
    config = with_size(folder, config, preprocess)
    train, val = table.where(split="train"), table.where(split="val")
    rejects = Rejects(folder, len(train) + len(val), config.data.max_rejects, table.rejects)
    policy = as_policy(config.augment, preprocess.fit == "squash", preprocess.depth, folder, augment)
    batches, judged_by = build_loaders(config, train, val, preprocess, policy, runtime, rejects, stored)
    learner = prepared(config, built, preprocess, table, train, rejects)
    plan, epochs = settled(folder, config, EPOCHS, learner, batches, runtime, stored)
    runtime = runtime.form(plan.dtype, plan.channels_last, plan.compiled)
    runtime.place(learner)
    average = build_average(learner, config.optim, epochs * len(batches))
    optimizer = build_optimizer(learner, config.optim, plan.dtype)
    watched = None if judged_by is None else Loader(
        watched_rows(val, config.seed), preprocess=preprocess, batch_size=config.batch_size,
        threads=config.runtime.threads, allow_truncated=config.data.allow_truncated, on_reject=rejects.add,
        empty=runtime.host_array,
    )  # fmt: skip
    job = Job(
        folder, config, table, preprocess, batches, judged_by, learner, runtime, plan, epochs, optimizer, average,
        rejects, {"captions": len(learner.captions.texts), "tokens": learner.towers.tokenizer.size},
    )  # fmt: skip
    return job, RecallMonitor(watched, config.training.select == "loss")


def prepared(
    config: ImageTextConfig, built: Built, preprocess: Preprocess, table: Table, train: Table, rejects: Rejects
) -> ImageText:
    """The two towers and the loss between them; the tokenizer is learned from the training captions alone."""
    classifier = built.classifier
    encoder = Encoder(classifier.backbone, classifier.outputs, preprocess.image_size, preprocess.depth)
    whiten_stem(encoder.backbone, classifier.normalize, train, config, preprocess, rejects)
    tokenizer: Tokenizer = learn_tokenizer(
        (text for own in captions_of(train).values() for text in own), config.text.merges, config.text.length
    )
    sizes = {"width": config.text.width, "depth": config.text.depth, "heads": config.text.heads}
    tower = TextTower(tokenizer.size, tokenizer.length, **sizes, drop=config.text.drop)
    soft = config.pairs.loss == "info-nce"
    temperature = config.pairs.temperature or (0.07 if soft else 0.1)
    towers = TwoTowers(
        encoder, tower, tokenizer, classifier.pixel_mean, classifier.pixel_std, config.pairs.dim,
        "softmax" if soft else "sigmoid", 1 / temperature, 0.0 if soft else config.pairs.bias,
    )  # fmt: skip
    return ImageText(towers, Captions(captions_of(table), tokenizer))
