"""Supervised learning: model, plan, loop; at the end the best weights as a model folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from anmok.augment.accept import as_policy
from anmok.core.events import Events
from anmok.core.files import read_json, write_json
from anmok.core.progress import say
from anmok.data.table import Table, class_counts
from anmok.engine.optim import build_optimizer
from anmok.engine.plan import Plan
from anmok.engine.predict import predict
from anmok.engine.runtime import build_runtime
from anmok.models.adapt import Part, parts_text
from anmok.models.average import EMA
from anmok.models.build import build
from anmok.objectives.losses import build_loss
from anmok.objectives.supervised import Supervised
from anmok.stages.config import TrainConfig
from anmok.stages.finish import finish
from anmok.stages.job import Job, run_job
from anmok.stages.keeping import plan_keeping
from anmok.stages.learning import refuse_unfreezing, what_learns, with_features
from anmok.stages.loaders import build_loaders, sample_images
from anmok.stages.pixels import with_preprocess, with_size
from anmok.stages.planning import choose_form, count_epochs, warn_machine
from anmok.stages.rejects import Rejects
from anmok.stages.score import quick_score
from anmok.stages.signals import Stop


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


def set_up(folder: Path, config: TrainConfig, module: Any, augment: Any = None) -> Job:
    """Build everything a run needs; what was measured or chosen before (plan.json) is taken as it was."""
    table = Table.load(folder / "table.parquet")
    runtime = build_runtime(config.runtime)
    stored = read_json(folder / "plan.json") if (folder / "plan.json").exists() else None
    if stored:
        torch.set_num_threads(stored["plan"]["threads"])
        warn_machine(stored["plan"]["machine"])
    refuse_unfreezing(config, runtime.world)
    torch.manual_seed(config.seed)
    built = build(
        config.model, list(table.classes), table.task, 1 if config.preprocess.channels == "gray" else 3,
        config.preprocess.image_size, module,
    )  # fmt: skip
    for text in built.said:
        say(text)
    built, preprocess = with_preprocess(built, config)
    config = with_size(folder, config, preprocess)
    labelled = table.labelled()
    train, val = labelled.where(split="train"), labelled.where(split="val")
    rejects = Rejects(folder, len(train) + len(val), config.data.max_rejects, table.rejects)
    policy = as_policy(config.augment, preprocess.fit == "squash", preprocess.depth, folder, augment)
    keeping = plan_keeping(config, built, train, val, policy, runtime)
    loaders = build_loaders(config, train, val, preprocess, policy, runtime, rejects, stored, keeping)
    prepare = getattr(built.classifier.backbone, "prepare", None) if config.model.weights == "none" else None
    if prepare is not None:  # a stem that is whitened by the images
        prepare(built.classifier.normalize(sample_images(train, config, preprocess, rejects)))
    counts = list(class_counts(train).values())
    learner = Supervised(built.classifier, build_loss(config.loss, table.task, counts, built.classifier.outputs))
    rounds = 2 if keeping.views else 4
    plan = Plan(**stored["plan"]) if stored else choose_form(config, learner, loaders[0], runtime, rounds)
    runtime = runtime.form(plan.dtype, plan.channels_last)
    runtime.place(learner)
    timed = config.minutes is not None and config.epochs is None and not stored
    batches, image_s, spent = with_features(loaders, learner, runtime, keeping, plan, timed)
    epochs = stored["epochs"] if stored else count_epochs(config, image_s, len(train), spent)
    if not stored:
        write_json(folder / "plan.json", {"plan": plan.to_dict(), "epochs": epochs, "side": loaders[0].side})
    learning = what_learns(config, built, len(batches[0]), epochs)
    facts = {**learning.facts, **({"views": keeping.views} if keeping.views else {})}
    average = EMA(learner, config.optim.ema) if config.optim.ema else None
    optimizer = build_optimizer(learner, config.optim, plan.dtype, learning.rates)
    return Job(
        folder, config, table, preprocess, *batches, learner, runtime, plan, epochs, optimizer, average, rejects,
        facts, learning.begin,
    )  # fmt: skip


def validate(job: Job) -> dict[str, float]:
    """Scores of the judged weights on the validation split, {} if there is none."""
    if job.val is None:
        return {}
    predictions = predict(job.judged.model, job.val.epoch(), job.runtime, len(job.val.table), "validate")
    return quick_score(predictions, job.config.training.select)
