"""The end of a dual encoder's training: its folder, the recall on validation pairs, the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from anmok.core.events import Events, read_events
from anmok.core.files import write_json
from anmok.core.machine import versions
from anmok.core.progress import say
from anmok.data.batches import Loader
from anmok.data.table import split_counts
from anmok.deploy.dual import DualCard, save_dual
from anmok.deploy.encoder import EncoderCard, save_encoder
from anmok.engine.runtime import Runtime
from anmok.models.build import model_options
from anmok.models.classifier import evaluating
from anmok.report.pretrain_content import Done, Pictured, PretrainContent
from anmok.report.pretrain_page import write_pretrain_report
from anmok.report.words import count, percent
from anmok.stages.image_text_recall import Recall, recall_of
from anmok.stages.image_text_settings import ImageTextConfig
from anmok.stages.job import Job
from anmok.stages.report import settings_rows
from anmok.stages.run import kept_epoch

SHOWN = 8  # images of the report
_WAYS = {"image_to_text": "the caption of an image", "text_to_image": "an image of a caption"}


def finish(job: Job, config: ImageTextConfig, events: Events) -> None:
    """Write model/, encoder/, retrieval.json and report.html from the judged weights, which end on the CPU."""
    learner = job.judged.float().cpu()
    found = None if job.val is None else recall_of(learner.towers, job.val, title="retrieval")
    name = "object" if config.model.name.startswith("object:") else config.model.name
    training = {
        "loss": config.pairs.loss, "epochs": str(job.epochs), "batch size": str(config.batch_size),
        "optimizer": config.optim.name, "augmentation": config.augment.policy,
        "starting weights": config.model.weights, "seed": str(config.seed),
    }  # fmt: skip
    text = {"width": config.text.width, "depth": config.text.depth, "heads": config.text.heads}
    counts = split_counts(job.table)
    told = {} if found is None else dict(zip(_WAYS.values(), map(told_of, [found] * 2, _WAYS), strict=True))
    save_dual(
        job.folder / "model", learner.towers, job.preprocess, architecture=name, text=text,
        model_args=model_options(config.model), card=DualCard(job.folder.name, counts, training, told),
    )  # fmt: skip
    save_encoder(
        job.folder / "encoder", learner.encoder, job.preprocess, architecture=name,
        objective={"name": "image-text", "loss": config.pairs.loss}, model_args=model_options(config.model),
        card=EncoderCard(job.folder.name, counts, training),
    )  # fmt: skip
    job.rejects.save()
    if found is not None:
        write_json(job.folder / "retrieval.json", {"split": "val", **found.to_dict()})
        events.log("retrieved", split="val", **found.to_dict())
    else:
        say("there is no validation split: nothing was measured")
    report_of(job, config, found)
    say(f"dual encoder: {job.folder / 'model'}")


def told_of(found: Recall, way: str) -> str:
    """'recall@1 92.0 % (88.1 to 95.0), @5 …, by chance 0.5 %'."""
    values = found.both[way]
    first, *others = values
    one = values[first]
    out = f"recall@{first} {percent(one['value'])} ({percent(one['low'])} to {percent(one['high'])})"
    more = "".join(f", @{k} {percent(values[k]['value'])}" for k in others)
    return f"{out}{more}; @{first} by chance {percent(found.chance[way])}"


def report_of(job: Job, config: ImageTextConfig, found: Recall | None) -> Path:
    """Write the run's report.html from the judged weights, which lie on the CPU."""
    history = list(read_events(job.folder / "events.jsonl", "epoch"))
    kept = kept_epoch(job.folder)
    towers, plan, size = job.judged.towers, job.plan, job.preprocess.image_size
    seconds = sum(h.get("seconds", 0.0) for h in history)
    source = "validation" if job.val is not None else "training"
    content = PretrainContent(
        title=f"image-text: {config.model.name}, {job.folder.name}",
        subtitle=f"a dual encoder, trained on {count(len(job.train.table), 'image')} with "
        f"{count(len(job.judged.captions.texts), 'caption')}",
        headline=headline(history, kept, found),
        history=history,
        best_epoch=kept,
        done=done(job),
        done_of="Each image with its own caption and their cosine, the caption that it finds among those shown here, "
        f"and the image that its caption finds. They are {source} images.",
        counts=split_counts(job.table),
        notes=[n.removeprefix("warning: ") for n in job.table.notes],
        model={
            "image tower": config.model.name,
            "text tower": f"{config.text.depth} blocks, {config.text.width} wide, {towers.tokenizer.size:,} tokens",
            "space": f"{towers.dim} numbers; scale {towers.scale:.3g}"
            + (f", bias {towers.bias:.3g}" if towers.kind == "sigmoid" else ""),
            "image": ", ".join([f"{size} × {size}", job.preprocess.channels, job.preprocess.fit]),
            "computed in": f"{plan.dtype}{', channels last' if plan.channels_last else ''}, {plan.threads} thread(s)",
            "training": f"{count(len(history), 'epoch')} in {seconds / 60:.1f} min",
        },
        settings=settings_rows(config),
        facts={
            "table fingerprint": job.table.fingerprint, "seed": str(config.seed),
            "images": ", ".join(f"{name} {n:,}" for name, n in split_counts(job.table).items()),
            "versions": ", ".join(f"{k} {v}" for k, v in versions().items()),
        },
    )  # fmt: skip
    return write_pretrain_report(job.folder / "report.html", content)


def headline(history: list[dict[str, Any]], kept: int | None, found: Recall | None) -> list[str]:
    """What can be said of how it went, from its own numbers."""
    first, last = history[0], history[-1]
    out = [
        f"The training loss went from {first['loss']:.3f} to {last['loss']:.3f} in {count(len(history), 'epoch')}; "
        f"epoch {kept}'s weights were kept."
    ]
    if found is None:
        return [*out, "There were no validation pairs to measure the encoder with."]
    sizes = f"{count(found.images, 'validation image')} and {count(found.captions, 'different caption')}"
    return [
        *out, f"Among {sizes} it finds:", *(f"{what}: {told_of(found, way)}." for way, what in _WAYS.items()),
        "Captions of the same words count as one, in the figures and in the loss: neither is a negative of the other.",
    ]  # fmt: skip


def done(job: Job) -> list[Done]:
    """A few validation pairs (training ones where there are none) of different captions, spread over them."""
    source = job.val or job.train
    texts = source.table.rows["caption"].list.first().to_list()
    first = list({text: n for n, text in reversed(list(enumerate(texts)))}.values())[::-1]
    rows = np.sort(np.array(first))[np.unique(np.linspace(0, len(first) - 1, SHOWN).round().astype(int))]
    few = Loader(source.table.take(rows), preprocess=job.preprocess, batch_size=SHOWN, threads=1)
    out = []
    with evaluating(job.judged):
        for batch in few.epoch(0):
            shown = job.judged.show(Runtime(torch.device("cpu")).to_device(batch)) if len(batch) else []
            out += [Done(i, [Pictured(*p) for p in row]) for i, row in zip(batch.ids, shown, strict=True)]
    return out
