"""Supervised learning: model, plan, loop; at the end the best weights as a model folder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch

from anmok.augment.accept import as_policy
from anmok.core.errors import UsageError
from anmok.core.events import Events
from anmok.core.files import write_json
from anmok.core.progress import say
from anmok.data.table import Table, class_counts
from anmok.engine.optim import build_optimizer
from anmok.engine.plan import Plan
from anmok.engine.predict import predict
from anmok.engine.ranks import from_first
from anmok.engine.runtime import Runtime, build_runtime
from anmok.models.adapt import Part, parts_text
from anmok.models.build import Built
from anmok.models.heads import head_names
from anmok.models.standardized import standardize_head
from anmok.objectives.losses import build_loss
from anmok.objectives.supervised import Supervised
from anmok.stages.averages import build_average
from anmok.stages.config import TrainConfig
from anmok.stages.faster import attach, build_growth, build_skipping, without_compiling
from anmok.stages.finish import finish
from anmok.stages.job import Job, run_job
from anmok.stages.keeping import plan_keeping
from anmok.stages.learning import refuse_unfreezing, what_learns, with_features
from anmok.stages.loaders import build_loaders, sample_images, whiten_stem
from anmok.stages.pixels import build_for, with_size
from anmok.stages.planning import choose_form, read_length, settle_length, stored_plan
from anmok.stages.ranks import check_shard, gathered, in_parts
from anmok.stages.rejects import Rejects
from anmok.stages.score import quick_score
from anmok.stages.signals import Stop

STANDARD = 256  # images by whose features a head is standardised


def learn(folder: Path, config: TrainConfig, module: Any, events: Events, stop: Stop, augment: Any = None) -> None:
    """Train the run in `folder` from its newest checkpoint, or from the start, and finish it."""
    job = set_up(folder, config, module, augment)
    run_job(job, events, stop, validate, tell)
    finish(job, events)


def tell(job: Job) -> None:
    """What learns, where that is not everything alike, and what a beginner may want to know at the start."""
    if "parts" in job.facts:
        say(parts_text([Part(**part) for part in job.facts["parts"]]))
    if job.config.model.weights == "none":
        say("from scratch; --weights pretrained starts from what others have learned, if there is a network")
    if job.growth is not None:
        first, until = job.growth.side(0, 1, 100), job.growth.until
        say(f"images grow from {first} to {job.growth.size} px over {until}; evaluation is at {job.growth.size} px")


def set_up(folder: Path, config: TrainConfig, module: Any, augment: Any = None) -> Job:
    """Build everything a run needs; what was measured or chosen before (plan.json) is taken as it was."""
    if config.objective.name != "supervised":
        raise UsageError(
            f"{config.objective.name} is not learned here.", where="--objective", code="setting",
            remedy="Take `anmok train`.",
        )  # fmt: skip
    began = time.monotonic()
    table = Table.load(folder / "table.parquet")
    runtime = build_runtime(config.runtime)
    config, stored = check_shard(config, runtime.world), stored_plan(folder, runtime)
    config = without_compiling(config)
    refuse_unfreezing(config, runtime.world)
    torch.manual_seed(config.seed)
    built, preprocess = build_for(config, table, module)
    config = with_size(folder, config, preprocess)
    labelled = table.labelled()
    train, val = labelled.where(split="train"), labelled.where(split="val")
    rejects = Rejects(folder, len(train) + len(val), config.data.max_rejects, table.rejects, runtime.rank == 0)
    if config.model.adapt == "head":
        sample = sample_images(train, config, preprocess, rejects, STANDARD)
        standardize(built, sample, runtime)
    policy = as_policy(config.augment, preprocess.fit == "squash", preprocess.depth, folder, augment)
    keeping = plan_keeping(config, built, train, val, policy, runtime)
    growth = build_growth(config, built.classifier, preprocess, keeping, runtime)
    skipping = build_skipping(config, train, policy, keeping, runtime.world)
    loaders = build_loaders(config, train, val, preprocess, policy, runtime, rejects, stored, keeping)
    whiten_stem(built.classifier.backbone, built.classifier.normalize, train, config, preprocess, rejects)
    counts = list(class_counts(train).values())
    learner = Supervised(built.classifier, build_loss(config.loss, table.task, counts, built.classifier.outputs))
    rounds = 2 if keeping.views else 4
    world = runtime.world
    plan = (
        Plan(**stored["plan"]) if stored
        else from_first(lambda: choose_form(config, learner, loaders[0], runtime, rounds), world)
    )  # fmt: skip
    runtime = runtime.form(plan.dtype, plan.channels_last, plan.compiled)
    runtime.place(learner)
    timed = config.minutes is not None and config.epochs is None and not stored
    batches, image_s, _ = with_features(loaders, learner, runtime, keeping, plan, timed)
    if stored:
        length = read_length(stored)
    else:
        gone = time.monotonic() - began
        sizes, each = (len(train), len(batches[0]), len(val)), None if image_s is None else image_s / world
        length = from_first(lambda: settle_length(config, each, *sizes, gone, growth), world)
        chosen = {"plan": plan.to_dict(), "side": loaders[0].side, "ranks": world, **length.to_dict()}
        if runtime.rank == 0:
            write_json(folder / "plan.json", chosen)
    plain = in_parts(learner, built.classifier.backbone, runtime) if config.runtime.shard else None
    learning = what_learns(config, built, len(batches[0]), length.epochs)
    facts = {**learning.facts, **({"views": keeping.views} if keeping.views else {})}
    average = build_average(learner, config.optim, length.steps or length.epochs * len(batches[0]))
    optimizer = build_optimizer(learner, config.optim, plan.dtype, learning.rates)
    attach(learner, skipping)
    return Job(
        folder, config, table, preprocess, *batches, learner, runtime, plan, length.epochs, optimizer, average, rejects,
        facts, learning.begin, steps=length.steps, budget=length.budget, plain=plain,
        growth=growth, skipping=skipping,
    )  # fmt: skip


def standardize(built: Built, images: torch.Tensor, runtime: Runtime) -> None:
    """Let the head learn from standardised features, by those of some images, where it can."""
    classifier = built.classifier
    runtime.place(classifier)
    heads = built.heads or head_names(classifier.backbone, classifier.outputs)
    standardize_head(classifier.backbone, heads, classifier.normalize(images.to(classifier.mean.device)))


def validate(job: Job) -> dict[str, float]:
    """Scores of the judged weights on the validation split, {} if there is none."""
    if job.val is None:
        return {}
    own = predict(job.judged.model, job.val.epoch(), job.runtime, len(job.val.table), "validate")
    return quick_score(gathered(own, job.val, job.runtime), job.config.training.select)
