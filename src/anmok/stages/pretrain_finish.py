"""The end of a pretraining: the encoder's folder and the report."""

from __future__ import annotations

from anmok.core.events import read_events
from anmok.core.progress import say
from anmok.data.table import split_counts
from anmok.deploy.encoder import EncoderCard, save_encoder
from anmok.models.build import model_options
from anmok.stages.job import Job
from anmok.stages.pretrain_report import report_of
from anmok.stages.pretrain_settings import PretrainConfig


def finish(job: Job, config: PretrainConfig) -> None:
    """Write encoder/, rejects.parquet and report.html from the judged weights."""
    learner = job.judged.float().cpu()
    name = "object" if config.model.name.startswith("object:") else config.model.name
    history = list(read_events(job.folder / "events.jsonl", "epoch"))
    probes = {k: v for k, v in (history[-1]["val"] if history else {}).items() if k in ("loss", "knn", "linear")}
    training = {
        "epochs": str(job.epochs), "batch size": str(config.batch_size), "optimizer": config.optim.name,
        "augmentation": config.augment.policy, "starting weights": config.model.weights, "seed": str(config.seed),
    }  # fmt: skip
    save_encoder(
        job.folder / "encoder", learner.encoder, job.preprocess, architecture=name,
        objective=config.objective.model_dump(exclude_none=True), model_args=model_options(config.model),
        card=EncoderCard(job.folder.name, split_counts(job.table), training, probes),
    )  # fmt: skip
    job.rejects.save()
    report_of(job, config)
    say(f"encoder: {job.folder / 'encoder'}")
