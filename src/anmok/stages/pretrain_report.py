"""What a pretraining knows, gathered for its page; the report room draws it and computes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from anmok.core.events import read_events
from anmok.core.machine import versions
from anmok.data.batches import Loader
from anmok.data.table import split_counts
from anmok.engine.runtime import Runtime
from anmok.models.classifier import evaluating
from anmok.report.pretrain_content import Done, Pictured, PretrainContent
from anmok.report.pretrain_page import write_pretrain_report
from anmok.report.words import count, percent
from anmok.stages.job import Job
from anmok.stages.pretrain_settings import PretrainConfig
from anmok.stages.report import settings_rows
from anmok.stages.run import kept_epoch

SHOWN = 8  # images

_DONE = {
    "rotation": "Each image as it is and turned, with the rotation that was guessed and how surely.",
    "jigsaw": "Each image, its tiles in the order that was asked about, and laid back in the order that was guessed.",
    "colorize": "Each image, the lightness that the network saw, and the colours it gave to it.",
    "inpaint": "Each image, what the network saw of it, and what it painted into the hidden parts.",
    "contrastive": "Two views of each image with the cosine of their vectors, and the view of another of these images "
    "that is most like the first one.",
}


def report_of(job: Job, config: PretrainConfig) -> Path:
    """Write the run's report.html from the judged weights, which lie on the CPU."""
    history = list(read_events(job.folder / "events.jsonl", "epoch"))
    kept = kept_epoch(job.folder)
    source = "validation" if job.val is not None else "training"
    plan = job.plan
    form = f"{plan.dtype}{', channels last' if plan.channels_last else ''}, {plan.threads} thread(s)"
    seconds = sum(h.get("seconds", 0.0) for h in history)
    size = job.preprocess.image_size
    content = PretrainContent(
        title=f"{config.objective.name}: {config.model.name}, {job.folder.name}",
        subtitle=f"pretrained {'with' if config.objective.labels else 'without'} labels on "
        f"{count(len(job.train.table), 'image')}",
        headline=headline(job, history, kept),
        history=history,
        best_epoch=kept,
        done=done(job),
        done_of=f"{_DONE[config.objective.name]} They are {source} images.",
        counts=split_counts(job.table),
        notes=[n.removeprefix("warning: ") for n in job.table.notes],
        model={
            "model": config.model.name, "vectors": f"{job.judged.encoder.width} numbers an image",
            "image": ", ".join([f"{size} × {size}", job.preprocess.channels, job.preprocess.fit]),
            "computed in": form, "training": f"{count(len(history), 'epoch')} in {seconds / 60:.1f} min",
        },
        settings=settings_rows(config),
        facts={
            "table fingerprint": job.table.fingerprint, "seed": str(config.seed),
            "images": ", ".join(f"{name} {n:,}" for name, n in split_counts(job.table).items()),
            "versions": ", ".join(f"{k} {v}" for k, v in versions().items()),
        },
    )  # fmt: skip
    return write_pretrain_report(job.folder / "report.html", content)


def headline(job: Job, history: list[dict[str, Any]], kept: int | None) -> list[str]:
    """What can be said of how it went, from its own numbers."""
    first, last = history[0], history[-1]
    what = "the last epoch's" if kept == last["epoch"] else f"epoch {kept}'s, of the lowest validation loss,"
    out = [
        f"The training loss went from {first['loss']:.3f} to {last['loss']:.3f} in {count(len(history), 'epoch')}; "
        f"{what} weights were kept."
    ]
    probed = [(h["epoch"], h["val"]) for h in history if "linear" in (h.get("val") or {})]
    if not probed:
        return [*out, "There were no labels, in both training and validation images, to measure the encoder with."]
    epoch, scores = probed[-1]
    out.append(
        f"After epoch {epoch} a linear classifier on its vectors is right on {percent(scores['linear'])} of the "
        f"validation images asked, and nearest neighbours on {percent(scores['knn'])}."
    )
    return out


def done(job: Job) -> list[Done]:
    """What the objective does with a few validation images (training ones where there are none), spread over them."""
    source = job.val or job.train
    rows = np.unique(np.linspace(0, len(source.table) - 1, SHOWN).round().astype(int))
    few = Loader(
        source.table.take(rows), policy=source.policy if job.val is not None or _views(source) else None,
        preprocess=job.preprocess, batch_size=SHOWN, threads=1,
    )  # fmt: skip
    out = []
    with torch.random.fork_rng(devices=[]), evaluating(job.judged):
        torch.manual_seed(0)
        for batch in few.epoch(0):
            moved = Runtime(torch.device("cpu")).to_device(batch)
            shown = job.judged.show(moved) if len(batch) else []
            out += [Done(i, [Pictured(*p) for p in row]) for i, row in zip(batch.ids, shown, strict=True)]
    return out


def _views(loader: Loader) -> bool:
    return hasattr(loader.policy, "policies")
