"""The end of a run: the best weights judged on validation, the model folder, the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anmok.core.artifacts import save_predictions
from anmok.core.events import Events
from anmok.core.progress import say
from anmok.core.types import Evaluation
from anmok.data.table import split_counts
from anmok.deploy.bundle import save_bundle
from anmok.deploy.card import Card, Score
from anmok.engine.predict import predict
from anmok.models.build import model_options
from anmok.models.lora import merge_lora
from anmok.models.standardized import fold_standardized
from anmok.stages.evaluate import stamped
from anmok.stages.hierarchy_scores import fitted_decision
from anmok.stages.judge import judge, write_evaluation
from anmok.stages.ranks import gathered, share_rejects, with_whole
from anmok.stages.report import report_of
from anmok.stages.run import Run

if TYPE_CHECKING:
    from anmok.stages.job import Job


def finish(job: Job, events: Events) -> None:
    """Write model/, predictions/val.parquet, evaluation-val.json and report.html from the judged weights."""
    evaluation: Evaluation | None = None
    predictions = None
    if job.plain is None:
        merged(job)
    if job.val is not None:
        exact = job.runtime.form("fp32", job.runtime.channels_last)  # as the saved model computes
        own = predict(job.judged.model, job.val.epoch(), exact, len(job.val.table), "validate")
        predictions = gathered(own, job.val, exact)
    share_rejects(job.rejects, job.runtime.world)
    if job.plain is not None:
        job = merged(with_whole(job))
    if job.runtime.rank:  # rank 0 judges and writes
        return
    decision = fitted_decision(job.table, predictions) if job.table.hierarchy else None
    if predictions is not None:
        evaluation = judge(job.table, "val", predictions, job.config.data, decision)
    model = job.judged.model.float().cpu()
    save_bundle(
        job.folder / "model", model, job.preprocess,
        architecture="object" if job.config.model.name.startswith("object:") else job.config.model.name,
        model_args=model_options(job.config.model), card=card(job, evaluation), decision=decision,
    )  # fmt: skip
    job.rejects.save()
    if evaluation is None or predictions is None:
        say("there is no validation split; the last weights are kept")
        return
    run = Run(job.folder, job.judged.model.backbone)
    predictions = stamped(predictions, "val", run.model.hash, job.table.fingerprint)
    save_predictions(predictions, job.folder / "predictions" / "val.parquet")
    write_evaluation(job.folder, evaluation)
    events.log("validated", accuracy=evaluation.value("accuracy"), macro_f1=evaluation.value("macro_f1"))
    report_of(run, "val", evaluation, predictions)


def merged(job: Job) -> Job:
    """The job, with what was put into the network for training alone computed into its weights."""
    if job.config.model.adapt == "lora":
        merge_lora(job.judged.model.backbone)
    fold_standardized(job.judged.model.backbone)
    return job


def card(job: Job, evaluation: Evaluation | None) -> Card:
    """What the model folder's README says of the training."""
    c = job.config
    named = evaluation["metrics"] if evaluation else {}
    scores = tuple(
        Score("val", name, m["value"], m.get("low"), m.get("high"))
        for name, m in named.items() if name in ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "ece")
    )  # fmt: skip
    training = {
        "epochs": str(job.epochs), "batch size": str(c.batch_size), "optimizer": c.optim.name,
        "schedule": c.schedule.name, "augmentation": c.augment.policy, "starting weights": c.model.weights,
        "seed": str(c.seed),
    }  # fmt: skip
    return Card(job.folder.name, split_counts(job.table), scores, training)
